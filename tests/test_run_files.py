"""Every run file runs: small files of the true formats, served under the true paths."""

import contextlib
import gzip
import hashlib
import json
import re
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
import transformers as tr
import yaml
from loopback import serve_hub, serve_tree
from model_builders import WORDS, build, randomised, word_tokenizer
from notebook_runner import execute as execute_notebooks
from safetensors.numpy import load_file, save_file
from tf_checkpoint_writer import write_tf_checkpoint

from georep_utils import clouds, explorers, parallel
from georep_utils.data import datasets
from georep_utils.data.download import SHARDS, STEPS, openai_checkpoint
from georep_utils.io import REPOSITORY, RunPaths, UserError
from georep_utils.models import imagegpt
from georep_utils.models import load as models
from georep_utils.workflow import runs, stages

DEPTH = {"s": (24, 8), "m": (36, 8), "l": (48, 16)}  # blocks and heads of OpenAI's models
RUNS = {"igpt-small": "s", "igpt-medium": "m", "igpt-large": "l", "igpt-small-cifar10": "s"}
ESM = {
    "esm2-35M": ("facebook/esm2_t12_35M_UR50D", 12),
    "esm2-650M": ("facebook/esm2_t33_650M_UR50D", 33),
    "esm2-3B": ("facebook/esm2_t36_3B_UR50D", 36),
}
GPT2 = "openai-community/gpt2"
SCOPE = "astral-scopedom-seqres-gd-sel-gs-bib-40-2.08.fa"
PER_CLASS = 33
N_FEW_BLOCKS = 6


# -------------------------------------------------------------------------------- a small internet


def arrays_of(size, causal=True, seed=0):
    """Arrays of an ImageGPT of the true depth, heads, vocabulary and positions, but 16 wide."""
    n_blocks, n_heads = DEPTH[size]
    net = imagegpt.ImageGPT(n_blocks, 16, n_heads, 512, 1024, causal)
    return imagegpt.to_arrays(imagegpt.initialise(net, seed))


def serve_checkpoint(root, size, step, bert=False):
    arrays = arrays_of(size, not bert, seed=step % 97)
    slots = {
        "model/wte/Adam": np.zeros((512, 16), np.float32),
        "global_step": np.array(step, np.int64),
    }
    prefix = openai_checkpoint(size, step, bert)[0].path.removesuffix(".index")
    write_tf_checkpoint(root / prefix, arrays | slots, SHARDS[size])


def serve_images(root, name, part, labels, n_classes):
    rng = np.random.default_rng(len(labels))
    np.save(root / f"datasets/{name}_{part}X.npy", rng.integers(0, 512, (len(labels), 1024)))
    np.save(root / f"datasets/{name}_{part}Y.npy", np.eye(n_classes, dtype=np.float32)[labels])


@pytest.fixture(scope="module")
def openai(tmp_path_factory):
    """OpenAI's storage: checkpoints, ImageNet with all 300 classes, CIFAR-10, the palette."""
    root = tmp_path_factory.mktemp("openai")
    (root / "datasets").mkdir()
    (root / "color-clusters").mkdir()
    np.save(
        root / "color-clusters/kmeans_centers.npy",
        np.random.default_rng(0).uniform(-1, 1, (512, 3)),
    )
    classes = [
        int(c) for c in (REPOSITORY / "book/reference/imagenet_300_classes.txt").read_text().split()
    ]
    serve_images(
        root, "imagenet", "tr", np.array([*classes, 0, *classes[:3] * (PER_CLASS - 1)]), 1000
    )
    serve_images(root, "cifar10", "te", np.arange(10 * 12) % 10, 10)
    for size, step in [("s", 1000000), ("m", 1000000), *(("l", step) for step in STEPS)]:
        serve_checkpoint(root, size, step)
    serve_checkpoint(root, "s", 131000, bert=True)
    return root


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Models of the true class and depth with random weights, as the hub offers them."""
    root, found = tmp_path_factory.mktemp("hub"), {}
    for name, n_blocks in ESM.values():
        (root / name).mkdir(parents=True)
        found[name] = build("esm2", root / name, num_hidden_layers=n_blocks)
    folder = root / GPT2
    folder.mkdir(parents=True)
    save_gpt2(folder, n_blocks=12)
    return found | {GPT2: folder}


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A folder with a GPT-2 of few blocks, where the true depth does not matter."""
    folder = tmp_path_factory.mktemp("gpt2")
    save_gpt2(folder, n_blocks=N_FEW_BLOCKS)
    return str(folder)


def save_gpt2(folder, n_blocks):
    word_tokenizer(folder, special=False)
    config = tr.GPT2Config(
        vocab_size=len(WORDS),
        n_embd=32,
        n_layer=n_blocks,
        n_head=2,
        n_positions=40,
        bos_token_id=1,
        eos_token_id=2,
    )
    randomised(tr.GPT2LMHeadModel(config)).save_pretrained(folder)


@pytest.fixture(scope="module")
def few_blocks(tmp_path_factory):
    """A checkpoint of the first six of the bundled network's 24 blocks, which takes a quarter of
    the time."""
    whole = load_file(REPOSITORY / "assets/igpt-mini/trained.safetensors")
    later = tuple(f"model/h{block}/" for block in range(N_FEW_BLOCKS, 24))
    kept = {name: array for name, array in whole.items() if not name.startswith(later)}
    path = tmp_path_factory.mktemp("few") / "blocks.safetensors"
    save_file(kept, path)
    return str(path)


