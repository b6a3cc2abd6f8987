"""What a run asks for and what it will cost, said before anything is downloaded or computed.

`check` compares what is asked with what the samples can give: more neighbours than there are
points, or a decimation that leaves too few, is refused before a kernel starts. `report` estimates
bytes and seconds. Sizes follow from the numbers of samples, layers and features. Times come from a
calibration of a few seconds on this machine: some samples pass through the model, some points are
searched, and both are scaled up. Whatever is not known yet, because a file has to be fetched first,
is named as such.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from georep_utils import io
from georep_utils.io import MissingFile, UserError

UNKNOWN = "not here yet"
OTHER_CHAPTERS = "other chapters a few MB on disk, under a minute each"
CALIBRATION_POINTS = 6_000
CALIBRATION_SECONDS = 3.0
# Time of chapter 04 over that of the searches of 03, as in the runs of this book; and ten seconds.
DIMENSION = 0.4


@dataclass(frozen=True)
class Plan:
    """The parameters of a run, and its samples where they are here already."""

    parameters: Mapping[str, Mapping]

    def value(self, notebook: str, name: str, default=None):
        """A parameter of a notebook, by its number, or `default` where the run has neither."""
        for title, values in self.parameters.items():
            if title.startswith(notebook) and name in values:
                return values[name]
        return default

    def has(self, notebook: str) -> bool:
        """Whether the run has the notebook of this number."""
        return any(title.startswith(notebook) for title in self.parameters)

    def dataset(self, notebook: str):
        """The samples that a notebook reads; None where a file of theirs is not here yet."""
        from georep_utils.data import datasets

        name = self.value(notebook, "dataset")
        if not name:
            return None
        try:
            return datasets.load(
                name,
                self.value(notebook, "split", "test"),
                self.value(notebook, "n_per_class") or None,
                self.value(notebook, "data_dir", "data"),
                **self.value(notebook, "dataset_options", {}),
            )
        except MissingFile:
            return None

    def n_samples(self) -> int | None:
        """How many samples the clouds of the run have; None where that is not known yet."""
        if self.has("02_bring"):
            return self.brought.n_samples
        data = self.dataset("02_extract")
        return None if data is None else len(data)

    @cached_property
    def brought(self):
        """The cloud that the run brings; its arrays are read and checked once."""
        from georep_utils import clouds

        names = ("path", "labels", "families", "arrays", "n_blocks", "name")
        return clouds.bring(**{name: self.value("02_bring", name) or None for name in names})

    def source(self, notebook: str = "02_extract", checkpoint: str | None = None, **place):
        """The model that a notebook reads, by what it is made from; None where there is none.

        Parameters
        ----------
        checkpoint : one of a training, in the place of the notebook's own.
        place : site and pool, in the place of the notebook's own.
        """
        from georep_utils.models import load

        name = self.value(notebook, "model")
        if not name:
            return None
        settings = {
            "device": self.value(notebook, "device", "auto"),
            "dtype": self.value(notebook, "dtype", "float32"),
            "site": self.value(notebook, "site", "ln_1"),
            "pool": self.value(notebook, "pool", "mean"),
            "data_dir": self.value(notebook, "data_dir", "data"),
        }
        settings |= self.value(notebook, "model_options", {}) | place
        if checkpoint is not None:
            return load.source_of_checkpoint(name, checkpoint, **settings)
        return load.source(name, self.value(notebook, "checkpoint") or None, **settings)


# ------------------------------------------------------------------------------------------ check


def check(parameters: Mapping[str, Mapping]) -> None:
    """Refuse what the samples can't give, before anything is computed.

    Parameters
    ----------
    parameters : all parameters of each notebook of a run.

    Raises
    ------
    UserError
        Naming the parameter, for a device or scheduler that is not there, a model option that does
        not exist, arrays that can't be a cloud, a run to compare that has none, more neighbours
        than points or than are kept, and a decimation that leaves too few points.
    """
    _check(Plan(parameters))


def _check(plan: Plan) -> None:
    _check_where(plan)
    _check_sources(plan)
    n = plan.n_samples()
    _check_neighbors(plan, n)
    _check_compared(plan)
    if n is not None:
        _check_scale(plan, n)
        _check_texts(plan, n)
    for notebook in ("06", "11"):
        small = plan.dataset(notebook)
        if small is not None:
            _check_quick_profile(plan, notebook, len(small))


def _check_where(plan: Plan) -> None:
    """Refuse devices and schedulers that are not there."""
    from georep_utils import parallel
    from georep_utils.precision import find_device

    for values in plan.parameters.values():
        if "device" in values:
            find_device(values["device"], values.get("dtype", "float32"))
        scheduler = values.get("scheduler")
        if scheduler and scheduler != "local":
            parallel.address_of(scheduler)


def _check_sources(plan: Plan) -> None:
    """Refuse models that can't be read in the way that is asked for."""
    if plan.has("02_extract"):
        plan.source()
    for checkpoint in plan.value("06", "checkpoints", {}).values():
        if checkpoint not in (None, "untrained"):
            plan.source("06", checkpoint=checkpoint)
    for site in plan.value("11", "sites", []):
        for pool in plan.value("11", "pools", []):
            plan.source("11", site=site, pool=pool)


