"""What every figure of the book keeps: type that can be read, few panels, curves that differ."""

import inspect
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from georep_utils import figures
from georep_utils.geometry.semantic_layer import SemanticLayer

N_BLOCKS = 12
LAYERS = np.arange(N_BLOCKS + 2)  # the last are the logits
DEPTH = LAYERS / N_BLOCKS
HUMP = 5 + 4 * np.sin(np.pi * np.clip(DEPTH, 0, 1))
PICTURES = np.random.default_rng(0).integers(0, 256, (24, 8, 8)).astype(np.uint8)
HOSTILE = "$x_{1$ & _y <b>"  # a name that someone else chose


def profile(**columns):
    """A table of one row a layer."""
    table = pd.DataFrame({"layer": LAYERS, "depth": DEPTH, "id": HUMP, "id_err": 0.3})
    return table.assign(**columns)


def each(column, names, **columns):
    """One profile below the other, each with its name."""
    parts = [
        profile(**columns).assign(**{column: name}, id=HUMP + i) for i, name in enumerate(names)
    ]
    return pd.concat(parts, ignore_index=True)


def scaling_curves():
    """Curves of dimension against scale, as the estimators make them."""
    parts = []
    for method in ("twonn", "gride"):
        for scale in (1, 2, 4, 8, 16, 32):
            part = profile(method=method, scale=float(scale), n_points=3200 // scale)
            parts.append(part.assign(id=HUMP - np.log2(scale) / 4))
    return pd.concat(parts, ignore_index=True)


def one_layer():
    """Dimension against scale in one layer."""
    curves = scaling_curves()
    return curves[curves.layer == 0]


def training_log():
    steps = np.arange(0, 1001, 100)
    log = pd.DataFrame({"step": steps, "train_loss": 2 / (1 + steps / 100) + 0.5})
    log["held_out_loss"] = log.train_loss + 0.02
    log["checkpoint"] = [HOSTILE, *[None] * 9, "trained"]
    log.loc[0, "train_loss"] = np.nan
    return log


def error_ratios():
    table = pd.DataFrame({"statistic": ["ID", HOSTILE], "form": "halves", "ratio": [0.9, 2.0]})
    return pd.concat([table.assign(kind="known clouds"), table.assign(kind="layers")])


def overlaps(column, names):
    parts = []
    for k in (10, 30):
        overlap = 0.5 + k / 100 - DEPTH / 4
        parts.append(each(column, names, k=k, error=0.01, overlap=overlap))
    return pd.concat(parts, ignore_index=True)


def board():
    """A scoreboard with a rule that chose nothing, and with controls."""
    choices = ["chosen by the ID", "middle", "random layer after the peak", f"input: {HOSTILE}"]
    table = pd.DataFrame({"choice": choices, "kind": ["layer", "layer", "random", "input"]})
    table["share"] = [np.nan, 1.0, 0.9, 1.1]
    table["in_best_set"] = [np.nan, 1.0, 0.4, np.nan]
    return table.assign(accuracy_share=table.share, probe_share=table.share)


def published():
    """A model with a value at each layer, and one with values at a few."""
    every = each("model", ["igpt-small", "esm2-3B", HOSTILE]).rename(
        columns={"id": "value", "id_err": "error"}
    )
    few = every[(every.model == "igpt-small") & (every.layer % 4 == 0)]
    return pd.concat([every, few.assign(model="igpt-large")], ignore_index=True)


def controls():
    table = pd.DataFrame(index=LAYERS)
    table["untrained network"] = 8.0
    table.loc[LAYERS % 2 == 0, "shuffled features"] = 40.0
    table.loc[LAYERS % 2 == 0, "Gaussian, same covariance"] = 12.0
    return table


def diagnostics(lowest):
    rows = pd.MultiIndex.from_product([LAYERS, [1.0, 2.0, 4.0]], names=["layer", "scale"])
    table = rows.to_frame(index=False)
    table["bias"] = lowest + table.layer / 20
    return table.assign(refused=np.where(table.bias < 0.06, "", "scale"))


def benchmarks():
    rows = [("neighbours", "a library", 6.0), ("neighbours", "matrix product", 0.6)]
    table = pd.DataFrame([*rows, ("extraction", HOSTILE, 2.0)], columns=["task", "way", "ratio"])
    return table.assign(case="20,000 points", low=table.ratio * 0.9, high=table.ratio * 1.1)


def boards():
    """Ten models: more than there are markers."""
    rows = [
        (by, model, choice, share)
        for by in ("the paper", "this book")
        for model in [HOSTILE, *"abcdefghi"]
        for choice, share in (("middle", 0.9), ("chosen by the ID", np.nan))
    ]
    return pd.DataFrame(rows, columns=["by", "model", "choice", "share"])


def correlations():
    columns = ["by", "model", "rho", "low", "high", "sample_low", "sample_high"]
    rows = [
        ("the paper", "igpt-small", 0.6, -0.6, 0.9, np.nan, np.nan),
        ("this book", HOSTILE, 0.1, -0.5, 0.7, 0, 0.2),
    ]
    return pd.DataFrame(rows, columns=columns)


def likeness():
    """A table of all pairs of layers of two clouds."""
    return pd.DataFrame(1 - np.abs(DEPTH[:, None] - DEPTH[:5]), index=LAYERS, columns=LAYERS[:5])


def cases():
    """Correlations with their intervals, of which one has no known share."""
    table = pd.DataFrame({"group": ["images", HOSTILE, "texts"], "share": [0.9, 0.6, np.nan]})
    return table.assign(rho=[0.8, -0.7, 0.1], low=[0.2, -0.9, -0.5], high=[0.95, 0.1, 0.7])


NAMES = ["trained", "untrained"]
SEMANTIC = SemanticLayer(7, "minimum", 4, 6, 8, 0.2, 0.01, 0.05)
RULES = ["paper_text", "igpt_release", "gride_small_k", "auto"]
PAIR = each("model", ["igpt-mini", HOSTILE]).rename(columns={"id": "value", "id_err": "error"})
NOTE = f"{HOSTILE}: N = 5,000; measured here, " + 12 * "by one who has much to say, "
WAYS = ["words shuffled", "random words", "first token left out", "length in place of labels"]
OF_INPUT = pd.DataFrame({"baseline": ["pixels", HOSTILE], "id": 9.0, "label_overlap": 0.6})
DRAWN = {
    "samples": lambda f: f.samples(PICTURES, 2, [HOSTILE, *"bcdefghijkl"], NOTE),
    "palette": lambda f: f.palette(np.full(16, 1 / 16), np.arange(0, 256, 16, np.uint8), "", NOTE),
    "training_loss": lambda f: f.training_loss(training_log(), "igpt-mini", NOTE),
    "completions": lambda f: f.completions(PICTURES[:8], PICTURES[8:16], PICTURES[16:], NOTE),
    "neighbour_pictures": lambda f: f.neighbour_pictures(
        PICTURES.reshape(2, 3, 4, 8, 8), [0, 6, 12], NOTE
    ),
    "distances_and_norms": lambda f: f.distances_and_norms(
        profile(first_distance=HUMP / 9, norm=HUMP), "igpt-mini", NOTE
    ),
    "id_scaling": lambda f: f.id_scaling(scaling_curves(), N_BLOCKS, 4, NOTE),
    "plateau_bias": lambda f: f.plateau_bias(diagnostics(0.01), 0.08, NOTE),
    "scale_rules": lambda f: f.scale_rules(
        each("rule", RULES, id_sys=1.0), {"auto": HOSTILE}, NOTE
    ),
    "profile_with_controls": lambda f: f.profile_with_controls(
        profile(),
        controls(),
        N_BLOCKS,
        HOSTILE,
        SEMANTIC,
        0.1 * controls(),
        NOTE,
        pd.DataFrame({"low": 7.0, "high": 9.0}, index=LAYERS),
        {"pixels": 11.0, HOSTILE: 6.0},
    ),
    "ratio_law": lambda f: f.ratio_law(
        np.linspace(0.1, 2, 50),
        pd.DataFrame({"log_mu": DEPTH, "minus_log_survival": 7 * DEPTH, "fitted": 7 * DEPTH}),
        NOTE,
    ),
    "ceiling": lambda f: f.ceiling(
        pd.DataFrame({"dimension": [2, 8, 32], "id": [2.0, 7.5, 20.0], "id_err": 0.3}), 5, 9, NOTE
    ),
    "twonn_fit": lambda f: f.twonn_fit(
        np.linspace(0.01, 1, 50), 7 * np.linspace(0.01, 1, 50), 0.9, 7.0, NOTE
    ),
    "sizes": lambda f: f.sizes(
        each("network", NAMES, first_distance=HUMP / 9, norm=HUMP), "igpt-mini", NOTE
    ),
    "id_by_samples": lambda f: f.id_by_samples(scaling_curves(), N_BLOCKS, NOTE),
    "training_dynamics": lambda f: f.training_dynamics(
        each("checkpoint", [HOSTILE, "1/2", "trained"], label_overlap=0.5), 10, NOTE, OF_INPUT
    ),
    "trainings": lambda f: f.trainings(
        pd.concat(
            each(
                "checkpoint", [HOSTILE, "1/2"], label_overlap=shift / 10, training=str(shift)
            ).assign(id=HUMP.mean() + shift)
            for shift in (1, 2, 3)
        ),
        10,
        NOTE,
    ),
    "language_controls": lambda f: f.language_controls(
        each("control", ["as written, mean", *WAYS, HOSTILE], label_overlap=0.5), 10, NOTE
    ),
    "listening_places": lambda f: f.listening_places(
        each("site", ["ln_1", "attn"], pool="mean", label_overlap=0.5),
        10,
        NOTE,
        pd.DataFrame({"baseline": ["pixels", "histogram"], "overlap": [0.7, 0.3]}),
    ),
    "data_overlap": lambda f: f.data_overlap(
        overlaps("with", ["next", "first", "final norm"]), [10, 30], "igpt-mini", NOTE
    ),
    "label_overlap": lambda f: f.label_overlap(
        overlaps("network", NAMES),
        N_BLOCKS,
        [10, 30],
        [10, 30],
        7,
        NOTE,
        "igpt-mini",
        pd.DataFrame({"baseline": ["pixels", HOSTILE], "k": 10, "overlap": [0.7, 0.3]}),
    ),
    "scoreboard": lambda f: f.scoreboard(board(), 10, NOTE),
    "id_against_overlap": lambda f: f.id_against_overlap(
        profile(overlap=0.5 + DEPTH / 4, error=0.01)[:-1], 10, NOTE
    ),
    "theirs_and_ours": lambda f: f.theirs_and_ours(
        published(),
        PAIR,
        {"ImageGPT": "igpt", "ESM-2": "esm2", "other models": ""},
        "intrinsic dimension",
        {("the paper", "igpt-large"): 0.5, ("the paper", "esm2-3B"): 0.5},
        NOTE,
    ),
    "consecutive_by_run": lambda f: f.consecutive_by_run(
        pd.concat([PAIR.assign(k=k, value=0.5 + k / 500) for k in (1, 3, 10, 30, 50)]), NOTE
    ),
    "training_by_run": lambda f: f.training_by_run(
        each("checkpoint", ["untrained", "trained"], run=HOSTILE), NOTE
    ),
    "advice_shares": lambda f: f.advice_shares(boards(), NOTE),
    "relations": lambda f: f.relations(correlations(), NOTE),
    "real_profiles": lambda f: f.real_profiles(
        published(),
        PAIR,
        PAIR.assign(low=4.0, high=5.0)[["model", "depth", "low", "high"]],
        {"ImageGPT": "igpt", "ESM-2": "esm2"},
        NOTE,
    ),
    "balls": lambda f: f.balls(
        pd.DataFrame({"rule": RULES, "truth": 10, "ratio": 0.9, "spread": 0.1, "certified": 0.5}),
        0.1,
        NOTE,
    ),
    "certificates": lambda f: f.certificates(
        pd.DataFrame({"dimension": [2, 20], "id": [2.1, 11], "verdict": ["certified", HOSTILE]}),
        0.1,
        NOTE,
    ),
    "error_ratios": lambda f: f.error_ratios(error_ratios(), NOTE),
    "known_profiles": lambda f: f.known_profiles(
        pd.concat(
            [
                each("name", list("abcdefgh"), has_feature=False),
                each("name", ["minimum", HOSTILE], has_feature=True),
            ]
        ),
        NOTE,
    ),
    "operating_curve": lambda f: f.operating_curve(
        pd.DataFrame({"layers": [25, 49], "noise": 0.01, "found": [0.0, 0.01], "upper": 0.03}),
        pd.DataFrame(
            {"profile": ["minimum of 40 %", HOSTILE], "noise": 0.01, "low": 0.4, "found": 0.5}
        ).assign(high=0.6),
        0.05,
        NOTE,
    ),
    "rule_shapes": lambda f: f.rule_shapes(
        each("rule", RULES, run=HOSTILE, relative=1.0, relative_err=0.1), NOTE
    ),
    "id_against_samples": lambda f: f.id_against_samples(
        each("place", ["first layer", "final norm"], run=HOSTILE, n_points=1250), NOTE
    ),
    "speed_ratios": lambda f: f.speed_ratios(benchmarks(), NOTE),
    "growth": lambda f: f.growth(
        pd.DataFrame({"n": [1e3, 1e4], "d": 512, "modelled": [0.1, 10], "measured": [0.2, 9]}), NOTE
    ),
    "precision_effect": lambda f: f.precision_effect(
        profile(
            way="bfloat16, CPU",
            id_change=0.0,
            id_error=0.01,
            overlap_change=0.0,
            overlap_error=0.01,
        ),
        NOTE,
    ),
    "layer_maps": lambda f: f.layer_maps(
        {"there": likeness(), "back": likeness()}, HOSTILE, "b", "likeness", (0, 1), note=NOTE
    ),
    "nearest_layers": lambda f: f.nearest_layers(
        each("measure", ["overlap", "CKA"], nearest_depth=DEPTH**2), HOSTILE, "b", NOTE
    ),
    "two_profiles": lambda f: f.two_profiles(each("cloud", ["trained", HOSTILE]), NOTE),
    "meaning": lambda f: f.meaning(cases(), NOTE),
    "rival_choices": lambda f: f.rival_choices(
        pd.DataFrame(
            {"case": [HOSTILE, "b", HOSTILE], "choice": ["peak", "peak", "middle"], "kept": 0.9}
        ),
        NOTE,
    ),
    "small_clouds": lambda f: f.small_clouds(
        {HOSTILE: np.random.default_rng(0).normal(size=(90, 3))}, NOTE
    ),
    "cloud_scales": lambda f: f.cloud_scales(
        pd.DataFrame({"cloud": HOSTILE, "scale": [1.0, 2.0, 4.0], "id": 2.0, "id_err": 0.1}), NOTE
    ),
    "runs_with_controls": lambda f: f.runs_with_controls(
        each("run", ["igpt-mini", HOSTILE]).rename(columns={"id": "value", "id_err": "error"}),
        pd.DataFrame({"run": HOSTILE, "depth": [0.0, 1.0], "low": 2.0, "high": 3.0}),
        pd.DataFrame({"run": HOSTILE, "name": [HOSTILE], "value": [4.0]}),
        {HOSTILE: (0.5, 0.4, 0.6)},
        "intrinsic dimension",
        NOTE,
    ),
    "overlap_maps": lambda f: f.overlap_maps({"a pair": likeness(), HOSTILE: likeness()}, 10, NOTE),
    "profiles_at_scales": lambda f: f.profiles_at_scales(
        scaling_curves(), {("twonn", 1.0): 7, ("gride", 4.0): None}, N_BLOCKS, NOTE
    ),
    "neighbours_framed": lambda f: f.neighbours_framed(
        PICTURES.reshape(1, 3, 8, 8, 8), np.ones((1, 3, 7), bool), [0, 5, 11], NOTE
    ),
    "chosen_runs": lambda f: f.chosen_runs(
        PAIR.assign(
            measured=PAIR.model == "igpt-mini", quantity="intrinsic_dimension", n_blocks=N_BLOCKS
        ),
        10,
        NOTE,
    ),
    "own_cloud": lambda f: f.own_cloud({HOSTILE: one_layer(), "Gaussian": one_layer()}, NOTE),
}
NO_PANELS = {"samples", "completions", "neighbour_pictures", "neighbours_framed"}
FROM_ZERO = [
    "id_scaling",
    "scale_rules",
    "profile_with_controls",
    "sizes",
    "id_by_samples",
    "training_dynamics",
    "trainings",
    "listening_places",
    "theirs_and_ours",
    "real_profiles",
    "training_by_run",
    "rule_shapes",
    "id_against_samples",
    "two_profiles",
    "profiles_at_scales",
    "chosen_runs",
    "own_cloud",
]


@pytest.fixture(scope="module")
def drawn():
    """Every figure, laid out."""
    figures.use_style()
    made = {name: draw(figures) for name, draw in DRAWN.items()}
    for figure in made.values():
        lay_out(figure)
    return made


def lay_out(figure):
    """Give everything its place, without drawing it."""
    FigureCanvasAgg(figure)
    figures._lay_out(figure)


def texts(figure):
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


def panels(figure):
    """Axes with data; a colour bar is none."""
    return [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]


def test_every_figure_of_the_module_is_tried_here():
    public = {
        name
        for name, value in inspect.getmembers(figures, inspect.isfunction)
        if value.__module__ == figures.__name__ and not name.startswith("_")
    }
    of_all = {"use_style", "colour", "shown", "svg", "data", "narrow"}
    assert public - of_all == set(DRAWN)


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_has_the_width_of_a_page_and_can_be_read(drawn, name):
    figure = drawn[name]
    assert isinstance(figure, Figure) and figure.get_figwidth() <= 7.2 + 1e-9
    assert min(text.get_fontsize() for text in texts(figure)) >= 9
    # what lies outside the page's width would shrink everything when the figure is shown
    box = figure.get_tightbbox(figure.canvas.get_renderer())
    assert box.x0 > -0.1 and box.x1 < figure.get_figwidth() + 0.1


@pytest.mark.parametrize("name", DRAWN)
def test_a_row_has_two_panels_at_most(drawn, name):
    rows = pd.Series([round(axis.get_position().y0, 2) for axis in panels(drawn[name])])
    assert rows.value_counts().max() <= 2


@pytest.mark.parametrize("name", sorted(set(DRAWN) - NO_PANELS))
def test_curves_differ_by_more_than_their_colour(drawn, name):
    for axis in panels(drawn[name]):
        handles, labels = axis.get_legend_handles_labels()
        lines = [getattr(handle, "lines", (handle,))[0] for handle in handles]
        looks = [
            (line.get_linestyle(), line.get_marker(), str(line.get_markerfacecolor()) == "white")
            for line in lines
            if isinstance(line, Line2D)
        ]
        assert len(set(looks)) == len(looks), labels


@pytest.mark.parametrize("name", sorted(set(DRAWN) - NO_PANELS))
def test_legends_lie_off_the_curves(drawn, name):
    figure = drawn[name]
    renderer = figure.canvas.get_renderer()
    for axis in panels(figure):
        if axis.get_legend() is not None:
            assert axis.get_legend().get_window_extent(renderer).y0 >= axis.bbox.y1 - 1


@pytest.mark.parametrize("name", DRAWN)
def test_no_legend_is_cut_off(drawn, name):
    figure = drawn[name]
    renderer = figure.canvas.get_renderer()
    legends = [*figure.legends, *(axis.get_legend() for axis in figure.axes if axis.get_legend())]
    for legend in legends:
        assert legend.get_window_extent(renderer).x1 <= figure.bbox.x1 + 1


def test_trainings_of_rounded_depths_meet_at_their_layers():
    one = profile(label_overlap=0.5).assign(id=HUMP, checkpoint="1/2", training="a")
    other = one.assign(id=HUMP + 1, training="b", depth=one.depth.round(4))
    figure = figures.trainings(pd.concat([one, other]), 10)
    line = figure.axes[0].lines[0]
    assert len(line.get_xdata()) == (one.depth <= 1).sum()
    np.testing.assert_allclose(line.get_ydata(), HUMP[one.depth <= 1] + 0.5)


def test_a_curve_is_named_once(drawn):
    for name in ("training_dynamics", "trainings", "language_controls"):
        figure = drawn[name]
        legends = [*figure.legends, *(a.get_legend() for a in figure.axes if a.get_legend())]
        named = [text.get_text() for legend in legends for text in legend.get_texts()]
        curves = [name for name in named if not name.startswith("input: ")]
        assert len(curves) == len(set(curves)) > 1


def test_a_panel_that_is_left_over_takes_the_whole_row():
    runs = pd.concat([PAIR, PAIR.assign(model="a third").drop_duplicates("depth")])
    figure = figures.consecutive_by_run(runs.assign(k=10))
    last = figure.axes[-1].get_subplotspec()
    assert len(figure.axes) == 3 and len(last.colspan) == 2


@pytest.mark.parametrize("name", DRAWN)
def test_ticks_are_plain_numbers(drawn, name):
    for axis in drawn[name].axes:
        for label in [*axis.get_xticklabels(which="both"), *axis.get_yticklabels(which="both")]:
            assert not re.search(r"mathdefault|\^|e[+-]\d", label.get_text())


@pytest.mark.parametrize("name", FROM_ZERO)
def test_dimensions_are_drawn_from_zero(drawn, name):
    linear = [axis for axis in panels(drawn[name]) if axis.get_yscale() == "linear"]
    assert linear and all(axis.get_ylim()[0] == 0 for axis in linear if axis.axison)


@pytest.mark.parametrize("name", DRAWN)
def test_names_of_others_are_shown_as_they_are(drawn, name):
    shown = " ".join(text.get_text() for text in texts(drawn[name]))
    escaped = HOSTILE.replace("$", r"\$")
    assert escaped.split()[0] in shown.replace("\n", " ")
    assert re.search(r"(?<!\\)\$x_", shown) is None


@pytest.mark.parametrize("name", ["samples", "id_scaling", "theirs_and_ours", "plateau_bias"])
def test_a_figure_is_the_same_every_time_and_small(name, tmp_path):
    figures.use_style()
    for file in ("once.svg", "again.svg"):
        (tmp_path / file).write_text(figures.svg(DRAWN[name](figures)))
    assert (tmp_path / "once.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()
    assert (tmp_path / "once.svg").stat().st_size < 300_000


# ----------------------------------------------------------------------- the second arrangement


@pytest.fixture(scope="module")
def narrow(drawn):
    """Every figure as a phone shows it, laid out."""
    made = {name: figures.narrow(figure) for name, figure in drawn.items()}
    for figure in made.values():
        lay_out(figure)
    return made


@pytest.mark.parametrize("name", DRAWN)
def test_a_phone_shows_all_of_a_figure_in_type_that_can_be_read(drawn, narrow, name):
    figure = narrow[name]
    assert figure.get_figwidth() == 3.6
    assert min(text.get_fontsize() for text in texts(figure)) >= 9
    box = figure.get_tightbbox(figure.canvas.get_renderer())
    assert box.x0 > -0.1 and box.x1 < 3.6 + 0.1
    assert box.y0 > -0.1 and box.y1 < figure.get_figheight() + 0.1


@pytest.mark.parametrize("name", DRAWN)
def test_on_a_phone_panels_stand_below_each_other_and_lose_nothing(drawn, narrow, name):
    wide, slim = panels(drawn[name]), panels(narrow[name])
    rows = [round(axis.get_position().y0, 2) for axis in slim]
    assert len(set(rows)) == len(rows) == len(wide)
    for one, other in zip(wide, slim, strict=True):
        assert len(one.lines) == len(other.lines)
        assert one.get_ylim() == other.get_ylim()
        assert (one.get_legend() is None) == (other.get_legend() is None)
        if one.get_legend() is not None:
            entries = [
                [" ".join(text.get_text().split()) for text in axis.get_legend().get_texts()]
                for axis in (one, other)
            ]
            assert entries[0] == entries[1]


@pytest.mark.parametrize("name", sorted(set(DRAWN) - NO_PANELS))
def test_on_a_phone_curves_have_room(narrow, name):
    figure = narrow[name]
    for axis in panels(figure):
        place = axis.get_position()
        assert place.width * 3.6 > 1.5
        strip = name == "palette" and axis is figure.axes[1]
        assert strip or place.height * figure.get_figheight() > 0.8


def test_the_wide_arrangement_stays_as_it_was():
    figure = DRAWN["scale_rules"](figures)
    before = figures.svg(figure)
    figures.narrow(figure)
    assert figures.svg(figure) == before


def test_a_figure_keeps_the_values_that_it_was_drawn_from():
    figure = DRAWN["distances_and_norms"](figures)
    kept = pd.read_csv(io.StringIO(figures.data(figure)))
    assert kept["first_distance"].to_numpy() == pytest.approx(HUMP / 9, rel=1e-5)
    assert not figures.data(DRAWN["samples"](figures))


def test_of_several_tables_each_has_its_name():
    kept = pd.read_csv(io.StringIO(figures.data(DRAWN["layer_maps"](figures))))
    assert set(kept.table) == {"there", "back"}


@pytest.mark.parametrize("name", sorted(set(DRAWN) - NO_PANELS))
def test_what_a_figure_was_drawn_from_can_be_offered(drawn, name):
    assert figures.data(drawn[name]).count("\n") > 1


def test_indices_of_symbols_are_no_smaller_than_other_type():
    label = figures.svg(DRAWN["label_overlap"](figures))
    scales = [float(found) for found in re.findall(r"scale\((0\.\d+) -0\.\d+\)", label)]
    assert min(scales) >= 0.09 and max(scales) * 0.7 > 0.083  # 11 pixels are 8.25 points


def test_dotted_ends_are_explained_where_they_are_drawn(drawn):
    said = {
        name: "logits" in " ".join(text.get_text() for text in texts(figure))
        for name, figure in drawn.items()
    }
    assert said["scale_rules"] and said["data_overlap"]
    assert not said["sizes"] and not said["twonn_fit"]


def test_no_figure_is_left_open():
    before = plt.get_fignums()
    DRAWN["scale_rules"](figures)
    assert plt.get_fignums() == before


def test_the_paper_s_models_have_their_colours_and_all_others_one():
    assert figures.colour("igpt-large") != figures.colour("igpt-large-bert".replace("igpt", "my"))
    assert figures.colour("igpt-small") != figures.colour("igpt-small-cifar10")
    assert figures.colour("mine") == figures.colour("yours")


def test_the_input_is_a_line_with_its_name_and_untrained_networks_a_band(drawn):
    axis = drawn["profile_with_controls"].axes[0]
    level = [line for line in axis.lines if set(line.get_ydata()) == {11.0}]
    assert [line.get_label() for line in level] == ["input: pixels"]
    without = figures.profile_with_controls(profile(), controls(), N_BLOCKS, "net").axes[0]
    assert len(axis.collections) > len(without.collections)


def test_the_systematic_error_has_a_panel_where_it_was_measured(drawn):
    assert len(drawn["scale_rules"].axes) == 2
    assert len(figures.scale_rules(each("rule", RULES)).axes) == 1


def test_the_threshold_of_a_plateau_is_outlined_and_no_map_is_empty():
    figure = figures.plateau_bias(diagnostics(0.01), 0.08)
    assert figure.axes[0].collections
    beside_the_colours = [line.get_ydata()[0] for line in figure.axes[1].lines]
    assert 0.08 in beside_the_colours
    nothing = figures.plateau_bias(diagnostics(2.0), 0.08)
    assert not nothing.axes[0].collections
    shades = nothing.axes[0].images[0]
    assert len(np.unique(shades.norm(shades.get_array()))) > 3


def test_a_control_of_which_one_measure_is_known_is_drawn_in_that_panel():
    cases = each("control", ["as written", "length in place of labels"], label_overlap=0.5)
    cases.loc[cases.control == "length in place of labels", "id"] = np.nan
    figure = figures.language_controls(cases, 10)
    dimension, overlap = figure.axes
    assert len(colours_of(dimension)) == 1
    assert len(colours_of(overlap)) == 2


def colours_of(axis):
    """The colours of the curves that show something."""
    shown = [line for line in axis.lines if np.isfinite(line.get_ydata()).any()]
    return {line.get_color() for line in shown}


def test_values_at_a_few_layers_are_not_joined_by_a_line():
    readings = published()
    few = readings[readings.model == "igpt-large"]
    figure = figures.theirs_and_ours(few, few[:0], {"ImageGPT": "igpt"}, "overlap", {})
    joined = [line for line in figure.axes[0].lines if line.get_linestyle() not in ("None", "")]
    assert not joined
    assert len(figure.axes) == 1  # no empty panel where nothing was run


def test_logits_are_drawn_apart_from_the_layers(drawn):
    lines = drawn["scale_rules"].axes[0].lines
    dotted = [line for line in lines if line.get_linestyle() == ":"]
    assert len(dotted) == len(RULES)
    assert all(line.get_markerfacecolor() == "white" for line in dotted)
    assert all(line.get_xdata()[-1] > 1 for line in dotted)


def test_sizes_leave_the_logits_out(drawn):
    for axis in drawn["sizes"].axes:
        assert all(max(line.get_xdata()) <= 1 for line in axis.lines)


def test_where_there_are_no_labels_there_is_no_panel_for_them():
    unlabelled = each("checkpoint", ["untrained", "trained"], label_overlap=np.nan)
    assert len(figures.training_dynamics(unlabelled, 10).axes) == 1


def test_a_profile_that_singles_out_no_layer_has_no_mark():
    nothing = SemanticLayer(None, "none", None, None, None, 0.0, 1.0, 0.05)
    figure = figures.profile_with_controls(profile(), controls(), N_BLOCKS, "net", nothing)
    assert "after the peak" not in " ".join(text.get_text() for text in texts(figure))


def test_the_dot_of_a_column_is_at_the_layer_that_is_most_alike():
    dots = figures.layer_maps({"": likeness()}, "a", "b", "").axes[0].lines[0]
    assert dots.get_ydata().tolist() == [0, 1, 2, 3, *[4] * 10]
    far = figures.layer_maps({"": likeness()}, "a", "b", "", best="lowest").axes[0].lines[0]
    assert far.get_ydata().tolist() == [4, 4, *[0] * 12]


def test_a_case_whose_input_is_not_known_stands_apart_from_the_axis_of_shares():
    axis = figures.meaning(cases()).axes[0]
    known, other, apart = (container.lines[0].get_xdata()[0] for container in axis.containers)
    assert (known, other) == (0.9, 0.6) and apart < min(axis.get_xticks())


def test_several_untrained_networks_are_drawn_as_the_range_between_the_lowest_and_the_highest():
    one = overlaps("network", ["trained", "untrained"])
    low = one[one.network == "untrained"].assign(network="untrained-1")
    several = pd.concat([one, low.assign(overlap=low.overlap - 0.2)])
    figure = figures.label_overlap(several, N_BLOCKS, [10], [10])
    band = figure.axes[0].collections[-1].get_paths()[0].vertices[:, 1]
    rows = several[(several.network != "trained") & (several.k == 10)]
    assert band.min() == pytest.approx(rows.overlap.min())
    assert band.max() == pytest.approx(rows.overlap.max())


def test_only_layers_of_the_best_set_are_filled_on_the_scoreboard():
    shares = figures.scoreboard(board(), 10).axes[0].collections[0]
    white = [tuple(face) == (1, 1, 1, 1) for face in shares.get_facecolors()]
    assert white == [True, False, True, True]