def put_own_files(data_dir, per_class=12):
    """What a user has to put in place: SCOPe sequences and SST-2."""
    rng = np.random.default_rng(0)
    (data_dir / "datasets/SST-2").mkdir(parents=True)
    sizes = {"a.1.1": per_class, "b.2.1": per_class, "c.2.1": per_class, "d.58.7": 9}
    lines = []
    for superfamily, n in sizes.items():
        for i in range(n):
            residues = "".join(
                rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 1100 if lines == [] else 5 + i % 40)
            ).lower()
            lines += [f">d{len(lines):06d}_ {superfamily}.{1 + i % 3} (A:) some protein", residues]
    (data_dir / "datasets" / SCOPE).write_bytes(gzip.compress("\n".join(lines).encode()))
    sentences = [
        f"{' '.join(rng.choice(WORDS[4:], 3 + i % 30))}\t{i % 2}" for i in range(2 * per_class)
    ]
    (data_dir / "datasets/SST-2/train.tsv").write_text(
        "\n".join(["sentence\tlabel", *sentences]) + "\n"
    )


# ------------------------------------------------------------------------------- running notebooks


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Everything that a run writes goes below `tmp_path`; notebooks start in the repository."""
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return tmp_path


@pytest.fixture
def execute(here, monkeypatch):
    """Execute notebooks of a run by their numbers, below `here`."""

    def run(name, notebooks, **overrides):
        record = here / f"{name}.jsonl"
        return execute_notebooks(name, notebooks, record, monkeypatch, **overrides)

    return run


def trained(run):
    return clouds.of_run(RunPaths(run))["trained"]


def small_images(here):
    return {"data_dir": str(here / "data"), "extract__n_completions": 0}


CLASSES = {"classes": [1, 4, 17]}


# ---------------------------------------------------------------------------- the files themselves


@pytest.mark.parametrize("run", runs.run_files())
def test_a_run_file_is_valid(run):
    content = runs.read_run(run)
    given = runs.parameters_of(content)
    assert given and content["title"] != run
    if run in [*RUNS, *ESM, "hf-text", "igpt-mini"]:
        assert list(given)[:5] == runs.PIPELINE and f"({run})" in content["title"]
        assert all(parameters["run"] == run for parameters in given.values())


def test_the_papers_models_and_the_ways_beyond_are_there():
    assert set(runs.run_files()) >= {"igpt-mini", "hf-text", *RUNS, *ESM}


def test_the_dynamics_of_igpt_large_name_every_step_and_the_untrained_network():
    given = runs.parameters_of(runs.read_run("igpt-large"))
    steps = {str(step): f"checkpoints/igpt-l/{step}/model.ckpt-{step}" for step in STEPS}
    assert given["06_training_dynamics"]["checkpoints"] == {"untrained": "untrained"} | steps
    assert given["01_download"]["checkpoints"] == given["06_training_dynamics"]["checkpoints"]


def test_the_page_of_parameters_names_only_what_exists():
    """Every switch of the authors' commands has a row, and every parameter named is one."""
    text = (REPOSITORY / "book/parameters.md").read_text()
    switches = """
        --target_dir --distance_mat_folder --compute_id_from_distances --model --ckpt --bert
        --clusters --dataset --download_dir --data_dir --ckpt_dir --ckpt_iter --results_dir
        --nimg_cat --n_sub_batch --n_gpu --maxk --working_memory --activations --valset --testset
        --not_trained --seed --n_px --n_vocab
    """.split()
    assert [switch for switch in switches if f"`{switch}`" not in text] == []
    # The runs stand in the table of costs, which the page on rerunning shows.
    costs = (REPOSITORY / "book/reference/runs.csv").read_text().splitlines()
    listed = {line.split(",")[0] for line in costs}
    assert [run for run in [*RUNS, *ESM, "igpt-mini"] if run not in listed] == []
    notebooks = [*runs.PIPELINE, "06_training_dynamics", "11_listening_places"]
    declared = {name.partition("_")[2]: runs.declared_parameters(name) for name in notebooks}
    named = re.findall(r"`(\w+)\.(\w+)`", text)
    known = [pair for pair in named if pair[0] in declared and pair[1] != "py"]
    assert known and [pair for pair in known if pair[1] not in declared[pair[0]]] == []


@pytest.mark.parametrize("notebook", sorted((REPOSITORY / "notebooks").glob("[0-9]*.py")))
def test_every_parameter_says_what_it_means(notebook):
    declared = runs.declared_parameters(notebook.stem)
    assert [name for name, parameter in declared.items() if not parameter.meaning] == []
    faults = {name: parameter.fault(parameter.default) for name, parameter in declared.items()}
    unset = {name for name, parameter in declared.items() if parameter.default in ("", 0)}
    assert {name for name, fault in faults.items() if fault} <= unset


# ------------------------------------------------------------------- from the server to the arrays


