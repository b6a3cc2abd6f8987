"""Plant faults in a copy of the repository, one at a time, and see whether the tests notice.

    python tests/plant_faults.py                     every fault
    python tests/plant_faults.py centred families    those whose name holds one of the words; the
                                                     rows of the others stay as they are
    python tests/plant_faults.py --check             only: does every fault still find its place?

A fault is a piece of code that stands once in its file, what somebody might have written instead,
and the tests that should notice. It is caught if these pass without it and fail with it. Nothing is
changed in this repository: the copy lies in a temporary folder. The table goes to
`book/results/planted_faults/planted_faults.csv`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import campaign_table

REPOSITORY = Path(__file__).resolve().parent.parent
RESULT = "book/results/planted_faults/planted_faults.csv"
SECONDS = 600  # of one selection of tests

GOLDEN = "tests/test_golden.py -k"
CHAPTER = f"{GOLDEN} gives_what_it_gave"


@dataclass(frozen=True)
class Fault:
    """`new` in place of `old`, which stands once in `file`; `tests` are pytest's arguments."""

    name: str
    file: str
    old: str
    new: str
    tests: str
    known: str = ""  # why no test can notice it, where that is so


def helper(name, file, old, new, tests, known="") -> Fault:
    return Fault(name, f"georep_utils/{file}", old, new, tests, known)


def chapter(name, file, old, new, tests, known="") -> Fault:
    return Fault(name, f"notebooks/{file}", old, new, tests, known)


SCALING = "geometry/scaling.py"
DUPLICATES = "geometry/duplicates.py"
NEIGHBORS = "geometry/neighbors.py"
NEIGHBORS_CPU = "geometry/neighbors_cpu.py"
NEIGHBORS_GPU = "geometry/neighbors_gpu.py"
NEIGHBOR_KERNELS = "geometry/neighbor_kernels.py"
NEIGHBOR_POINTS = "geometry/neighbor_points.py"
OVERLAP = "geometry/overlap.py"
RESAMPLING = "geometry/resampling.py"
PROFILES = "geometry/profiles.py"
SYNTHETIC = "geometry/synthetic.py"
IMAGEGPT = "models/imagegpt.py"
HUB = "models/hub_files.py"
TABLES = "data/tables.py"
FASTA = "data/fasta.py"
IMAGES = "data/images.py"
TRANSFER = "data/transfer.py"
ARCHIVES = "data/archives.py"
STAGES = "workflow/stages.py"
PAGES = "workflow/pages.py"
CH03 = "03_distances.py"
CH04 = "04_intrinsic_dimension.py"
CH05 = "05_overlaps.py"
CH06 = "06_training_dynamics.py"
CH11 = "11_listening_places.py"

