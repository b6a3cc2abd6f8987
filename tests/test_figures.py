"""What every figure of the book keeps: type that can be read, few panels, curves that differ."""

import inspect
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
    return table.assign(failed=np.where(table.bias < 0.06, "", "slope"))


def benchmarks():
    rows = [("neighbours", "a library", 6.0), ("neighbours", "matrix product", 0.6)]
    table = pd.DataFrame([*rows, ("extraction", HOSTILE, 2.0)], columns=["task", "way", "ratio"])
    return table.assign(case="20,000 points", low=table.ratio * 0.9, high=table.ratio * 1.1)


NAMES = ["trained", "untrained"]
SEMANTIC = SemanticLayer(7, 4, 0.2, 6, 8, "minimum")
RULES = ["paper_text", "igpt_release", "gride_small_k", "auto"]
PAIR = each("model", ["igpt-mini", HOSTILE]).rename(columns={"id": "value", "id_err": "error"})
NOTE = f"{HOSTILE}: N = 5,000; measured here, " + 12 * "by one who has much to say, "
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
    "scale_rules": lambda f: f.scale_rules(each("rule", RULES), {"auto": HOSTILE}, NOTE),
    "profile_with_controls": lambda f: f.profile_with_controls(
        profile(), controls(), N_BLOCKS, HOSTILE, SEMANTIC, 0.1 * controls(), NOTE
    ),
    "twonn_fit": lambda f: f.twonn_fit(
        np.linspace(0.01, 1, 50), 7 * np.linspace(0.01, 1, 50), 0.9, 7.0, NOTE
    ),
    "sizes": lambda f: f.sizes(
        each("network", NAMES, first_distance=HUMP / 9, norm=HUMP), "igpt-mini", NOTE
    ),
    "id_by_samples": lambda f: f.id_by_samples(scaling_curves(), N_BLOCKS, NOTE),
    "training_dynamics": lambda f: f.training_dynamics(
        each("checkpoint", [HOSTILE, "1/2", "trained"], label_overlap=0.5), 10, NOTE
    ),
    "listening_places": lambda f: f.listening_places(
        each("site", ["ln_1", "attn"], pool="mean", label_overlap=0.5), 10, NOTE
    ),
    "data_overlap": lambda f: f.data_overlap(
        overlaps("with", ["next", "first", "final norm"]), [10, 30], "igpt-mini", NOTE
    ),
    "label_overlap": lambda f: f.label_overlap(
        overlaps("network", NAMES), N_BLOCKS, [10, 30], [10, 30], 7, NOTE, "igpt-mini"
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
        pd.concat([PAIR.assign(k=10, value=0.5), PAIR.assign(k=30, value=0.6)]), 10, 30, NOTE
    ),
    "training_by_run": lambda f: f.training_by_run(
        each("checkpoint", ["untrained", "trained"], run=HOSTILE), NOTE
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
}
NO_PANELS = {"samples", "completions", "neighbour_pictures"}
FROM_ZERO = [
    "id_scaling",
    "scale_rules",
    "profile_with_controls",
    "sizes",
    "id_by_samples",
    "training_dynamics",
    "listening_places",
    "theirs_and_ours",
    "training_by_run",
    "rule_shapes",
    "id_against_samples",
]


@pytest.fixture(scope="module")
def drawn():
    """Every figure, laid out."""
    figures.use_style()
    made = {name: draw(figures) for name, draw in DRAWN.items()}
    for figure in made.values():
        FigureCanvasAgg(figure).draw()
    return made


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
    assert public - {"use_style", "colour"} == set(DRAWN)


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
        DRAWN[name](figures).savefig(tmp_path / file, metadata={"Date": None})
    assert (tmp_path / "once.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()
    assert (tmp_path / "once.svg").stat().st_size < 300_000


def test_no_figure_is_left_open():
    before = plt.get_fignums()
    DRAWN["scale_rules"](figures)
    assert plt.get_fignums() == before


def test_the_paper_s_models_have_their_colours_and_all_others_one():
    assert figures.colour("igpt-large") != figures.colour("igpt-large-bert".replace("igpt", "my"))
    assert figures.colour("igpt-small") != figures.colour("igpt-small-cifar10")
    assert figures.colour("mine") == figures.colour("yours")


def test_the_threshold_of_a_plateau_is_outlined_and_what_lies_far_above_is_cut():
    figure = figures.plateau_bias(diagnostics(0.01), 0.08)
    axis = figure.axes[0]
    assert axis.collections and axis.images[0].get_clim() == (0, 4 * 0.08)
    nothing = figures.plateau_bias(diagnostics(2.0), 0.08)
    assert not nothing.axes[0].collections
    assert "above 0.32" in " ".join(text.get_text() for text in texts(nothing))


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
    nothing = SemanticLayer(None, None, 0.0, None, None, "none")
    figure = figures.profile_with_controls(profile(), controls(), N_BLOCKS, "net", nothing)
    assert "after the peak" not in " ".join(text.get_text() for text in texts(figure))