@pytest.mark.parametrize(
    "run, fault, ranges",
    [
        ("igpt-small", "drop", True),
        pytest.param("igpt-small-cifar10", "drop", False, marks=pytest.mark.long),
        pytest.param("igpt-medium", "", True, marks=pytest.mark.slow),
        pytest.param("igpt-large", "", True, marks=pytest.mark.slow),
    ],
)
def test_an_image_run_gives_the_activations_of_the_served_checkpoint(
    run, fault, ranges, openai, here, execute
):
    size = RUNS[run]
    cifar = "cifar" in run
    with serve_tree(openai, fault=fault, times=1, ranges=ranges) as server:
        execute(run, ["01"], download__openai_url=server.url, **small_images(here))
    n_files = (SHARDS[size] + 1) * (4 if size == "l" else 1) + 3
    served = {path.relative_to(openai) for path in openai.rglob("*") if path.is_file()}
    files = [path for path in (here / "data").rglob("*") if path.is_file()]
    fetched = {
        path.relative_to(here / "data")
        for path in files
        if path.suffix != ".sha256" and path.relative_to(here / "data").parts[0] != "runs"
    }
    assert fetched <= served and len(fetched) == n_files
    options = {"dataset_options": {"classes": [3, 0] if cifar else [1, 4]}, "n_per_class": 2}
    execute(run, ["02"], extract__control_seeds=1, **small_images(here), **options)
    found = trained(run)
    name = "cifar10-32" if cifar else "imagenet32"
    split = "test" if cifar else "train"
    data = datasets.load(name, split, 2, str(here / "data"), **options["dataset_options"])
    n_blocks = DEPTH[size][0]
    assert found.n_samples == len(data) == 4 and found.layers == tuple(range(n_blocks + 2))
    assert found.side("labels").tolist() == ([3, 3, 0, 0] if cifar else [1, 1, 4, 4])
    assert ("untrained" in clouds.of_run(RunPaths(run))) == (run != "igpt-large")
    net = imagegpt.from_arrays(arrays_of(size, seed=1000000 % 97))
    places = ("ln_1", "ln_f", "logits")
    with torch.inference_mode():
        states = net.states(torch.from_numpy(data.inputs[:2]))
        means = [state.mean(1).numpy() for site, _, state in states if site in places]
    differences = [np.abs(found[layer][:2] - mean).max() for layer, mean in enumerate(means)]
    assert max(differences) < 1e-5


@pytest.mark.parametrize(
    "run", ["esm2-35M", *(pytest.param(run, marks=pytest.mark.slow) for run in [*ESM][1:])]
)
def test_a_protein_run_gives_the_hidden_states_of_the_served_model(run, hub, here, execute):
    name, n_blocks = ESM[run]
    put_own_files(here / "data")
    data_dir = str(here / "data")
    with serve_hub(hub) as server:
        execute(run, ["01"], download__hub_endpoint=server.url, data_dir=data_dir)
    held = {path.name for path in (here / "data/hub" / name).iterdir()}
    assert {"config.json", "model.safetensors"} <= held
    execute(run, ["02"], data_dir=data_dir)
    found = trained(run)
    assert (found.model, found.n_blocks, len(found)) == (name, n_blocks, n_blocks + 1)
    assert np.bincount(found.side("labels")).tolist() == [12, 12]
    assert len(set(found.side("families"))) == 6
    options = runs.parameters_of(runs.read_run(run))["02_extract"]["dataset_options"]
    data = datasets.load("fasta", data_dir=data_dir, **options)
    assert len(data.inputs[0]) == 1022
    tokenizer = tr.AutoTokenizer.from_pretrained(hub[name])
    net = tr.EsmModel.from_pretrained(hub[name]).eval()
    with torch.inference_mode():
        states = net(**tokenizer(data.inputs[5], return_tensors="pt")).last_hidden_state
    last = states[0, 1:-1].mean(0).numpy()
    assert np.abs(found[n_blocks][5] - last).max() < 1e-5


def test_a_text_run_reads_sentences_and_labels(hub, here, execute):
    put_own_files(here / "data")
    given = {"data_dir": str(here / "data")}
    with serve_hub(hub) as server:
        execute("hf-text", ["01", "02"], download__hub_endpoint=server.url, **given)
    found = clouds.of_run(RunPaths("hf-text"))
    cloud = found["trained"]
    assert (cloud.model, cloud.n_blocks, len(cloud), cloud.n_samples) == (GPT2, 12, 13, 24)
    assert np.bincount(cloud.side("labels")).tolist() == [12, 12]
    assert not np.array_equal(cloud[6], found["untrained"][6])


def test_the_bundled_run_needs_no_server(here, execute):
    execute("igpt-mini", ["01", "02"], n_per_class=2, extract__n_completions=0)
    assert trained("igpt-mini").n_samples == 20


@pytest.fixture
def local_workers(monkeypatch):
    """What asks for "local" workers gets the same ones each time: their start takes seconds."""
    with parallel.connect("local") as client:
        monkeypatch.setattr(parallel, "connect", lambda *_: contextlib.nullcontext(client))
        yield


@pytest.mark.long
def test_a_run_on_local_workers_leaves_the_bits_of_a_run_in_one_process(
    few_blocks, here, execute, local_workers
):
    given = {"n_per_class": 5, "extract__n_completions": 0, "distances__maxk": 20}
    given |= {"distances__rows_per_task": 20, "extract__samples_per_task": 20}
    given |= {"extract__untrained_control": False, "checkpoint": few_blocks}
    left = {}
    for scheduler in ("", "local"):
        execute("igpt-mini", ["02", "03"], scheduler=scheduler, **given)
        files = [*(here / "data/clouds").rglob("[!.]*.npy")]
        left[scheduler] = {path.relative_to(here): path.read_bytes() for path in files}
        shutil.rmtree(here / "data/clouds")
    assert left[""] == left["local"]
    # Layers, labels and names, and five tables of neighbours a layer: of the network and the input.
    n_layers = N_FEW_BLOCKS + 2
    assert len(left[""]) == (n_layers + 2 + n_layers * 5) + (2 + 2 + 2 * 5)