FAULTS = [
    # ------------------------------------------------------------------------------- dimension
    helper(
        "TwoNN from the second and third neighbour",
        SCALING,
        "_usable(distances[:, 2] / distances[:, 1])\n    kept = distances[usable, :3]",
        "_usable(distances[:, 2] / distances[:, 1])\n    kept = distances[usable, 1:4]",
        "tests/test_scaling.py",
    ),
    helper(
        "repetitions share their points",
        SCALING,
        "order[j * n : (j + 1) * n]",
        "order[:n]",
        "tests/test_scaling.py",
    ),
    helper(
        "the seed of the subsets is ignored",
        SCALING,
        "rng = np.random.default_rng(seed)",
        "rng = np.random.default_rng(0)",
        "tests/test_scaling.py",
    ),
    helper(
        "standard deviation in place of the error of the mean",
        SCALING,
        "ids.std(ddof=1) / len(ids) ** 0.5",
        "ids.std(ddof=1)",
        "tests/test_scaling.py",
    ),
    helper(
        "Gride's rank off by one octave",
        SCALING,
        "        k = 2**i\n",
        "        k = 2 ** (i + 1)\n",
        "tests/test_scaling.py",
    ),
    helper(
        "copies are counted once more in TwoNN",
        SCALING,
        "usable = np.isfinite(ratios) & (ratios >= 1)",
        "usable = ratios >= 1",
        "tests/test_scaling.py tests/test_profiles.py",
    ),
    helper(
        "minus zero and zero are two points",
        DUPLICATES,
        "values = np.ascontiguousarray(X + 0.0)",
        "values = np.ascontiguousarray(X)",
        "tests/test_scaling.py",
    ),
    # ------------------------------------------------------------------------------ neighbours
    helper(
        "a point is its own neighbour",
        NEIGHBORS_CPU,
        "products[here, own[here]] = -np.inf",
        "products[here, own[here]] = 0",
        "tests/test_neighbors.py",
    ),
    helper(
        "ratios over the wrong rank",
        NEIGHBORS,
        "mus = rank_distances[:, 1:] / rank_distances[:, :-1]",
        "mus = rank_distances[:, 1:] / rank_distances[:, :1]",
        "tests/test_neighbors.py",
    ),
    helper(
        "the column at a rank is one too far",
        NEIGHBORS,
        "found.squares[:, near_ranks - 1]",
        "found.squares[:, np.minimum(near_ranks, maxk - 1)]",
        "tests/test_neighbors.py",
    ),
    helper(
        "squared distances are stored",
        NEIGHBORS,
        "distances = np.concatenate([np.zeros((n, 1)), np.sqrt(found.squares)], axis=1)",
        "distances = np.concatenate([np.zeros((n, 1)), found.squares], axis=1)",
        "tests/test_neighbors.py",
    ),
    helper(
        "the first columns hold one neighbour less",
        NEIGHBORS,
        "indices=self.indices[:, : maxk + 1],",
        "indices=self.indices[:, :maxk],",
        "tests/test_neighbors.py",
    ),
    helper(
        "the mean of the wrong axis is subtracted",
        NEIGHBOR_POINTS,
        "scaled[chunk] = (raw[order[chunk]].double() - mean) * scale",
        "scaled[chunk] = raw[order[chunk]].double() * scale",
        "tests/test_neighbors.py",
        "centring changes speed alone: every distance that is kept is measured again exactly",
    ),
    helper(
        "the largest range is one octave short",
        NEIGHBORS,
        "return 1 << min(at_most, n_points - 1).bit_length() - 1",
        "return 1 << min(at_most, n_points - 1).bit_length() - 2",
        "tests/test_neighbors.py",
    ),
    # ------------------------------------------------------------------------------ extraction
    helper(
        "interrupted work goes on only where every bit is the same",
        "extraction.py",
        "<= tolerance * np.linalg.norm(old)",
        "<= 0",
        "tests/test_extraction.py",
    ),
    helper(
        "interrupted work goes on with any weights",
        "extraction.py",
        "<= tolerance * np.linalg.norm(old)",
        "<= 9 * np.linalg.norm(old)",
        "tests/test_extraction.py",
    ),
    # -------------------------------------------------------------------------------- best set
    helper(
        "the top of a profile takes layers as independent",
        "paper/advice.py",
        "jackknife(replicates)[1], len(replicates) + 1)",
        "np.diag(np.diag(jackknife(replicates)[1])), len(replicates) + 1)",
        "tests/test_advice.py",
    ),
    # --------------------------------------------------------------------------------- overlap
    helper(
        "k off by one in the overlap of two layers",
        OVERLAP,
        "dist_indices=b.indices[:, : k + 1], k=k)",
        "dist_indices=b.indices[:, : k + 1], k=max(1, k - 1))",
        "tests/test_overlap.py",
    ),
    helper(
        "the own family is counted",
        OVERLAP,
        'order = np.argsort(same_family, axis=1, kind="stable")[:, :k]',
        'order = np.argsort(0 * same_family, axis=1, kind="stable")[:, :k]',
        "tests/test_overlap.py",
    ),
    helper(
        "relatives are hits after all",
        OVERLAP,
        "return np.where(same_family, stranger[:, None], others)[:, :k]",
        "return others[:, :k]",
        "tests/test_overlap.py",
    ),
    helper(
        "CPU: a tile that serves its columns counts rows from the wrong end",
        NEIGHBOR_KERNELS,
        "candidates.columns[j, counts[j]] = first + row",
        "candidates.columns[j, counts[j]] = first + len(products) - 1 - row",
        "tests/test_neighbors.py",
    ),
    helper(
        "CPU: a block that meets itself keeps each point as a neighbour of its own",
        NEIGHBORS_CPU,
        "np.fill_diagonal(products, -np.inf)",
        "pass",
        "tests/test_neighbors.py",
    ),
    helper(
        "GPU: a point is among its own candidates",
        NEIGHBORS_GPU,
        "partial_squares.scatter_(1, own[:, None], torch.inf)",
        "pass",
        "tests/test_neighbors.py",
    ),
    helper(
        "GPU: the last resort finds a point itself",
        NEIGHBORS_GPU,
        "squares.scatter_(1, own[:, None], torch.inf)\n        exact",
        "exact",
        "tests/test_neighbors.py",
    ),
    helper(
        "GPU: nobody asks whether a window began early enough",
        NEIGHBORS_GPU,
        "sure &= block.squares[rows, window.low - 1] < square - gap",
        "pass",
        "tests/test_neighbors.py",
    ),
    helper(
        "GPU: nobody asks whether a window reached far enough",
        NEIGHBORS_GPU,
        "sure &= block.squares[rows, outside] > square + gap",
        "pass",
        "tests/test_neighbors.py",
    ),
    helper(
        "GPU: a block that was halved is counted whole",
        NEIGHBORS_GPU,
        "block //= 2",
        "start += block\n            block //= 2",
        "tests/test_neighbors.py",
    ),
    helper(
        "GPU: the halves of a number overlap",
        NEIGHBORS_GPU,
        "return high, _first_bits(x - high)",
        "return high, _first_bits(x - high / 2)",
        "tests/test_neighbors.py",
    ),
    helper(
        "GPU: half the bound of products of halves",
        NEIGHBOR_KERNELS,
        "2.0**-24 * (1.3 * math",
        "2.0**-24 * (0.65 * math",
        "tests/test_neighbors.py",
    ),
    helper(
        "the vote of the nearest includes the point itself",
        OVERLAP,
        "votes = codes[neighbors.indices[:, 1 : k + 1]]",
        "votes = codes[neighbors.indices[:, :k]]",
        "tests/test_overlap.py",
    ),
    helper(
        "classes count by their size",
        OVERLAP,
        "return float(comparison.return_label_overlap(codes, k=k, weighted=weighted))",
        "return float(comparison.return_label_overlap(codes, k=k, weighted=False))",
        "tests/test_overlap.py",
    ),
    # ------------------------------------------------------------------------------ resampling
    helper(
        "halves are not balanced",
        RESAMPLING,
        "squares = {i * i % prime for i in range(1, prime)}",
        "squares = {i for i in range(1, prime // 2)}",
        "tests/test_resampling.py",
    ),
    helper(
        "the error of half a difference is doubled",
        RESAMPLING,
        "halves = (replicates[:, 0] - replicates[:, 1]) / 2",
        "halves = replicates[:, 0] - replicates[:, 1]",
        "tests/test_resampling.py",
    ),
    helper(
        "the fit of TwoNN leaves out the lowest ratios",
        RESAMPLING,
        "x = log_ratios[:n_fitted]",
        "x = log_ratios[-n_fitted:]",
        "tests/test_resampling.py tests/test_known_answers.py",
    ),
    helper(
        "neighbours outside a half are kept",
        "geometry/half_kernels.py",
        "if inside[indices[row, column]]:",
        "if indices[row, column] >= 0:",
        "tests/test_resampling.py",
    ),
    # -------------------------------------------------------------------------------- controls
    helper(
        "the Gaussian control has unit covariance",
        SYNTHETIC,
        "points = (rng.standard_normal((n, len(deviations))) * deviations) @ axes.T",
        "points = rng.standard_normal((n, len(deviations))) @ axes.T",
        "tests/test_synthetic.py",
    ),
    helper(
        "rows are shuffled, not columns",
        SYNTHETIC,
        "permuted(X, axis=0)",
        "permutation(X, axis=0)",
        "tests/test_synthetic.py tests/test_profiles.py",
    ),
    helper(
        "the radius of a ball is uniform",
        SYNTHETIC,
        "rng.random((n, 1)) ** (1 / dimension)",
        "rng.random((n, 1))",
        "tests/test_synthetic.py tests/test_known_answers.py tests/test_scaling.py",
    ),
    helper(
        "norms are not centred",
        PROFILES,
        '"norm": float(np.linalg.norm(X - X.mean(axis=0), axis=1).mean())',
        '"norm": float(np.linalg.norm(X, axis=1).mean())',
        "tests/test_profiles.py",
    ),
    # ---------------------------------------------------------------------------------- models
    helper(
        "the second norm is read in place of the first",
        IMAGEGPT,
        "h = block.ln_1(x)",
        "h = block.ln_2(x)",
        "tests/test_imagegpt.py",
    ),
    helper(
        "the mean leaves out the start token",
        IMAGEGPT,
        "return state.mean(1, dtype=torch.float32)",
        "return state[:, 1:].mean(1, dtype=torch.float32)",
        "tests/test_imagegpt.py",
    ),
    helper(
        "the last place is the first",
        IMAGEGPT,
        "return state[:, -1].float()",
        "return state[:, 0].float()",
        "tests/test_imagegpt.py",
    ),
    helper(
        "no causal mask",
        IMAGEGPT,
        "F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)",
        "F.scaled_dot_product_attention(q, k, v)",
        "tests/test_imagegpt.py",
    ),
    helper(
        "tokens are not moved by one place",
        IMAGEGPT,
        "x = torch.cat([start, x[:, :-1]], dim=1)",
        "x = torch.cat([start, x[:, 1:]], dim=1)",
        "tests/test_imagegpt.py",
    ),
    helper(
        "layer L is called L + 1",
        IMAGEGPT,
        "return list(range(self.n_blocks + 2))",
        "return list(range(1, self.n_blocks + 3))",
        "tests/test_imagegpt.py",
    ),
    helper(
        "the seed of the untrained network is ignored",
        IMAGEGPT,
        "generator = torch.Generator().manual_seed(seed)",
        "generator = torch.Generator().manual_seed(0)",
        "tests/test_imagegpt.py",
    ),
    helper(
        "programs of a model hub are run",
        HUB,
        '        "trust_remote_code": False,',
        '        "trust_remote_code": True,',
        "tests/test_hub_files.py",
    ),
    helper(
        "programs of a configuration are run",
        HUB,
        "from_config(config, dtype=torch_dtype, trust_remote_code=False)",
        "from_config(config, dtype=torch_dtype, trust_remote_code=True)",
        "tests/test_hub_files.py",
        "a configuration is loaded first, and that is where programs are refused",
    ),
    helper(
        "pickles may hold anything",
        HUB,
        "place, dtype=torch_dtype, weights_only=True, output_loading_info=True, **where",
        "place, dtype=torch_dtype, weights_only=False, output_loading_info=True, **where",
        "tests/test_hub_files.py",
    ),
    helper(
        "pickles of an ImageGPT may hold anything",
        HUB,
        "            weights_only=True,\n",
        "            weights_only=False,\n",
        "tests/test_hub_files.py",
    ),
    # ------------------------------------------------------------------------------------ data
    helper(
        "a TSV file has quotes",
        TABLES,
        'return _read_separated(path, "\\t", csv.QUOTE_NONE)',
        'return _read_separated(path, "\\t", csv.QUOTE_MINIMAL)',
        "tests/test_tables.py -k tsv",
    ),
    helper(
        "a cell has at most 131,072 characters",
        TABLES,
        "csv.field_size_limit(max(n_characters, csv.field_size_limit()))",
        "csv.field_size_limit(131_072)",
        "tests/test_tables.py -k longer",
    ),
    helper(
        "the superfamily is the fold",
        FASTA,
        'return self.sccs.rpartition(".")[0]',
        'return self.sccs.rsplit(".", 2)[0]',
        "tests/test_fasta.py tests/test_datasets.py",
    ),
    helper(
        "the prefix c.2 matches c.23",
        FASTA,
        'f"{sccs}.".startswith(f"{prefix}.")',
        "sccs.startswith(prefix)",
        "tests/test_fasta.py",
    ),
    helper(
        "sequences are cut one residue early",
        FASTA,
        "[sequences[i][:max_length] for i in kept]",
        "[sequences[i][: max_length - 1] for i in kept]",
        "tests/test_datasets.py -k long_sequences",
    ),
    helper(
        "colours are scaled by 255",
        IMAGES,
        "127.5 * (palette + 1)",
        "255 * (palette + 1)",
        "tests/test_images.py",
    ),
    helper(
        "the farthest colour of the palette",
        IMAGES,
        "squared.argmin(1)",
        "squared.argmax(1)",
        "tests/test_images.py",
    ),
    helper(
        "16-bit grey levels are clipped",
        "io.py",
        "levels / (257 if deep else 1)",
        "np.minimum(levels, 255)",
        "tests/test_io.py tests/test_images.py",
    ),
    helper(
        "arrays may be pickles",
        "data/files.py",
        "with np.load(path, allow_pickle=False) as arrays:",
        "with np.load(path, allow_pickle=True) as arrays:",
        "tests/test_files.py",
    ),
    helper(
        "a member of an archive may be a link",
        ARCHIVES,
        "return kind in (0, stat.S_IFREG) and not member.flag_bits & ENCRYPTED",
        "return not member.flag_bits & ENCRYPTED",
        "tests/test_archives.py",
    ),
    helper(
        "a name of an archive may leave its folder",
        TRANSFER,
        'leaves = path.startswith("/") or ".." in pieces or re.search(r"[\\\\:\\x00]", path)',
        'leaves = path.startswith("/")',
        "tests/test_archives.py tests/test_transfer.py -k hostile\\ or\\ leaves",
    ),
    helper(
        "two versions of a file are spliced",
        TRANSFER,
        "return bool(self.etag == held.etag and same_date)",
        "return True",
        "tests/test_transfer.py -k spliced\\ or\\ tag_and_date\\ or\\ version",
    ),
    helper(
        "the pause that a server asks for is ignored",
        "data/connection.py",
        "        return float(value)\n",
        "        return 0.0\n",
        "tests/test_connection.py",
    ),
    # ------------------------------------------------------------------------- clouds and runs
    helper(
        "a recipe does not know the layers",
        "clouds.py",
        '"layers": None if layers is None else list(layers),',
        '"layers": None,',
        "tests/test_clouds.py -k another_recipe",
    ),
    helper(
        "a recipe does not know the data",
        "clouds.py",
        '"digest": dataset.digest()}',
        '"digest": ""}',
        "tests/test_clouds.py -k another_recipe",
    ),
    helper(
        "a damaged cloud is whole",
        "clouds.py",
        "return bool(about) and not _damage(folder, about)",
        "return bool(about)",
        "tests/test_clouds.py -k damaged",
    ),
    helper(
        "a batch is whole before its rows are written",
        "extraction.py",
        "return np.flatnonzero(np.load(partial / SECONDS) == 0)",
        "return np.flatnonzero(np.load(partial / SECONDS) == 0)[1:]",
        "tests/test_extraction.py",
    ),
    helper(
        "rows go to the start of the array",
        "extraction.py",
        "self.stream.seek(self.offset + int(rows[start]) * self.row_bytes)",
        "self.stream.seek(self.offset + int(rows[0]) * self.row_bytes)",
        "tests/test_extraction.py",
    ),
    helper(
        "local workers listen on all addresses",
        "parallel.py",
        'LOOPBACK = "127.0.0.1"',
        'LOOPBACK = "0.0.0.0"',
        "tests/test_parallel.py -k loopback",
    ),
    helper(
        "the key of a stage ignores the seed",
        STAGES,
        "return io.digest(told, defaults | dict(parameters), ",
        'told.append(defaults.pop("seed", 0))\n    given = {k: v for k, v in '
        '(defaults | dict(parameters)).items() if k != "seed"}\n'
        "    return io.digest(told, given, ",
        "tests/test_workflow.py -k key_of_a_stage",
    ),
    helper(
        "changed inputs are not looked at",
        STAGES,
        "(result.key, result.given_facts) == (key, facts) and not result.changed_inputs()",
        "(result.key, result.given_facts) == (key, facts)",
        "tests/test_workflow.py -k changed_input",
    ),
    helper(
        "a name may be a path",
        "io.py",
        're.fullmatch(r"\\w[\\w.-]*", name)',
        're.fullmatch(r"[\\w./-]+", name)',
        "tests/test_io.py -k name",
    ),
    helper(
        "the last of two equal keys of a run file wins",
        "workflow/runs.py",
        "if isinstance(name, (str, int, float)) and name in seen:",
        "if False:",
        "tests/test_workflow.py -k cannot_be_used",
    ),
    helper(
        "text on a page is not escaped",
        PAGES,
        'return PUNCTUATION.sub(r"\\\\\\1", " ".join(text.split()))',
        'return " ".join(text.split())',
        "tests/test_pages.py",
    ),
    # -------------------------------------------------------------------------------- chapters
    chapter(
        "03: norms are not centred",
        CH03,
        "norm = np.linalg.norm(X - X.mean(0), axis=1).mean()",
        "norm = np.linalg.norm(X, axis=1).mean()",
        f"{CHAPTER}\\ and\\ 03",
    ),
    chapter(
        "03: depth over L + 1",
        CH03,
        "rows.append((layer, layer / trained.n_blocks, near.radii[0, 0], norm, copies))",
        "rows.append((layer, layer / (trained.n_blocks + 1), near.radii[0, 0], norm, copies))",
        f"{CHAPTER}\\ and\\ 03",
    ),
    chapter(
        "03: the second neighbour is called the first",
        CH03,
        "near.radii[0, 0], norm",
        "near.radii[0, 1], norm",
        f"{CHAPTER}\\ and\\ 03",
    ),
    chapter(
        "04: depth over L + 1",
        CH04,
        'by_rule["depth"] = by_rule.layer / n_blocks',
        'by_rule["depth"] = by_rule.layer / (n_blocks + 1)',
        f"{CHAPTER}\\ and\\ 04",
    ),
    chapter(
        "04: the Gaussian has unit covariance",
        CH04,
        "synthetic.gaussian(n, np.cov(X.T), seed)",
        "synthetic.gaussian(n, np.eye(X.shape[1]), seed)",
        f"{CHAPTER}\\ and\\ 04",
    ),
    chapter(
        "04: the logits count as a layer",
        CH04,
        "body = by_layer[by_layer.index <= n_blocks].id",
        "body = by_layer.id",
        f"{CHAPTER}\\ and\\ 04",
    ),
    chapter(
        "05: the final norm is read from the logits",
        CH05,
        "last = max(layer for layer in layers if layer <= n_blocks)",
        "last = max(layers)",
        f"{CHAPTER}\\ and\\ 05",
    ),
    chapter(
        "05: depth over L + 1",
        CH05,
        'between["depth"] = between.layer / n_blocks',
        'between["depth"] = between.layer / (n_blocks + 1)',
        f"{CHAPTER}\\ and\\ 05",
    ),
    chapter(
        "05: exclude_family is ignored",
        CH05,
        '    families=trained.side("families"),\n    exclude=exclude_family,\n)\n\n# %% [markdown]',
        '    families=trained.side("families"),\n)\n\n# %% [markdown]',
        f"{GOLDEN} own_family",
    ),
    chapter(
        "06: depth over L + 1",
        CH06,
        'table["depth"] = table.layer / cloud.n_blocks',
        'table["depth"] = table.layer / (cloud.n_blocks + 1)',
        f"{CHAPTER}\\ and\\ 06",
    ),
    chapter(
        "06: the error of a change is that of its end",
        CH06,
        "resampling.jackknife(means[ends[-1]] - means[ends[0]])",
        "resampling.jackknife(means[ends[-1]])",
        "tests/test_run_files.py -k share_their_errors",
    ),
    chapter(
        "06: every checkpoint is the last one",
        CH06,
        "return load.source_of_checkpoint(model, checkpoint, **settings)",
        "return load.source_of_checkpoint(model, trained[-1], **settings)",
        f"{CHAPTER}\\ and\\ 06",
    ),
    chapter(
        "11: the place is ignored",
        CH11,
        "checkpoint or None, site=site, pool=pool",
        "checkpoint or None, site=sites[0], pool=pool",
        f"{CHAPTER}\\ and\\ 11",
    ),
    chapter(
        "11: the logits count as a layer",
        CH11,
        "if d <= cloud.n_blocks}",
        "if d <= cloud.n_blocks + 1}",
        f"{CHAPTER}\\ and\\ 11",
    ),
]