def _check_compared(plan: Plan) -> None:
    """Refuse a comparison of clouds that are not there or have other samples."""
    from georep_utils import clouds

    if not plan.has("12"):
        return
    names = ("first", "first_cloud", "second", "second_cloud", "k")
    first, first_cloud, second, second_cloud, k = (plan.value("12", name) for name in names)
    a, b = clouds.chosen(first, first_cloud), clouds.chosen(second, second_cloud)
    clouds.same_samples(a, b)
    clouds.check_compared(a, b, k)


def _check_texts(plan: Plan, n: int) -> None:
    few = min(n, plan.value("18", "n_samples", n))
    k = plan.value("18", "label_k", 1)
    if k >= few:
        raise UserError(
            f"language_controls.label_k is {k}, but {few} texts are read; expected fewer: lower it "
            "or take more texts"
        )


def _check_neighbors(plan: Plan, n: int | None) -> None:
    maxk = plan.value("03", "maxk")
    if maxk is None:
        return
    if n is not None and maxk >= n:
        raise UserError(
            f"distances.maxk is {maxk}, but there are {n} samples; expected fewer neighbours than "
            "samples: lower maxk or take more"
        )
    for notebook in ("03", "06", "11"):
        range_max = plan.value(notebook, "range_max", 2)
        if range_max < 2 or range_max & (range_max - 1):
            raise UserError(
                f"range_max of {notebook} is {range_max}; expected a power of two of at least 2, "
                "such as 1024"
            )
    for name in ("data_k", "label_k", "robustness_k"):
        for k in plan.value("05", name, []):
            if k > maxk:
                raise UserError(
                    f"overlaps.{name} has {k}, but {maxk} neighbours are kept; raise "
                    "distances.maxk, or lower it"
                )


def _check_scale(plan: Plan, n: int) -> None:
    from georep_utils.geometry.scale_rules import RULES
    from georep_utils.geometry.scaling import MIN_POINTS

    rule = plan.value("04", "scale_rule")
    decimation = 1
    if rule in RULES:
        _check_what_a_rule_reads(plan, rule, RULES[rule])
    if rule in RULES and RULES[rule].method == "twonn":
        decimation = int(max(RULES[rule].scales))
    if rule and n // decimation < MIN_POINTS:
        raise UserError(
            f"intrinsic_dimension.scale_rule is {rule}: decimation by {decimation} leaves "
            f"{n // decimation} of {n} samples, and {MIN_POINTS} are needed; take more samples or "
            "another rule"
        )


def _check_what_a_rule_reads(plan: Plan, name: str, rule) -> None:
    """Refuse settings under which the rule that was asked for finds nothing to read."""
    if rule.method != "twonn":
        return
    fraction = plan.value("04", "fraction", rule.fraction)
    if rule.fraction is not None and fraction != rule.fraction:
        raise UserError(
            f"intrinsic_dimension.fraction is {fraction}, but scale_rule {name} reads TwoNN with "
            f"{rule.fraction}; set it so, or take another rule"
        )
    repetitions = plan.value("04", "n_repetitions", rule.repetitions)
    if repetitions < rule.repetitions:
        raise UserError(
            f"intrinsic_dimension.n_repetitions is {repetitions}, but scale_rule {name} reads "
            f"{rule.repetitions}; raise it, or take another rule"
        )
    decimations = plan.value("04", "decimations", rule.scales)
    if not set(rule.scales) <= set(decimations):
        raise UserError(
            f"intrinsic_dimension.decimations are {list(decimations)}, but scale_rule {name} reads "
            f"{rule.scales[0]:g}; add it, or take another rule"
        )


def _check_quick_profile(plan: Plan, notebook: str, n: int) -> None:
    from georep_utils.geometry.scaling import MIN_POINTS

    label_k = plan.value(notebook, "label_k", 1)
    if label_k >= n:
        raise UserError(
            f"label_k of {notebook} is {label_k}, but there are {n} samples; lower it or take more"
        )
    decimation = plan.value(notebook, "decimation", 1)
    if n // decimation < MIN_POINTS:
        raise UserError(
            f"decimation of {notebook} is {decimation}, which leaves {n // decimation} of {n} "
            f"samples, and {MIN_POINTS} are needed; lower it or take more samples"
        )


# ----------------------------------------------------------------------------------------- report