def test_a_model_in_a_local_folder_needs_no_server(hub, here, execute):
    put_own_files(here / "data")
    given = {"model": str(hub[GPT2]), "data_dir": str(here / "data")}
    execute("hf-text", ["01", "02"], extract__untrained_control=False, **given)
    assert set(clouds.of_run(RunPaths("hf-text"))) == {"trained", "input"}


def test_a_control_that_is_no_longer_asked_for_is_no_longer_read(few_blocks, here, execute):
    given = {"n_per_class": 2, "extract__n_completions": 0, "checkpoint": few_blocks}
    execute("igpt-mini", ["02"], extract__control_seeds=2, **given)
    both = {"untrained", "untrained-1"}
    assert set(clouds.of_run(RunPaths("igpt-mini"))) == {"trained", "input"} | both
    execute("igpt-mini", ["02"], extract__untrained_control=False, **given)
    assert set(clouds.of_run(RunPaths("igpt-mini"))) == {"trained", "input"}


def test_five_seeds_are_five_networks_of_which_the_first_is_that_of_the_seed(
    few_blocks, here, execute
):
    given = {"n_per_class": 2, "extract__n_completions": 0, "extract__control_seed": 3}
    execute("igpt-mini", ["02"], checkpoint=few_blocks, extract__control_seeds=5, **given)
    run_clouds = clouds.of_run(RunPaths("igpt-mini"))
    middle = N_FEW_BLOCKS // 2
    drawn = [cloud[middle] for cloud in clouds.untrained_of(run_clouds)]
    assert len(drawn) == 5
    for i, one in enumerate(drawn):
        assert not any(np.allclose(one, other, atol=1e-3) for other in drawn[:i])
    again = clouds.represent(
        models.source("igpt", few_blocks).untrained(3),
        datasets.load("fashion-mnist-14", n_per_class=2),
        progress=False,
    )
    assert (
        np.array_equal(again[middle], drawn[0]) and again.folder == run_clouds["untrained"].folder
    )


KINDS = {"none", "minimum", "plateau"}


@pytest.mark.long
def test_the_scales_and_neighbours_of_a_text_run_can_be_explored(gpt2, here, execute):
    """It is read by a rule between two of Gride's scales, which has a profile of its own."""
    rng = np.random.default_rng(0)
    texts = [f"{' '.join(rng.choice(WORDS[4:], 12))}\t{i % 2}" for i in range(60)]
    (here / "data/datasets/SST-2").mkdir(parents=True)
    lines = ["sentence\tlabel", *texts]
    (here / "data/datasets/SST-2/train.tsv").write_text("\n".join(lines) + "\n")
    content = runs.read_run("hf-text")
    names = ["02_extract", "03_distances", "04_intrinsic_dimension", "15_explore"]
    kept = {"notebooks": names, "title": "texts", "shared": content["shared"]}
    (here / "texts.yml").write_text(yaml.safe_dump(kept))
    given = {
        "model": gpt2,
        "data_dir": str(here / "data"),
        "n_per_class": 0,
        "extract__control_seeds": 1,
        "distances__maxk": 20,
        "intrinsic_dimension__decimations": [1],
        "intrinsic_dimension__scale_rule": "gride_small_k",
    }
    numbers = [name[:2] for name in names]
    scope = execute(str(here / "texts.yml"), numbers, **given, explore__n_near=5)
    near = json.loads(explorers.as_script(scope["neighbours"]))
    assert np.shape(near["near"])[2] == 6 and len(near["lines"]) == len(near["labels"])
    assert near["lines"][near["near"][0][0][0]] == texts[0].partition("\t")[0]
    read = json.loads(explorers.as_script(scope["scales"]))
    (own,) = [reading for reading in read["readings"] if reading["of_run"]]
    assert own["method"] == "gride" and 2 < own["scale"] < 4
    assert own["errors"] == "balanced halves, joint" and own["singled"]["kind"] in KINDS
    everywhere = [c["scale"] for c in read["controls"] if c["name"] == "untrained network"]
    assert {1, 2, 4, own["scale"]} <= set(everywhere)


@pytest.mark.long
def test_copies_of_a_sample_are_counted_or_dropped_as_asked(gpt2, here, execute):
    """90 texts, 30 of them copies: a copy has distance 0 to its original; neither has a ratio."""
    rng = np.random.default_rng(0)
    texts = [f"{' '.join(rng.choice(WORDS[4:], 12))}\t{i % 2}" for i in range(60)]
    (here / "data/datasets/SST-2").mkdir(parents=True)
    lines = ["sentence\tlabel", *texts, *texts[:30]]
    (here / "data/datasets/SST-2/train.tsv").write_text("\n".join(lines) + "\n")
    given = {
        "model": gpt2,
        "data_dir": str(here / "data"),
        "n_per_class": 0,
        "extract__untrained_control": False,
        "distances__maxk": 20,
        "intrinsic_dimension__decimations": [1],
        "intrinsic_dimension__scale_rule": "gride_small_k",
    }
    execute("hf-text", ["02", "03", "04"], **given)
    table = here / "book/results/hf-text/id_scaling.csv"
    counted = pd.read_csv(table)
    execute("hf-text", ["04"], **given, intrinsic_dimension__drop_duplicates=True)
    dropped = pd.read_csv(table)
    for curves, n, excluded in ((counted, 90, 60), (dropped, 60, 0)):
        first = curves[curves.scale == 1]
        assert (first.n_points == n).all() and (first.n_excluded == excluded).all()
        assert np.isfinite(first.id).all()