def misplaced(faults: list[Fault]) -> list[str]:
    """Faults whose code does not stand in its file exactly once."""
    found = []
    for fault in faults:
        count = (REPOSITORY / fault.file).read_text(encoding="utf-8").count(fault.old)
        if count != 1:
            found.append(f"{fault.name}: stands {count} times in {fault.file}")
    return found


def copy_of_the_tree(folder: Path) -> None:
    """All tracked files, and those that are new."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in listed.stdout.split("\0"):
        source = REPOSITORY / name
        if name and source.is_file() and not source.is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)


def outcome_of(tests: str, folder: Path) -> str:
    """ "passed", "failed" or "broken": the tests in the copy, stopped at their first failure."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no"]
    words = [word.replace("\\ ", " ") for word in _words(tests)]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*command, *words],
            cwd=folder,
            env=environment,
            timeout=SECONDS,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return "failed"  # a fault that never ends is one that is noticed
    # 1: tests failed. 2: a module could not be imported, which is noticed as well.
    return {0: "passed", 1: "failed", 2: "failed"}.get(done.returncode, "broken")


def _words(tests: str) -> list[str]:
    """The words of a command line in which "\\ " does not part two words."""
    return [word.replace("\0", " ") for word in tests.replace("\\ ", "\0").split()]