def report(parameters: Mapping[str, Mapping]) -> str:
    """What a run will download, store and take, as lines of text.

    Raises
    ------
    UserError
        As `check`.
    """
    plan = Plan(parameters)
    _check(plan)
    lines = _downloads(plan)
    if plan.has("02_bring"):
        return "\n".join([*lines, *_of_brought(plan)])
    if not plan.has("02_extract"):
        lines.append(
            "clouds         those of other runs; these chapters read them and their tables"
        )
        lines.append("chapters       a few MB on disk, about a minute each")
        return "\n".join(lines)
    data = plan.dataset("02_extract")
    if data is None:
        lines.append(f"samples        {UNKNOWN}: 01_download brings them, or says where they go")
        return "\n".join(lines)
    lines.append(f"samples        {len(data):,} of {data.name}")
    try:
        model = plan.source().load()
    except UserError as error:
        lines.append(f"model          {UNKNOWN}: {error}")
        return "\n".join(lines)
    return "\n".join([*lines, *_sizes_and_times(plan, data, model)])


def _downloads(plan: Plan) -> list[str]:
    from georep_utils.data import needs, transfer

    if not plan.has("01"):
        return []
    names = ("model", "checkpoint", "checkpoints", "dataset", "split", "released")
    asked = {name: plan.value("01", name) for name in names}
    addresses = ("openai_url", "figshare_url", "figshare_api")
    asked |= {name: plan.value("01", name) for name in addresses}
    wanted = needs.needed_files(**asked, offline=True)
    folder = io.REPOSITORY / plan.value("01", "data_dir", "data")
    missing = [file for file in wanted if transfer.mismatch(file, folder / file.path)]
    known = sum(file.size or 0 for file in missing)
    unknown = sum(file.size is None for file in missing)
    lines = [f"to download    {len(missing)} files, {known / 1e9:.1f} GB"]
    if unknown:
        lines[0] += f" and {unknown} of unknown size"
    return lines


def _sizes_and_times(plan: Plan, data, model) -> list[str]:
    rows = np.linspace(0, len(data) - 1, 8).astype(int)
    trial = model.forward(data.take(np.unique(rows)).inputs)
    widths = [pooled.shape[1] for pooled in trial]
    networks = 1 + _untrained_networks(plan)
    of_input = _input_widths(data, rows, widths[0])
    rate = _samples_a_second(model, data)
    n = len(data)
    all_widths = networks * widths + of_input
    stored = array_bytes(n, all_widths)
    n_weights = sum(weight.numel() for weight in model.net.parameters())
    search = _search_of_layers(plan, n, all_widths)
    extraction = networks * n / rate
    return [
        f"layers         {len(widths)} of width {min(widths)} to {max(widths)}, "
        f"{networks} network(s), and {len(of_input)} array(s) of the input",
        f"02 extract     {stored / 1e9:.2f} GB on disk, "
        f"{extraction_memory(n_weights) / 1e9:.1f} GB of memory, about {duration(extraction)} on "
        f"{model.device}",
        *_of_geometry(plan, n, all_widths, search),
        *_of_further_clouds(plan, widths, rate, search / networks / n**2),
        OTHER_CHAPTERS,
    ]


def _of_brought(plan: Plan) -> list[str]:
    """What arrays that were brought will take: they are read in place, and searched."""
    cloud = plan.brought
    n = cloud.n_samples
    widths = [cloud[layer].shape[1] for layer in cloud.layers]
    return [
        f"samples        {n:,}, brought",
        f"layers         {len(widths)} of width {min(widths)} to {max(widths)}, read in place",
        *_of_geometry(plan, n, widths, _search_of_layers(plan, n, widths)),
        OTHER_CHAPTERS,
    ]


def _search_of_layers(plan: Plan, n: int, widths: Iterable[int]) -> float:
    """Seconds of the searches of 03 among n points, one a width."""
    maxk, range_max = plan.value("03", "maxk", 50), 2 ** _octaves(plan)
    return sum(_search_seconds(n, width, maxk, range_max) for width in widths)


def _octaves(plan: Plan) -> int:
    """How many distance ratios 03 keeps."""
    return int(np.log2(plan.value("03", "range_max", 1024)))


def _of_geometry(plan: Plan, n: int, widths: Sequence[int], search: float) -> list[str]:
    """What 03 and 04 take of n points in layers of these widths."""
    stored = neighbor_bytes(n, len(widths), plan.value("03", "maxk", 50), _octaves(plan))
    return [
        f"03 neighbours  {stored / 1e9:.2f} GB on disk, "
        f"{search_memory(n, max(widths)) / 1e9:.1f} GB of memory, about {duration(search)}",
        f"04 dimension   a few MB on disk, about {duration(DIMENSION * search + 10)}",
    ]