def test_every_place_is_read_and_a_layer_of_copies_is_left_out(few_blocks, here, execute):
    few = {"listening_places__n_per_class": 8, "listening_places__decimation": 1}
    few |= {"checkpoint": few_blocks}
    execute("igpt-mini", ["11"], **few)
    places = pd.read_csv(here / "book/results/igpt-mini/listening_places.csv")
    sizes = places.groupby(["site", "pool"]).size()
    assert sizes.to_dict() == {
        (site, pool): N_FEW_BLOCKS + 1
        for site, pool in [
            *((site, "mean") for site in ("ln_1", "input", "attn", "mlp")),
            ("ln_1", "last"),
        ]
    }
    blank = places[places.id.isna()]
    assert blank[["site", "pool", "layer"]].values.tolist() == [["ln_1", "last", 0]]
    same = places[(places.pool == "mean") & (places.layer == N_FEW_BLOCKS)]
    # The final norm is the same place, wherever the blocks are read.
    assert np.ptp(same.id) < 1e-5 * same.id.mean() and len(same) == 4


@pytest.mark.long
def test_the_last_place_can_be_read_though_its_first_layer_is_a_handful_of_points(
    few_blocks, here, execute, capsys
):
    given = {
        "checkpoint": few_blocks,
        "n_per_class": 30,
        "extract__pool": "last",
        "extract__n_completions": 0,
        "extract__untrained_control": False,
        "overlaps__probe_samples": 100,
    }
    execute("igpt-mini", ["02", "03", "04", "05"], **given)
    profile = pd.read_csv(here / "book/results/igpt-mini/id_profile.csv")
    assert (
        sorted(set(profile.layer)) == list(range(1, N_FEW_BLOCKS + 2))
        and np.isfinite(profile.id).all()
    )
    assert re.search(r"layer 0 has \d+ different points of 300", capsys.readouterr().out)