def campaign(faults: list[Fault]) -> Iterator[dict]:
    """A row a fault, as soon as it is known."""
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        folder = Path(name)
        copy_of_the_tree(folder)
        sound: dict[str, str] = {}
        for number, fault in enumerate(faults, 1):
            if fault.tests not in sound:
                sound[fault.tests] = outcome_of(fault.tests, folder)
            if sound[fault.tests] != "passed":
                raise SystemExit(f"{fault.tests}: {sound[fault.tests]} without any fault")
            file = folder / fault.file
            whole = file.read_text(encoding="utf-8")
            began = time.perf_counter()
            file.write_text(whole.replace(fault.old, fault.new), encoding="utf-8")
            outcome = {"passed": "survived", "failed": "caught"}.get(
                outcome_of(fault.tests, folder), "broken"
            )
            file.write_text(whole, encoding="utf-8")
            seconds = time.perf_counter() - began
            print(f"{number:3} {outcome:9} {seconds:5.0f} s  {fault.name}", flush=True)
            reason = fault.known if outcome == "survived" else ""
            yield {"fault": fault.name, "file": fault.file, "outcome": outcome, "reason": reason}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only faults whose name holds one of these")
    parser.add_argument(
        "--check", action="store_true", help="only see whether they find their place"
    )
    given = parser.parse_args()
    lost = misplaced(FAULTS)
    if lost or given.check:
        print("\n".join(lost) or f"{len(FAULTS)} faults find their place")
        return 1 if lost else 0
    chosen = [f for f in FAULTS if not given.words or any(w in f.name for w in given.words)]
    names = [fault.name for fault in FAULTS]
    caught = 0
    for row in campaign(chosen):
        campaign_table.keep_row(REPOSITORY / RESULT, row, "fault", names)
        caught += row["outcome"] == "caught"
    print(f"{caught} of {len(chosen)} caught")
    return 0


if __name__ == "__main__":
    sys.exit(main())