def _of_further_clouds(
    plan: Plan, widths: Sequence[int], rate: float, search_per_pair: float
) -> list[str]:
    """What 06 and 11 take, which read checkpoints and other places on samples of their own.

    rate: samples a second of one network; search_per_pair: seconds of its searches over n^2.
    """
    checkpoints = len(plan.value("06", "checkpoints", {}))
    places = len(plan.value("11", "sites", [])) * len(plan.value("11", "pools", []))
    lines = []
    for notebook, what, n_clouds in (("06", "training", checkpoints), ("11", "places", places)):
        few = plan.dataset(notebook) if plan.has(notebook) else None
        if few is None:
            continue
        passes = 1 if notebook == "11" and plan.source("11").in_one_pass else n_clouds
        seconds = passes * len(few) / rate + n_clouds * search_per_pair * len(few) ** 2
        disk = array_bytes(len(few), n_clouds * widths) / 1e9
        lines.append(
            f"{notebook} {what:12}{disk:.2f} GB on disk, {n_clouds} clouds of {len(few):,} "
            f"samples, about {duration(seconds)}"
        )
    return lines


def array_bytes(n: int, widths: Iterable[int]) -> int:
    """Bytes of the arrays of n points, one array a width, in float32."""
    return 4 * n * sum(widths)


def neighbor_bytes(n: int, n_layers: int, maxk: int, ranks: int) -> int:
    """Bytes of the tables of neighbours of n points in so many layers.

    Indices and distances of maxk neighbours and of the point itself; ratios and their radii.
    """
    return n * n_layers * (8 * (maxk + 1) + 4 * (2 * ranks + 1))


def extraction_memory(n_weights: int) -> int:
    """Bytes of memory that reading takes: the weights in float32, libraries and a batch."""
    return 4 * n_weights + 2**30


def search_memory(n: int, width: int) -> int:
    """Bytes of memory that a search needs: the points twice, and blocks of distances.

    Where more is free it keeps all candidates at once: see `neighbors_cpu`.
    """
    return 8 * n * width + 2**29


def _untrained_networks(plan: Plan) -> int:
    """How many networks of random weights are read beside the trained one."""
    if not plan.value("02", "untrained_control", False):
        return 0
    return plan.value("02", "control_seeds", 1)


def _input_widths(data, rows: np.ndarray, model_width: int) -> list[int]:
    """Widths of the arrays that stand for the input, found with a few samples.

    A few texts have fewer words than all have; the mean of their input vectors is as wide as the
    first layer of most models.
    """
    from georep_utils.data import baselines

    if data.kind == "text":
        return [baselines.MOST_DIRECTIONS, model_width]
    few = data.take(np.unique(rows))
    return [part.make().shape[1] for part in baselines.of(few)]


def _samples_a_second(model, data) -> float:
    """Speed of extraction, from passing samples for a few seconds."""
    from georep_utils import extraction

    lengths = model.lengths(data.inputs[: min(len(data), 512)])
    width = model.forward(data.take([0]).inputs)[0].shape[1]
    budget = extraction.usual_batch_tokens(model.device, width)
    planned = extraction.batches(np.asarray(lengths), budget)
    order = np.random.default_rng(0).permutation(len(planned))
    done = 0
    began = time.perf_counter()
    threads, workers = extraction.side_by_side(model)
    with threads as pool:
        for start in range(0, len(order), workers):
            picked = [planned[i] for i in order[start : start + workers]]
            jobs = [pool.submit(extraction.forward, model, data, rows, 1) for rows in picked]
            for job in jobs:
                job.result()
            done += sum(len(rows) for rows in picked)
            if time.perf_counter() - began > CALIBRATION_SECONDS:
                break
    return done / (time.perf_counter() - began)


def _search_seconds(n: int, width: int, maxk: int, range_max: int) -> float:
    """Time of one layer's search, from a smaller one: it grows with the square of n."""
    return _calibrated_search(width, maxk, range_max) * (n / CALIBRATION_POINTS) ** 2


@lru_cache(maxsize=64)
def _calibrated_search(width: int, maxk: int, range_max: int) -> float:
    """Seconds of a search among `CALIBRATION_POINTS` random points."""
    from georep_utils.geometry.neighbors import nearest_neighbors

    points = np.random.default_rng(0).standard_normal((CALIBRATION_POINTS, width))
    points = points.astype(np.float32)
    nearest_neighbors(points[:1100], 2, 2)  # the first call compiles
    began = time.perf_counter()
    nearest_neighbors(points, min(maxk, CALIBRATION_POINTS - 1), min(range_max, 2048))
    return time.perf_counter() - began


def duration(seconds: float) -> str:
    """A time in words: seconds, minutes, hours or days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    if hours < 72:
        return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"
    return f"{hours / 24:.0f} days"