@pytest.mark.slow
def test_papermill_runs_a_run_file_and_only_what_changed(openai, here):
    """The command of the book: igpt-small-cifar10, 01 and 02; then once more."""
    run = runs.read_run("igpt-small-cifar10")
    with serve_tree(openai) as server:
        given = {
            "download.openai_url": server.url,
            "data_dir": str(here / "data"),
            "n_per_class": 2,
            "extract.n_completions": 0,
            "extract.untrained_control": False,
        }
        assert stages.run(run, given, ["01", "02"]) == ["01_download", "02_extract"]
    assert stages.run(run, given, ["01", "02"]) == []
    page = json.loads((here / "book/runs/igpt-small-cifar10/02_extract.ipynb").read_text())
    outputs = [output for cell in page["cells"] for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert trained("igpt-small-cifar10")[12].shape == (20, 16)


# ------------------------------------------------------------- servers and users that get it wrong


def test_offline_says_which_file_is_missing_and_where_it_goes(here, execute):
    missing = "model.ckpt-1000000.index is missing"
    with pytest.raises(UserError, match=f"offline, and files are needed: .*{missing}"):
        execute("igpt-small", ["01"], download__offline=True, **small_images(here))
    put_own_files(here / "data")
    model = "facebook/esm2_t12_35M_UR50D"
    with pytest.raises(UserError, match=f"offline, and hub model '{model}' is not whole in"):
        execute("esm2-35M", ["01"], download__offline=True, data_dir=str(here / "data"))


@pytest.mark.parametrize(
    "run, name, hint",
    [
        ("esm2-650M", SCOPE, "It is Astral SCOPe 2.08"),
        ("hf-text", "SST-2/train.tsv", "It is a file of yours"),
    ],
)
def test_a_file_that_the_user_must_bring_is_named_before_anything_is_fetched(
    run, name, hint, here, execute
):
    place = f"{name} is missing; put it at .*{here}/data/datasets/{name}.*{hint}"
    nowhere = {"download__hub_endpoint": "http://127.0.0.1:9", "data_dir": str(here / "data")}
    with pytest.raises(UserError, match=place):
        execute(run, ["01"], **nowhere)


@pytest.mark.parametrize(
    "checkpoint, complaint",
    [
        ("checkpoints/igpt-s/131001/model.ckpt-131001", "there is no checkpoint step 131001"),
        ("checkpoints/igpt-xl/131000/model.ckpt-131000", "there is no ImageGPT size 'xl'"),
    ],
)
def test_steps_and_sizes_that_do_not_exist_are_named(checkpoint, complaint, here, execute):
    nowhere = {"download__openai_url": "http://127.0.0.1:9"} | small_images(here)
    with pytest.raises(UserError, match=complaint):
        execute("igpt-small", ["01"], checkpoint=checkpoint, **nowhere)


def test_wrong_bytes_are_noticed_before_a_number_is_computed(openai, hub, here, execute):
    """Nobody published checksums of OpenAI's files, but a shard carries its own."""
    bundled = {
        "dataset": "fashion-mnist-14",
        "split": "test",
        "dataset_options": {},
        "n_per_class": 1,
    }
    with serve_tree(openai, fault="wrong") as server:
        served = {"download__openai_url": server.url} | small_images(here)
        with pytest.raises(UserError, match="imagenet_tr|kmeans_centers"):
            execute("igpt-small", ["01"], **served)
        execute("igpt-medium", ["01"], **served | bundled)
    with pytest.raises(UserError, match="model.ckpt-1000000"):
        execute("igpt-medium", ["02"], **small_images(here) | bundled)
    with pytest.raises(UserError, match="no representations yet"):
        trained("igpt-medium")
    put_own_files(here / "data")
    with serve_hub(hub, fault="wrong") as server:
        served = {"download__hub_endpoint": server.url, "data_dir": str(here / "data")}
        with pytest.raises(UserError, match="hub model 'openai-community/gpt2'"):
            execute("hf-text", ["01"], **served)


def test_a_missing_shard_is_named(openai, here, execute):
    shutil.copytree(openai, here / "data")
    shard = "model.ckpt-1000000.data-00007-of-00032"
    (here / "data/checkpoints/igpt-s/1000000" / shard).unlink()
    with pytest.raises(UserError, match=shard):
        few = {"dataset_options": CLASSES, "n_per_class": 1}
        execute("igpt-small", ["02"], **small_images(here), **few)


# ------------------------------------------------------------------- other switches of the authors


def test_bert_untrained_and_another_step_are_one_parameter_each(openai, here, execute):
    shutil.copytree(openai, here / "data")
    few = small_images(here) | {
        "dataset_options": {"classes": [1, 4]},
        "n_per_class": 1,
        "extract__untrained_control": False,
    }
    prefix = "checkpoints/igpt-s-bert/131000/model.ckpt-131000"
    execute("igpt-small", ["02"], checkpoint=prefix, **few)
    whole_image = imagegpt.from_arrays(arrays_of("s", causal=False, seed=131000 % 97))
    tokens = datasets.load("imagenet32", "train", 1, str(here / "data"), classes=[1, 4]).inputs
    with torch.inference_mode():
        states = whole_image.states(torch.from_numpy(tokens[:]))
        first = next(state for site, _, state in states if site == "ln_1").mean(1)
    assert np.abs(trained("igpt-small")[0] - first.numpy()).max() < 1e-5
    execute("igpt-small", ["02"], extract__model_options={"random_init_seed": 0}, **few)
    assert "untrained" in trained("igpt-small").model


def test_released_archives_are_fetched_and_unpacked(here, tmp_path_factory, execute):
    root = tmp_path_factory.mktemp("figshare")
    (root / "files").mkdir()
    for path, member in [("files/40694132", "data/a.npy"), ("files/1", "data/b.npy")]:
        with zipfile.ZipFile(root / path, "w") as archive:
            archive.writestr(member, b"some statistics")
    article = {}
    protein = root / "files/1"
    with serve_tree(root, pages=article) as server:
        listed = {
            "name": "data_transf_repr_protein.zip",
            "download_url": f"{server.url}/files/1",
            "size": protein.stat().st_size,
            "computed_md5": hashlib.md5(protein.read_bytes()).hexdigest(),
        }
        article["/v2/articles/23137958/versions/1"] = {"files": [listed]}
        execute(
            "igpt-mini",
            ["01"],
            data_dir=str(here / "data"),
            download__released=True,
            download__figshare_url=server.url,
            download__figshare_api=server.url,
        )
    for kind, name in (("image", "a"), ("protein", "b")):
        unpacked = here / f"data/released/data_transf_repr_{kind}/data/{name}.npy"
        assert unpacked.read_bytes() == b"some statistics"


@pytest.mark.slow
def test_training_dynamics_go_over_every_step(openai, here, execute):
    shutil.copytree(openai, here / "data")
    execute(
        "igpt-large",
        ["06"],
        data_dir=str(here / "data"),
        dataset_options=CLASSES,
        n_per_class=8,
        training_dynamics__decimation=1,
        training_dynamics__label_k=5,
    )
    dynamics = pd.read_csv(here / "book/results/igpt-large/training_dynamics.csv")
    by_step = dynamics.groupby("checkpoint", sort=False)
    assert list(map(str, by_step.groups)) == ["untrained", *map(str, STEPS)]
    assert by_step.size().tolist() == [50] * 5
    assert by_step.id.max().nunique() == 5


# ---------------------------------------------------------------------------- models of the hub


def labelled_texts(here, n=120):
    """A table of texts of words that the models of these tests know, in two classes."""
    rng = np.random.default_rng(0)
    lines = ["text,label"]
    for i in range(n):
        lines.append(f"{' '.join(rng.choice(WORDS[4:], 4 + i % 20))},{'ab'[i % 2]}")
    path = here / "data/datasets/texts.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return {
        "data_dir": str(here / "data"),
        "dataset_options": {"path": "texts.csv", "input_column": "text", "label_column": "label"},
    }


PYTHIA = "EleutherAI/pythia-160m"


@pytest.fixture(scope="module")
def pythia(tmp_path_factory):
    """Three revisions of a GPT-NeoX: the main one, and two of its training."""
    found = {}
    for seed, revision in enumerate(["main", "step0", "step1000"]):
        folder = tmp_path_factory.mktemp(revision)
        build("neox", folder)
        net = tr.AutoModel.from_pretrained(folder)
        torch.manual_seed(seed)
        with torch.no_grad():
            for weight in net.parameters():
                weight.add_(0.3 * torch.randn_like(weight))
        net.save_pretrained(folder)
        found[revision] = folder
    return found


def pythia_hub(pythia):
    others = {revision: folder for revision, folder in pythia.items() if revision != "main"}
    return serve_hub({PYTHIA: pythia["main"]}, revisions={PYTHIA: others})


STEPS_OF_PYTHIA = {
    "start": f"{PYTHIA}@step0",
    "early": f"{PYTHIA}@step1000",
    "end": PYTHIA,
}


def test_training_dynamics_read_revisions_of_the_hub(pythia, here, execute):
    given = labelled_texts(here) | {"checkpoints": STEPS_OF_PYTHIA}
    with pythia_hub(pythia) as server:
        execute("pythia-160m", ["01"], download__hub_endpoint=server.url, **given)
    folders = {path.name for path in (here / "data/hub/EleutherAI").iterdir()}
    assert folders == {"pythia-160m", "pythia-160m@step0", "pythia-160m@step1000"}
    scope = execute("pythia-160m", ["06"], training_dynamics__decimation=1, **given)
    for name, revision in zip(STEPS_OF_PYTHIA, ["step0", "step1000", "main"], strict=True):
        files = scope["source_of"](STEPS_OF_PYTHIA[name]).recipe()["files"]
        served = hashlib.sha256((pythia[revision] / "model.safetensors").read_bytes()).hexdigest()
        assert files["model.safetensors"] == served
        # What is read is what that revision computes, and not another.
        own = models.load(str(pythia[revision]), device="cpu").forward(scope["data"].inputs[:3])
        np.testing.assert_allclose(scope["found"][name][3][:3], own[3], atol=1e-5)
    dynamics = pd.read_csv(here / "book/results/pythia-160m/training_dynamics.csv")
    by_step = dynamics.groupby("checkpoint", sort=False)
    assert list(by_step.groups) == [*STEPS_OF_PYTHIA]
    assert by_step.size().tolist() == [4, 4, 4] and by_step.id.max().nunique() == 3


def test_checkpoints_that_read_the_same_samples_share_their_errors(pythia, here, execute):
    """The change from a network to itself is known without error; that of its dimension is not."""
    twice = {"start": f"{PYTHIA}@step0", "again": f"{PYTHIA}@step0"}
    given = labelled_texts(here) | {"checkpoints": twice}
    with pythia_hub(pythia) as server:
        execute("pythia-160m", ["01"], download__hub_endpoint=server.url, **given)
    scope = execute("pythia-160m", ["06"], training_dynamics__decimation=1, **given)
    assert scope["change"] == scope["error"] == 0
    assert (scope["dynamics"].id_err > 0).all() and not scope["moved"]
    alone = execute("pythia-160m", ["06"], training_dynamics__decimation=4, **given)
    assert alone["refused"] and alone["change"] == 0 < alone["error"]


def test_other_trainings_make_a_band_at_the_checkpoints_that_all_have(pythia, here, execute):
    given = labelled_texts(here) | {"checkpoints": STEPS_OF_PYTHIA}
    given |= {"training_dynamics__decimation": 1}
    with pythia_hub(pythia) as server:
        execute("pythia-160m", ["01"], download__hub_endpoint=server.url, **given)
    execute("pythia-160m", ["06"], **given)
    results = here / "book/results"
    own = pd.read_csv(results / "pythia-160m/training_dynamics.csv")
    last = own.checkpoint.iloc[-1]
    (results / "another").mkdir()
    another = own[own.checkpoint != last].assign(id=own.id + 2)
    another.to_csv(results / "another/training_dynamics.csv", index=False)
    scope = execute("pythia-160m", ["06"], training_dynamics__other_trainings=["another"], **given)
    assert list(scope["spread"].index) == [*STEPS_OF_PYTHIA][:-1], "only what both have"
    # Two values that are 2 apart have a standard deviation of the square root of 2.
    np.testing.assert_allclose(scope["spread"].id, np.sqrt(2), atol=1e-4)
    another.assign(n_samples=7).to_csv(results / "another/training_dynamics.csv", index=False)
    with pytest.raises(UserError, match="has read 7 samples"):
        execute("pythia-160m", ["06"], training_dynamics__other_trainings=["another"], **given)
    with pytest.raises(UserError, match="'../another' can't be a folder's name"):
        execute("pythia-160m", ["06"], training_dynamics__other_trainings=["../another"], **given)


def test_a_revision_that_does_not_exist_is_named_before_anything_else(pythia, here, execute):
    given = labelled_texts(here) | {"checkpoints": {"none": f"{PYTHIA}@step7", "end": PYTHIA}}
    with pythia_hub(pythia) as server, pytest.raises(UserError, match="no revision 'step7'"):
        execute("pythia-160m", ["01"], download__hub_endpoint=server.url, **given)


@pytest.mark.parametrize("moved, said", [(False, "no"), (True, "yes")])
def test_a_movement_of_a_flat_top_is_not_claimed(moved, said, here, execute, monkeypatch):
    """Two checkpoints with one flat profile show no movement, whatever their highest layers."""
    # The last one is the input itself.
    turn = iter([0, 3, 0] if moved else [1, 2, 0])

    def profile(layers, *args, **options):
        top = next(turn)
        ids = np.where(np.arange(len(layers)) == top, 10.0 + 5 * moved, 9.9)
        rows = {"layer": list(layers), "id": ids, "id_err": 0.2, "label_overlap": 0.5}
        return pd.DataFrame(rows)

    monkeypatch.setattr("georep_utils.geometry.quick_profile.quick_profile", profile)
    glued = {}
    monkeypatch.setattr("myst_nb.glue", lambda key, value, display: glued.update({key: value}))
    given = labelled_texts(here)
    for step in ("step0", "main"):
        folder = here / f"data/hub/{PYTHIA}{'' if step == 'main' else '@' + step}"
        folder.mkdir(parents=True)
        build("neox", folder)
    steps = {"start": f"{PYTHIA}@step0", "end": PYTHIA}
    execute("pythia-160m", ["06"], checkpoints=steps, **given)
    assert glued["moved"] == said
    assert glued["change-verdict"] == "not told from that of the first"


def test_language_controls_rewrite_the_texts_and_leave_tokens_out(gpt2, here, execute):
    given = labelled_texts(here, 200) | {"model": gpt2}
    scope = execute("gpt2-xl", ["18"], language_controls__decimation=1, **given)
    controls = pd.read_csv(here / "book/results/gpt2-xl/language_controls.csv")
    named = list(controls.control.unique())
    assert named[0] == "as written, mean" and len(named) == 7
    # GPT-2 puts no special token before a text, so there is no case for it.
    assert "special tokens counted" not in named
    n_layers = N_FEW_BLOCKS + 1
    assert (controls.groupby("control").size() == n_layers).all()
    found = scope["found"]
    written = found["as written, mean"]
    # Positions tell shuffled words from those as written; without them the mean would be the same.
    assert not np.allclose(written[5], found["words shuffled"][5], atol=1e-3)
    ids = scope["reader"].encode(scope["data"].inputs[:1])[0][0]
    assert len(ids) == scope["n_tokens"][0]
    # Texts of four to 23 words: neighbours in the deepest layer say nothing that chance would not
    # also say, but the overlap with groups of length is a share.
    length = pd.read_csv(here / "book/results/gpt2-xl/text_lengths.csv")
    assert length.length_overlap.between(0, 1).all() and len(length) == n_layers


def test_special_tokens_are_a_case_where_there_are_any(here, tmp_path_factory, execute):
    folder = build("bert", tmp_path_factory.mktemp("bert"))
    given = labelled_texts(here) | {"model": str(folder)}
    scope = execute("gpt2-xl", ["18"], language_controls__decimation=1, **given)
    assert scope["n_special"] == 2 and "special tokens counted" in scope["found"]


@pytest.mark.parametrize(
    "run", ["smollm2-135m", "dinov2-small", "dinov2-small-fashion", "antiberty"]
)
def test_the_runs_of_real_models_name_the_hub_and_a_title(run):
    given = runs.parameters_of(runs.read_run(run))["02_extract"]
    assert given["model_options"]["title"] and not given["model"].startswith("/")
    # A folder stands in for the hub by one parameter, and captions do not change.
    stands_in = runs.parameters_of(runs.read_run(run), {"model": "/some/folder"})["02_extract"]
    options = stands_in["model_options"]
    assert models.source(stands_in["model"], **options).name == options["title"]


# ----------------------------------------------------------------------------------- all notebooks

TABLES = {"id_scaling.csv", "id_profile.csv", "overlaps.csv", "provenance.json"}


@pytest.mark.slow
@pytest.mark.parametrize("run", [*ESM, "hf-text"])
def test_all_five_notebooks_run_on_a_model_of_the_true_class_and_depth(run, hub, here, execute):
    put_own_files(here / "data", per_class=330)
    with serve_hub(hub) as server:
        given = {"data_dir": str(here / "data"), "download__hub_endpoint": server.url}
        execute(run, ["01", "02", "03", "04", "05"], **given)
    assert {path.name for path in (here / "book/results" / run).iterdir()} >= TABLES


@pytest.mark.slow
@pytest.mark.parametrize("run", list(RUNS))
def test_all_five_notebooks_run_on_an_image_model_of_the_true_depth(run, openai, here, execute):
    with serve_tree(openai) as server:
        given = {"intrinsic_dimension__scale_rule": "paper_text"} | small_images(here)
        execute(
            run,
            ["01", "02", "03", "04", "05"],
            download__openai_url=server.url,
            **given,
        )
    assert {path.name for path in (here / "book/results" / run).iterdir()} >= TABLES


def test_a_brought_cloud_passes_through_every_chapter_after_extraction(here, execute):
    rng = np.random.default_rng(0)
    layers = {f"layer{i}": rng.standard_normal((200, 8)).astype(np.float32) for i in range(6)}
    np.savez(here / "theirs.npz", **layers)
    (here / "labels.txt").write_text("cat\ndog\n" * 100)
    given = {
        "bring__path": str(here / "theirs.npz"),
        "bring__labels": str(here / "labels.txt"),
        "distances__maxk": 50,
    }
    execute("brought", ["02", "03", "04", "05"], **given)
    profile = pd.read_csv(here / "book/results/brought/id_profile.csv")
    assert sorted(set(profile.layer)) == list(range(6))
    # Random points of eight dimensions: TwoNN at N/4 is right within its error.
    paper = profile[profile.rule == "paper_text"]
    assert abs(paper.id.mean() - 8) < 1.5
