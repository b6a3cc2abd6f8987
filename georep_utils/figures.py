"""Every figure of the book, one function each.

A function takes arrays or data frames and returns a Figure; it computes nothing and reads no file.
In a notebook the call is the last line of its cell, and the figure shows itself. Figures are made
without pyplot, so that nothing is drawn twice and no list of open figures grows.

What they have in common:

- A figure is 7.2 inches wide, has at most two panels a row and no type below 9 points.
- A page shows it in one of two arrangements: as it was drawn, or, on a phone, as `narrow` arranges
  it, 3.6 inches wide with its panels below each other. A function draws the first and need not
  think of the second. `use_style` makes notebooks keep both, as vector graphics, and the tables
  that the figure was drawn from.
- Colour never stands alone. Curves also differ in their markers or lines; markers are left out at
  most points of a long curve, because a marker a point hides whether the line is dashed.
- Depth is the layer's number over the number of blocks. Beyond 1 lie the logits: they are no layer
  of the paper's profiles, so they are drawn hollow, at the end of a dotted line.
- A band or a bar is one standard error, drawn wherever the table has one.
- Dimensions and overlaps are drawn from zero, so that a small change looks small. Logarithmic axes
  have plain numbers at their ticks.
- The legend stands above its panel, off the curves, and names the panel where there are two.
- The small print below says what was measured, on what, and by whom.

Names of classes, models and runs come from files of others: `_text` takes the meaning from
characters that matplotlib would interpret.
"""

from __future__ import annotations

import functools
import inspect
import io
import pickle
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

WIDTH = 7.2  # inches, the width of a page's text
NARROW = 3.6  # inches, the width of a phone's
SMALL = 9  # points, the smallest type: 12 pixels
NARROW_LETTERS = 34  # of a label or legend that fit on a phone
UPRIGHT_LETTERS = 27  # of a label of 10 points beside a panel
SIDE_LETTERS = 17  # of the names beside a panel on a phone
SIDE = 0.85  # inches, of names beside a picture
SYMBOLS = 12  # points, of labels with indices, which are drawn at 0.7 of the size of their label
NOTE_LETTERS = 100  # of the small print that fit in a line of the width of a page
MARKERS = "os^DvPX*"
LINES = ["-", "--", "-.", ":"]

COLOURS = {  # the paper's colours for the paper's models; of two names that fit, the first counts
    "igpt-small-cifar10": "#8c7a3d",
    "igpt-mini-all": "#d267a8",
    "igpt-small": "#e0b400",
    "igpt-medium": "#ef7d00",
    "igpt-large": "#c8102e",
    "esm2-35M": "#2e8b57",
    "esm2-650M": "#1f6fb4",
    "esm2-3B": "#7b3fa0",
    "igpt-mini": "#00798c",
}
OTHER = "#33658a"
GREY = "#8c8c8c"
BAND = "#d8d8d8"  # of what is allowed, or cannot be told apart
CONTRAST = ["#00798c", "#d1495b", "#c98a00", "#33333b", "#8c6bb1", "#4d9221", "#8b4a1c"]
RULE_COLOURS = {
    "paper_text": "#00798c",
    "igpt_release": "#d1495b",
    "gride_small_k": "#c98a00",
    "auto": "#33333b",
}
CONTROL_STYLES = {  # colour, line, marker
    "untrained network": (GREY, "--", "s"),
    "shuffled features": ("#b5651d", ":", "^"),
    "Gaussian, same covariance": ("#7b3fa0", "-.", "D"),
}
INPUT_STYLES = [("#4d9221", ":"), ("#8c6bb1", "-."), ("#33333b", "-")]
INPUT_COLOURS = ["#b5651d", "#7b3fa0"]
OF_INPUT = "input: "  # how the names of such curves begin
THRESHOLD = "#27d3c3"
PHONE = "image/x-narrow+svg"  # the type of a figure's second arrangement in a notebook
DATA = "text/csv"
LOGITS = "_logits"  # of the lines that lead there; matplotlib leaves it out of legends
DEPTH_LABEL = "relative depth  $l / L$"
ID_LABEL = "intrinsic dimension  $d$"


# ------------------------------------------------------------------------------------------- style


def use_style() -> None:
    """Use the book's style; in a notebook, draw figures as vector graphics (SVG)."""
    sns.set_theme(
        style="ticks",
        rc={
            "savefig.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "axes.labelsize": 10,
            "xtick.labelsize": SMALL,
            "ytick.labelsize": SMALL,
            "legend.fontsize": SMALL,
            "legend.title_fontsize": 10,
            "legend.frameon": False,
            "legend.handlelength": 2.6,  # long enough to tell dashes from dots
            "lines.linewidth": 1.5,
            "lines.markersize": 4.5,
            "font.family": "DejaVu Sans",
            "svg.hashsalt": "georep",  # the same figure has the same bytes every time
        },
    )
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        shell = sys.modules["IPython"].get_ipython()
        from matplotlib_inline.backend_inline import InlineBackend

        # Pictures of the usual kinds are switched off: they would be drawn beside the two here.
        InlineBackend.instance().figure_formats = set()
        formatter = shell.display_formatter.mimebundle_formatter
        formatter.for_type(Figure, lambda figure, include=None, exclude=None: shown(figure))


# ------------------------------------------------------------------------ a figure on a page


def shown(figure: Figure) -> dict[str, str]:
    """What a notebook keeps of a figure, by type: both arrangements, and what it was drawn from."""
    kept = {"image/svg+xml": svg(figure), PHONE: svg(narrow(figure))}
    table = data(figure)
    if table:
        kept[DATA] = table
    return kept


def svg(figure: Figure) -> str:
    """A figure as vector graphics. The same figure has the same text."""
    _lay_out(figure)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _lay_out(figure: Figure) -> None:
    """Give all parts of a figure their places, once: this takes as long as drawing it."""
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        for axis in figure.axes:
            for label in (axis.xaxis.label, axis.yaxis.label):
                if re.search(r"(?<!\\)\$[^$]*[_^]", label.get_text()):
                    label.set_fontsize(SYMBOLS)
            letters = UPRIGHT_LETTERS * 10 / axis.yaxis.label.get_fontsize()
            axis.set_ylabel(_broken(axis.get_ylabel(), int(letters)))
        engine.execute(figure)
        figure.set_layout_engine("none")


def data(figure: Figure) -> str:
    """The tables that a figure was drawn from as csv, or "" where it was drawn from pictures."""
    tables = [
        table.assign(table=name) if len(figure.drawn_from) > 1 else table
        for name, table in getattr(figure, "drawn_from", {}).items()
    ]
    if not tables:
        return ""
    return pd.concat(tables).to_csv(index=False, float_format="%.6g", lineterminator="\n")


def narrow(figure: Figure) -> Figure:
    """A copy of a figure for a phone: half as wide, panels below each other, lines broken.

    The panels keep the heights that they have on a wide page.
    """
    _lay_out(figure)
    copy = pickle.loads(pickle.dumps(figure))
    copy.set_layout_engine("constrained")
    panels = [axis for axis in copy.axes if axis.get_label() != "<colorbar>"]
    height = sum(_panel_height(axis) for axis in panels)
    copy.set_figwidth(NARROW)
    _small_print(copy, NOTE_LETTERS // 2)
    _stack(copy, panels)
    for axis in panels:
        height += _narrow_panel(axis)
    for legend in list(copy.legends):
        height += _fit_legend(copy, legend)
    note = copy.get_supxlabel()
    copy.set_figheight(height + 0.2 + 0.17 * len(note.splitlines()))
    return copy


def _panel_height(axis: Axes) -> float:
    """Height of the inside of a panel on a phone, in inches."""
    height = axis.get_position().height * axis.get_figure().get_figheight()
    if axis.get_aspect() == "auto":
        return max(height, 1.2, _names_height(axis)) if _has_names(axis) else height
    # A picture keeps its form, and is as wide as the names beside it allow.
    width = NARROW - (SIDE if len(axis.get_yticks()) else 0.1)
    return width * abs(np.ptp(axis.get_ylim()) / np.ptp(axis.get_xlim()))


def _names_height(axis: Axes) -> float:
    """Height that the names beside a panel need once their lines are broken, in inches."""
    names = [name.get_text() for name in axis.get_yticklabels()]
    lines = [len(textwrap.wrap(name, SIDE_LETTERS)) for name in names]
    # Rows are equally high: as high as the two names need that come closest to each other.
    closest = max((a + b) / 2 for a, b in zip(lines, lines[1:] or lines, strict=False))
    return 0.16 * max(closest, 2) * len(names)


def _stack(figure: Figure, panels: Sequence[Axes]) -> None:
    """Put the panels of a figure below each other, each with the labels of its own axes."""
    if all(axis.get_subplotspec().colspan.start == 0 for axis in panels):
        return
    heights = [_panel_height(axis) for axis in panels]
    grid = figure.add_gridspec(len(panels), 1, height_ratios=heights)
    for i, axis in enumerate(panels):
        if not axis.get_ylabel() and not axis.get_subplotspec().is_first_col():
            axis.set_ylabel(panels[i - 1].get_ylabel())
        axis.tick_params(labelleft=True, labelbottom=True)
        axis.set_subplotspec(grid[i, 0])


def _narrow_panel(axis: Axes) -> float:
    """Break the lines of a panel for a phone; the height of what stands around it, in inches."""
    for label in (axis.xaxis.label, axis.yaxis.label):
        label.set_text(_broken(label.get_text(), NARROW_LETTERS))
    if _has_names(axis):
        names = [name.get_text() for name in axis.get_yticklabels()]
        broken = [textwrap.fill(name, SIDE_LETTERS) for name in names]
        axis.set_yticks(axis.get_yticks(), broken)
    _part_names(axis)
    around = 0.4 + 0.2 * len(axis.get_xlabel().splitlines())
    title = axis.get_title(loc="left")
    axis.set_title(textwrap.fill(title, NARROW_LETTERS), loc="left")
    if axis.get_legend() is None:
        return around + 0.2 * len(axis.get_title(loc="left").splitlines())
    return around + _fit_legend(axis, axis.get_legend())


def _has_names(axis: Axes) -> bool:
    """Whether words, not numbers, stand beside a panel."""
    return any(len(name.get_text()) > 7 for name in axis.get_yticklabels())


def _broken(text: str, letters: int) -> str:
    """A label on as many lines as it needs; symbols, which follow two spaces, are not broken."""
    words, _, symbols = text.partition("  ")
    if len(words) + (5 if symbols else 0) <= letters:
        return text
    return "\n".join(filter(None, [*textwrap.wrap(words, letters), symbols]))


def _part_names(axis: Axes) -> None:
    """Leave out every second number on the x axis, or turn names, that would run together."""
    names = [name.get_text() for name in axis.get_xticklabels()]
    if not isinstance(axis.xaxis.get_major_locator(), FixedLocator) or not names:
        return
    if sum(len(name) + 1 for name in names) > NARROW_LETTERS:
        if max(len(name) for name in names) > 5:
            axis.tick_params(axis="x", labelrotation=90)
        else:
            axis.set_xticks(axis.get_xticks()[::2], names[::2])


def _fit_legend(place: Axes | Figure, legend) -> float:
    """Draw a legend again in the columns that fit on a phone; its height, in inches."""
    figure = legend.get_figure(root=True)
    title = textwrap.fill(legend.get_title().get_text(), NARROW_LETTERS)
    axes = [place] if isinstance(place, Axes) else place.axes
    named = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True)) | named
    texts = [text.get_text() for text in legend.get_texts()]
    handles = [named[text] for text in texts]
    labels = [textwrap.fill(text, NARROW_LETTERS) for text in texts]
    beside = max((1.5 if _has_names(axis) else 0.9) for axis in axes)
    limit = (NARROW - (0.3 if place is figure else beside)) * figure.dpi
    for columns in (4, 3, 2, 1):
        legend.remove()
        legend = _legend_above(place, handles, labels, title, columns)
        box = legend.get_window_extent()
        if box.width <= limit:
            break
    return box.height / figure.dpi


def colour(run: str) -> str:
    """The colour of a run: the paper's for the paper's models, one for all others."""
    return next((value for name, value in COLOURS.items() if run.startswith(name)), OTHER)


def _text(value: object) -> str:
    """`value` as text that matplotlib shows as it is: no mathematics, no label that is left out."""
    text = str(value).replace("$", r"\$")
    if text.startswith("_"):  # matplotlib leaves such labels out of legends
        text = "\u200b" + text
    return text


def _shades(name: str, n: int) -> np.ndarray:
    """`n` colours of a colour map from dark to bright, without the ends that vanish on paper."""
    return matplotlib.colormaps[name](np.linspace(0.02, 0.85, n))


def _panels(rows: int = 1, columns: int = 1, height: float = 3.2, **options):
    """A figure of the book's width and its panels, an array (rows, columns)."""
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _note(figure: Figure, text: str) -> Figure:
    """Put what the figure was made from, and what its dotted ends are, in small print below it."""
    lines = [text] if text else []
    if any(line.get_label() == LOGITS for axis in figure.axes for line in axis.lines):
        lines.append("Dotted, with a hollow end: the output (logits), which is no layer.")
    figure.set_label("\n".join(lines))  # unbroken, for another arrangement
    _small_print(figure, NOTE_LETTERS)
    beyond_one = max(0, len(figure.get_supxlabel().splitlines()) - 1)
    figure.set_figheight(figure.get_figheight() + 0.17 * beyond_one)
    return figure


def _small_print(figure: Figure, letters: int) -> None:
    lines = [textwrap.fill(_text(line), letters) for line in str(figure.get_label()).splitlines()]
    if lines:
        place = {"x": 0.08 / figure.get_figwidth(), "ha": "left", "linespacing": 1.3}
        figure.supxlabel("\n".join(lines), fontsize=SMALL, color="#555555", **place)


def _legend(axis: Axes, title: str = "", columns: int = 1) -> None:
    """Name a panel and its curves above it, off the curves."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        _legend_above(axis, handles, labels, title, columns)
    else:
        axis.set_title(title, loc="left")


def _legend_above(place: Axes | Figure, handles, labels, title: str, columns: int):
    """A legend above a panel, or above all panels of a figure."""
    style = {"title": title, "ncols": columns, "alignment": "left", "columnspacing": 1.2}
    if isinstance(place, Figure):
        return place.legend(handles, labels, loc="outside upper left", **style)
    style |= {"borderaxespad": 0, "borderpad": 0.2}
    return place.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1.01), **style)


def _depth_axis(axis: Axes, label: str = DEPTH_LABEL) -> None:
    axis.set_xlabel(label)
    axis.set_xlim(left=-0.03)
    # No number behind 1: what lies there is the output, at no depth of its own.
    axis.xaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))


def _from_zero(axis: Axes, label: str, top: float | None = None) -> None:
    axis.set_ylabel(label)
    axis.set_ylim(0, top)


def _plain(value: float, _position: object = None) -> str:
    """A tick as a plain number: 0.5, 20, 10,000."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def _plain_log_axis(axis: Axes, which: str, ticks: Sequence[float] | None = None) -> None:
    """Make one axis ("x" or "y") logarithmic, with plain numbers at its ticks."""
    getattr(axis, f"set_{which}scale")("log")
    scale = getattr(axis, f"{which}axis")
    if ticks is None:
        low, high = getattr(axis, f"get_{which}lim")()
        decades = np.log10(high / low)
        # As many ticks as fit: a single decade would have one or two at powers of ten alone.
        many = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
        few = (1.0, 2.0, 5.0)
        steps = many if decades < 1.1 else few if decades < 2.6 else (1.0,)
        scale.set_major_locator(LogLocator(subs=steps))
    else:
        scale.set_major_locator(FixedLocator(list(ticks)))
        scale.set_minor_locator(NullLocator())
    scale.set_major_formatter(FuncFormatter(_plain))
    scale.set_minor_formatter(NullFormatter())


def _column(table: pd.DataFrame, name: str) -> pd.Series | None:
    """A column that a table may lack."""
    return table[name] if name in table else None


def _curve(
    axis: Axes,
    depth,
    value,
    error=None,
    *,
    colour: str,
    label: str = "",
    line: str = "-",
    marker: str = "o",
    hollow: bool = False,
    order: int = 0,
) -> None:
    """One curve against relative depth, with a band of one standard error.

    Parameters
    ----------
    depth, value, error : array_like
        Of equal length; errors may hold NaN.
    hollow : bool
        White markers: a second way to tell two curves of one colour apart.
    order : int
        Number of the curve in its panel; it moves the markers along, so that those of curves that
        lie on each other do not.
    """
    depth, value = np.asarray(depth, float), np.asarray(value, float)
    inside = depth <= 1 + 1e-9
    step = max(1, int(inside.sum()) // 8)
    axis.plot(
        depth[inside],
        value[inside],
        color=colour,
        linestyle=line,
        marker=marker,
        markevery=(order % step, step),
        markerfacecolor="white" if hollow else colour,
        label=_text(label) if label else "_",
    )
    if not inside.all():
        last = int(inside.sum()) - 1
        axis.plot(
            depth[last:],
            value[last:],
            color=colour,
            linestyle=":",
            marker=marker,
            markevery=slice(1, None),
            markerfacecolor="white",
            label=LOGITS,
        )
    if error is not None:
        error = np.nan_to_num(np.asarray(error, float))
        axis.fill_between(depth, value - error, value + error, color=colour, alpha=0.18, lw=0)


def _points(
    axis: Axes, depth, value, error, *, colour: str, label: str, marker: str, hollow: bool = False
) -> None:
    """Values at a few layers, not joined: between them nothing was measured."""
    error = None if error is None else np.nan_to_num(np.asarray(error, float))
    look = {"color": colour, "linestyle": "", "marker": marker, "label": _text(label)}
    inside = "white" if hollow else colour
    axis.errorbar(depth, value, error, markerfacecolor=inside, **look)


def _mark_layer(axis: Axes, depth: float, label: str, low: float, high: float) -> None:
    """A chosen layer as a dashed line, and the layers that can't be told from it as a band."""
    axis.axvline(depth, color="black", lw=1, ls=(0, (4, 3)), label=label)
    if high > low:
        axis.axvspan(low, high, color="black", alpha=0.08, lw=0)


def _keeps_tables(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Let the figures of a function keep the tables and columns that they were drawn from."""

    @functools.wraps(draw)
    def drawn(*given, **options) -> Figure:
        figure = draw(*given, **options)
        figure.drawn_from = _tables(inspect.signature(draw).bind(*given, **options).arguments)
        return figure

    return drawn


def _tables(given: Mapping[str, object]) -> dict[str, pd.DataFrame]:
    """The tables among the arguments of a figure, and one of all columns of one length."""
    tables = {}
    columns = {}
    for name, value in given.items():
        if isinstance(value, pd.DataFrame):
            tables[name] = value if value.index.name is None else value.reset_index()
        elif isinstance(value, Mapping):
            tables |= _tables({str(key) or name: inner for key, inner in value.items()})
        elif isinstance(value, (np.ndarray, pd.Series)) and value.ndim == 1:
            columns[name] = np.asarray(value)
        elif isinstance(value, np.ndarray) and value.ndim == 2:
            tables[name] = pd.DataFrame(value)
    if columns and len({len(column) for column in columns.values()}) == 1:
        tables["columns"] = pd.DataFrame(columns)
    return tables


# --------------------------------------------------------------------------------- pictures (01-03)


def _mosaic(pictures: np.ndarray, gap: int, group: int = 0) -> tuple[np.ndarray, list, list]:
    """Lay pictures (rows, columns, height, width[, 3]) out as one; centres of rows and of columns.

    `gap` white pixels lie between neighbours, and as many again after each `group` columns.
    """
    rows, columns, height, width = pictures.shape[:4]
    extra = [gap * (column // group) if group else 0 for column in range(columns)]
    left = [column * (width + gap) + extra[column] for column in range(columns)]
    top = [row * (height + gap) for row in range(rows)]
    whole = np.full((top[-1] + height, left[-1] + width, 3), 255, np.uint8)
    for row, y in enumerate(top):
        for column, x in enumerate(left):
            picture = pictures[row, column]
            colours = picture if picture.ndim == 3 else picture[..., None]
            whole[y : y + height, x : x + width] = colours
    return whole, [y + height / 2 - 0.5 for y in top], [x + width / 2 - 0.5 for x in left]


def _picture_grid(
    pictures: np.ndarray, titles: Sequence[str], side: Sequence[str], note: str, group: int = 0
) -> Figure:
    """Pictures (rows, columns, height, width[, 3]) under `titles`, beside `side`."""
    rows, columns, height, width = pictures.shape[:4]
    gap = max(1, width // 10)
    whole, row_centres, column_centres = _mosaic(pictures, gap, group)
    margin = SIDE if len(side) else 0.1
    drawn_width = min(WIDTH - margin, 0.95 * columns)  # a few pictures need not fill the page
    drawn_height = drawn_width * whole.shape[0] / whole.shape[1]
    figure = Figure(figsize=(drawn_width + margin, drawn_height), layout="constrained")
    axis = figure.subplots()
    axis.imshow(whole, interpolation="none")
    letters = max(5, int(drawn_width / columns * 72 / 5.2))  # that fit above a picture
    shown = [textwrap.fill(_text(title), letters, max_lines=2, placeholder="…") for title in titles]
    axis.set_xticks(column_centres[: len(titles)], shown)
    axis.set_yticks(row_centres[: len(side)], [_text(line) for line in side])
    axis.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
    axis.spines[:].set_visible(False)
    _note(figure, note)
    lines = max((text.count("\n") + 1 for text in shown), default=0)
    below = 0.2 + 0.17 * len(figure.get_supxlabel().splitlines())
    figure.set_figheight(drawn_height + 0.17 * lines + below)
    return figure


@_keeps_tables
def samples(
    pictures: np.ndarray, n_rows: int, class_names: Sequence[str] = (), note: str = ""
) -> Figure:
    """Samples as the network sees them, one class a column.

    Parameters
    ----------
    pictures : ndarray, (n, height, width) or (n, height, width, 3), uint8
        Row after row; n is a multiple of `n_rows`.
    class_names : sequence of str
        Names above the columns.
    """
    rows = pictures.reshape(n_rows, len(pictures) // n_rows, *pictures.shape[1:])
    return _picture_grid(rows, class_names, (), note)


@_keeps_tables
def palette(share: np.ndarray, colours: np.ndarray, run: str = "", note: str = "") -> Figure:
    """How often each entry of the palette is used, over the palette itself.

    Parameters
    ----------
    share : ndarray, (n,)
        Share of all tokens.
    colours : ndarray, (n,) or (n, 3), uint8
    """
    figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    top.bar(range(len(share)), share, color=colour(run), width=0.9)
    _from_zero(top, "share of tokens")
    bottom.imshow(colours[None], aspect="auto", cmap="gray", vmin=0, vmax=255, interpolation="none")
    bottom.set(yticks=[], xlabel="token")
    bottom.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return _note(figure, note)


@_keeps_tables
def training_loss(log: pd.DataFrame, run: str = "", note: str = "") -> Figure:
    """Loss on training batches and on held-out samples, with the checkpoints that are kept.

    Parameters
    ----------
    log : DataFrame
        Columns step, train_loss, held_out_loss and checkpoint (a name, or missing).
    """
    every, kept = log[log.train_loss.notna()], log[log.checkpoint.notna()]
    losses = every[["train_loss", "held_out_loss"]]
    low, high = 0.97 * losses.min().min(), min(1.5, 1.02 * losses.max().max())
    figure, axes = _panels(height=3.0)
    axis = axes[0, 0]
    axis.plot(every.step, every.train_loss, color=GREY, lw=1, ls="--", label="training batch")
    axis.plot(every.step, every.held_out_loss, color=colour(run), lw=2, label="held out")
    shown = kept[kept.held_out_loss <= high]
    axis.plot(shown.step, shown.held_out_loss, "ko", ms=5, label="checkpoint kept")
    above = kept[kept.held_out_loss > high]
    # An untrained network's loss would flatten all that follows: it is named at the upper edge.
    axis.plot(above.step, np.full(len(above), high), "k^", ms=6, clip_on=False)
    for row in above.itertuples():
        text = f"{_text(row.checkpoint)}: {row.held_out_loss:.2f}, above this axis"
        place = {"xytext": (22, -8), "textcoords": "offset points", "fontsize": SMALL}
        axis.annotate(text, (row.step, high), **place)
    axis.set(xlabel="training step", ylabel="loss, nats a token", ylim=(low, high))
    axis.xaxis.set_major_formatter(FuncFormatter(_plain))
    _legend(axis, columns=3)
    return _note(figure, note)


@_keeps_tables
def completions(whole: np.ndarray, half: np.ndarray, drawn: np.ndarray, note: str = "") -> Figure:
    """Images, the halves that the model was shown, and its continuations, in three rows.

    Parameters
    ----------
    whole, half, drawn : ndarray, (n, height, width) or (n, height, width, 3), uint8
    """
    return _picture_grid(np.stack([whole, half, drawn]), (), ("image", "seen", "completed"), note)


@_keeps_tables
def neighbour_pictures(pictures: np.ndarray, layers: Sequence[int], note: str = "") -> Figure:
    """Queries and their nearest neighbours at several layers, two queries side by side.

    Parameters
    ----------
    pictures : ndarray, (queries, layers, 1 + neighbours, height, width[, 3]), uint8
        The query itself first.
    layers : sequence of int
        Their numbers.
    """
    n_queries, n_layers, n_shown = pictures.shape[:3]
    abreast = 2 if n_queries % 2 == 0 else 1
    grouped = pictures.reshape(n_queries // abreast, abreast, *pictures.shape[1:])
    # (pairs, layers, abreast, shown, ...): a row holds one layer of the queries that stand abreast
    rows = grouped.swapaxes(1, 2).reshape(-1, abreast * n_shown, *pictures.shape[3:])
    titles = ["query", *(str(rank) for rank in range(1, n_shown))] * abreast
    side = [f"layer {layer}" for layer in layers] * (n_queries // abreast)
    figure = _picture_grid(rows, titles, side, note, group=n_shown)
    axis = figure.axes[0]
    height, width = pictures.shape[3:5]
    for y in axis.get_yticks():
        for x in axis.get_xticks()[::n_shown]:
            corner = (x - width / 2, y - height / 2)
            axis.add_patch(Rectangle(corner, width, height, fill=False, ec="#d1495b", lw=1.8))
    return figure


@_keeps_tables
def distances_and_norms(distances: pd.DataFrame, run: str = "", note: str = "") -> Figure:
    """Mean distance to the first neighbour and mean norm of the centred points, layer by layer.

    Parameters
    ----------
    distances : DataFrame
        Columns depth, first_distance, norm.
    """
    figure, axes = _panels(height=3.3)
    axis = axes[0, 0]
    curves = {
        "norm": ("norm of the centred points", "#b5651d", "s"),
        "first_distance": ("distance to the first neighbour", colour(run), "o"),
    }
    for column, (label, shade, marker) in curves.items():
        _curve(axis, distances.depth, distances[column], colour=shade, label=label, marker=marker)
    axis.set_ylabel("length, in units of the layer")
    _plain_log_axis(axis, "y")
    _depth_axis(axis)
    _legend(axis, columns=2)
    return _note(figure, note)


# ------------------------------------------------------------------------- clouds to be seen (00)


@_keeps_tables
def small_clouds(clouds: Mapping[str, np.ndarray], note: str = "") -> Figure:
    """Clouds in space, seen from one side and a little from above; brighter is nearer.

    Parameters
    ----------
    clouds : name -> (n, 3) points; every third is drawn.
    """
    rows = -(-len(clouds) // 2)
    figure, axes = _panels(rows, 2, height=2.9)
    for axis in axes.flat[len(clouds) :]:
        axis.remove()
    for axis, (name, points) in zip(axes.flat, clouds.items(), strict=False):
        across, up, near = _seen_from_above(points[::3]).T
        order = np.argsort(near)
        shades = {"c": near[order], "cmap": "viridis", "edgecolors": "none"}
        axis.scatter(across[order], up[order], s=7, **shades)
        axis.set_title(_text(name), loc="left")
        axis.set_aspect("equal")
        axis.set_axis_off()
    return _note(figure, note)


def _seen_from_above(points: np.ndarray) -> np.ndarray:
    """Points (n, 3) turned so that one looks at them obliquely: across, up, towards the reader."""
    turned, raised = np.radians([20, 25])
    cos, sin = np.cos(turned), np.sin(turned)
    about_the_axis = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    across, away, up = (points @ about_the_axis).T
    cos, sin = np.cos(raised), np.sin(raised)
    return np.stack([across, cos * up + sin * away, sin * up - cos * away], axis=1)


@_keeps_tables
def cloud_scales(table: pd.DataFrame, note: str = "") -> Figure:
    """Dimension against scale, a curve a cloud.

    Parameters
    ----------
    table : DataFrame
        cloud, scale, id, id_err.
    """
    figure, axes = _panels(height=3.6)
    axis = axes[0, 0]
    for dimension in (1, 2, 3):
        axis.axhline(dimension, color=GREY, lw=0.8, ls="--")
    for order, (name, part) in enumerate(table.groupby("cloud", sort=False)):
        axis.errorbar(
            part.scale,
            part.id,
            part.id_err,
            color=CONTRAST[order % len(CONTRAST)],
            marker=MARKERS[order % len(MARKERS)],
            ls=LINES[order % len(LINES)],
            capsize=2,
            label=_text(name),
        )
    _plain_log_axis(axis, "x", sorted(table.scale.unique()))
    axis.set_xlabel("scale  N/n")
    _from_zero(axis, "intrinsic dimension")
    _legend(axis, columns=4)
    return _note(figure, note)


# -------------------------------------------------------------------- intrinsic dimension (04, 11)


@_keeps_tables
def twonn_fit(
    x: np.ndarray, y: np.ndarray, fraction: float, slope: float, note: str = ""
) -> Figure:
    """TwoNN's line: -log(1 - F) against log mu, and the largest ratios that the fit leaves out.

    Parameters
    ----------
    x, y : (n,) log mu and -log(1 - F), ascending.
    fraction : the share of the lowest ratios that are fitted.
    slope : the estimated dimension.
    """
    figure, axes = _panels(height=3.4)
    axis = axes[0, 0]
    kept = int(fraction * len(x))
    shown = _sparse(kept)
    axis.plot(x[:kept], y[:kept], ".", color="#00798c", ms=4, markevery=shown, label="fitted")
    axis.plot(x[kept:], y[kept:], "x", color=GREY, ms=5, label="left out")
    ends = np.array([0, x[kept - 1]])
    axis.plot(ends, slope * ends, color="black", lw=1.2, label=f"slope {slope:.2f}")
    axis.set_xlabel(r"logarithm of the ratio  $\log\,\mu$")
    _from_zero(axis, r"minus log of the share above  $-\log(1 - F)$")
    axis.set_xlim(left=0)
    _legend(axis, columns=3)
    return _note(figure, note)


def _sparse(n: int) -> list[int]:
    """Which of `n` points in ascending order to draw: some hundreds, and all of the last ones."""
    tail = max(0, n - 100)
    return [*range(0, tail, max(1, tail // 300)), *range(tail, n)]


@_keeps_tables
def id_scaling(
    curves: pd.DataFrame, n_blocks: int, scale: float | None = None, note: str = ""
) -> Figure:
    """Dimension against scale, a curve a layer, by TwoNN and by Gride; three layers have markers.

    Parameters
    ----------
    curves : DataFrame
        Rows of `twonn_scaling` and `gride_scaling`: method, layer, scale, id, id_err.
    scale : float, optional
        A scale N/n to mark.
    """
    titles = {"twonn": "TwoNN, decimated data", "gride": "Gride, all data"}
    present = [method for method in titles if method in set(curves.method)]
    figure, axes = _panels(1, len(present), height=3.7, sharey=True)
    shades = matplotlib.colormaps["viridis"]
    named = {int(curves.layer.min()): "s", n_blocks // 2: "o", n_blocks: "^"}
    for axis, method in zip(axes[0], present, strict=True):
        for layer, curve in curves[curves.method == method].groupby("layer"):
            axis.errorbar(
                curve.scale,
                curve.id,
                curve.id_err,
                color=shades(min(layer / n_blocks, 1)),
                lw=2.2 if layer in named else 0.9,
                elinewidth=0.8,
                marker=named.get(layer, ""),
                label=f"layer {layer}" if layer in named else "_",
            )
        if scale is not None:
            axis.axvline(scale, color="black", lw=0.9, ls=(0, (4, 3)), label="scale chosen")
        _plain_log_axis(axis, "x", sorted(curves[curves.method == method].scale.unique())[::2])
        axis.set_xlabel("scale  N/n")
        _legend(axis, titles[method], columns=2)
    _from_zero(axes[0, 0], ID_LABEL)
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), shades), ax=axes, pad=0.01, aspect=30)
    bar.set_label(DEPTH_LABEL)
    return _note(figure, note)


def _layer_scale_map(axis: Axes, table: pd.DataFrame, **options):
    """Draw a table (layers in rows, scales in columns) as a map, layers from left to right."""
    picture = axis.imshow(table.T, origin="lower", aspect="auto", interpolation="none", **options)
    every = max(1, len(table) // 8)
    axis.set_xticks(range(0, len(table), every), [str(layer) for layer in table.index[::every]])
    axis.set_yticks(range(table.shape[1]), [_plain(scale) for scale in table.columns])
    axis.set(xlabel="layer", ylabel="scale  N/n")
    return picture


def _outline(axis: Axes, cells: np.ndarray) -> None:
    """Draw a line around the cells (rows, columns) of a map that are True."""
    rows, columns = cells.shape
    if cells.any() and not cells.all():
        # Each cell counts as many points, so that the contour follows the edges of the cells.
        fine = np.kron(cells, np.ones((8, 8)))
        extent = (-0.5, columns - 0.5, -0.5, rows - 0.5)
        axis.contour(fine, levels=[0.5], extent=extent, colors=THRESHOLD, linewidths=2)


@_keeps_tables
def plateau_bias(diagnostics: pd.DataFrame, max_bias: float, note: str = "") -> Figure:
    """How far the dimension may be off, by the range of the curve around each scale.

    Colours are logarithmic. The threshold is marked beside the colours, and places that pass the
    test of scale are outlined. A dot is a place that passes both tests of a certificate.

    Parameters
    ----------
    diagnostics : DataFrame
        `Selection.diagnostics`: layer, scale, bias, refused.
    max_bias : float
        The largest bias of a certificate.
    """
    table = diagnostics.pivot(index="layer", columns="scale", values="bias")
    most = float(np.nanmax(table.where(np.isfinite(table)), initial=0))
    ticks = [tick for tick in max_bias * 2.0 ** np.arange(-2, 12) if tick < 2 * most]
    ends = LogNorm(ticks[0], max(ticks[-1], 4 * max_bias), clip=True)
    figure, axes = _panels(height=3.3)
    axis = axes[0, 0]
    picture = _layer_scale_map(axis, table, norm=ends, cmap="magma")
    bar = figure.colorbar(picture, ax=axis, pad=0.01)
    bar.set_label("how far the ID may be off, as a share of it")
    bar.set_ticks(ticks, labels=[_plain(tick) for tick in ticks], minor=False)
    bar.ax.minorticks_off()
    bar.ax.axhline(max_bias, color=THRESHOLD, lw=3)
    scales = diagnostics.pivot(index="layer", columns="scale", values="refused")
    _outline(axis, (scales != "scale").to_numpy().T)
    passed = diagnostics[diagnostics.refused == ""]
    axis.plot(
        table.index.get_indexer(passed.layer),
        table.columns.get_indexer(passed.scale),
        "o",
        color="white",
        mec="black",
    )
    return _note(figure, note)


@_keeps_tables
def scale_rules(
    profiles: pd.DataFrame, labels: Mapping[str, str] | None = None, note: str = ""
) -> Figure:
    """The profile of one run under several scale rules, and what the dependence on scale leaves.

    Parameters
    ----------
    profiles : DataFrame
        Columns rule, depth, id, id_err and, for a second panel, id_sys.
    labels : mapping, optional
        What the legend says of each rule.
    """
    shown = profiles
    with_systematic = "id_sys" in profiles
    figure, axes = _panels(1, 2 if with_systematic else 1, height=3.9)
    if with_systematic:
        shown = profiles.assign(relative=profiles.id_sys / profiles.id)
        _rule_curves(axes[0, 1], shown, "relative", "", labels or {})
        _from_zero(axes[0, 1], "systematic error / ID")
        _depth_axis(axes[0, 1])
        # One legend names the curves of both panels.
        axes[0, 1].set_title("left open by the scale", loc="left")
    _rule_curves(axes[0, 0], shown, "id", "id_err", labels or {})
    _from_zero(axes[0, 0], ID_LABEL)
    _depth_axis(axes[0, 0])
    _legend(axes[0, 0], columns=2)
    return _note(figure, note)


def _rule_curves(axis: Axes, profiles, value: str, error: str, labels: Mapping[str, str]) -> None:
    for i, (rule, part) in enumerate(profiles.groupby("rule", sort=False)):
        _curve(
            axis,
            part.depth,
            part[value],
            _column(part, error),
            colour=RULE_COLOURS.get(rule, OTHER),
            label=labels.get(rule, rule),
            line="--" if rule == "auto" else "-",
            marker=MARKERS[i],
            order=i,
        )


@_keeps_tables
def profile_with_controls(
    profile: pd.DataFrame,
    controls: pd.DataFrame,
    n_blocks: int,
    run: str = "",
    semantic=None,
    control_errors: pd.DataFrame | None = None,
    note: str = "",
    band: pd.DataFrame | None = None,
    inputs: Mapping[str, float] | None = None,
) -> Figure:
    """The paper's Fig. 1 for one run: trained, untrained and input, and beside them all controls.

    Parameters
    ----------
    profile : DataFrame
        Columns layer, id, id_err.
    controls : DataFrame
        Index layer, any of the columns of `CONTROL_STYLES`; NaN where one was not measured.
    semantic : SemanticLayer, optional
        What the profile singles out, with its confidence set; where its layer is None, nothing is
        marked.
    control_errors : DataFrame, optional
        Standard errors, like `controls`.
    band : DataFrame, optional
        Index layer; columns low and high of several untrained networks, drawn in place of an error.
    inputs : mapping, optional
        Dimension of the network's input, by the name of how it is taken: horizontal lines.
    """
    shown = [name for name in CONTROL_STYLES if name in controls]
    untrained = [name for name in shown if name == "untrained network"]
    figure, axes = _panels(1, 2, height=4.4)
    for axis, names in zip(axes[0], [untrained, shown], strict=True):
        _curve(
            axis,
            profile.layer / n_blocks,
            profile.id,
            _column(profile, "id_err"),
            colour=colour(run),
            label=f"{run}, trained",
        )
        for name in names:
            _control_curve(axis, controls[name].dropna(), n_blocks, control_errors)
        _depth_axis(axis)
    if band is not None:
        axes[0, 0].fill_between(
            band.index / n_blocks, band.low, band.high, color=GREY, alpha=0.3, lw=0
        )
    for i, (name, value) in enumerate((inputs or {}).items()):
        shade, line = INPUT_STYLES[i % len(INPUT_STYLES)]
        axes[0, 0].axhline(value, color=shade, ls=line, lw=1.2, label=_text(f"input: {name}"))
    if semantic is not None and semantic.layer is not None:
        label = f"{semantic.kind} after the peak"
        low, high = semantic.low / n_blocks, semantic.high / n_blocks
        _mark_layer(axes[0, 0], semantic.layer / n_blocks, label, low, high)
    _from_zero(axes[0, 0], ID_LABEL)
    axes[0, 1].set_ylabel(ID_LABEL)
    _plain_log_axis(axes[0, 1], "y")
    _legend(axes[0, 0], "training and input")
    _legend(axes[0, 1], "all controls (logarithmic axis)")
    return _note(figure, note)


def _control_curve(
    axis: Axes, values: pd.Series, n_blocks: int, control_errors: pd.DataFrame | None
) -> None:
    shade, line, marker = CONTROL_STYLES[values.name]
    error = None
    if control_errors is not None and values.name in control_errors:
        error = control_errors[values.name].reindex(values.index)
    _curve(
        axis,
        values.index / n_blocks,
        values,
        error,
        colour=shade,
        label=values.name,
        line=line,
        marker=marker,
    )


@_keeps_tables
def sizes(table: pd.DataFrame, run: str = "", note: str = "") -> Figure:
    """Dimension, first distance and norm over the layers, trained and untrained.

    The three panels stand on one depth axis. Logits are left out: they have other units, and one
    such point would flatten the rest.

    Parameters
    ----------
    table : DataFrame
        Columns network ("trained", "untrained"), depth, id, first_distance, norm and, where known,
        id_err.
    """
    rows = {
        "id": "intrinsic\ndimension",
        "first_distance": "distance to the\nfirst neighbour",
        "norm": "norm of the\ncentred points",
    }
    figure, axes = _panels(3, height=1.75, sharex=True)
    layers = table[table.depth <= 1 + 1e-9]
    for axis, (column, label) in zip(axes[:, 0], rows.items(), strict=True):
        for network, part in layers.groupby("network", sort=False):
            trained = network == "trained"
            _curve(
                axis,
                part.depth,
                part[column],
                _column(part, "id_err") if column == "id" else None,
                colour=colour(run) if trained else GREY,
                label=network,
                line="-" if trained else "--",
                marker="o" if trained else "s",
            )
        _from_zero(axis, label)
    figure.align_ylabels()
    _legend(axes[0, 0], columns=2)
    _depth_axis(axes[2, 0])
    return _note(figure, note)


@_keeps_tables
def id_by_samples(curves: pd.DataFrame, n_blocks: int, note: str = "") -> Figure:
    """Profiles by TwoNN of all samples, of halves, quarters and eighths of them.

    Parameters
    ----------
    curves : DataFrame
        Rows of `twonn_scaling` with a column layer.
    """
    figure, axes = _panels(height=3.5)
    axis = axes[0, 0]
    parts = curves[(curves.method == "twonn") & (curves.scale <= 8)]
    sizes = list(parts.groupby("n_points", sort=False))
    for i, (size, part) in enumerate(sizes):
        _curve(
            axis,
            part.layer / n_blocks,
            part.id,
            part.id_err,
            colour=_shades("cividis", len(sizes))[i],
            label=f"N = {size:,}",
            marker=MARKERS[i],
            order=i,
        )
    _from_zero(axis, ID_LABEL)
    _depth_axis(axis)
    _legend(axis, columns=4)
    return _note(figure, note)


@_keeps_tables
def ratio_law(shares: np.ndarray, curve: pd.DataFrame, note: str = "") -> Figure:
    """Distances to the nearest neighbour, and the ratios against the law that TwoNN fits.

    Parameters
    ----------
    shares : ndarray, (n,)
        r_1 of every point over its median.
    curve : DataFrame
        Of `pareto_curve`: log_mu, minus_log_survival, fitted.
    """
    figure, axes = _panels(1, 2, height=3.4)
    left, right = axes[0]
    left.hist(shares, bins=60, color=OTHER)
    left.axvline(0.5, color="black", lw=0.9, ls=(0, (4, 3)), label="half the median")
    left.set_xlim(left=0)
    left.set(xlabel="nearest distance  $r_1$ / its median", ylabel="points")
    _legend(left, "nearest neighbour")
    right.plot(
        curve.log_mu,
        curve.minus_log_survival,
        ".",
        ms=4,
        color=OTHER,
        markevery=_sparse(len(curve)),
        label="observed",
    )
    right.plot(curve.log_mu, curve.fitted, color="black", lw=1.2, label="Pareto law")
    right.set_xlabel(r"logarithm of the ratio  $\log\,\mu$")
    _from_zero(right, r"minus log of the share above  $-\log(1 - F)$")
    _legend(right, "ratios", columns=2)
    return _note(figure, note)


@_keeps_tables
def ceiling(table: pd.DataFrame, lowest: float, highest: float, note: str = "") -> Figure:
    """What Gaussian clouds of known dimension are read as, beside the readings of a profile.

    Parameters
    ----------
    table : DataFrame
        Columns dimension, id, id_err.
    lowest, highest : float
        The readings of the profile, drawn as a band.
    """
    figure, axes = _panels(height=3.6)
    axis = axes[0, 0]
    axis.axhspan(lowest, highest, color=BAND, lw=0, label="readings of this profile")
    axis.plot(table.dimension, table.dimension, color="black", lw=0.8, ls="--", label="equal")
    axis.errorbar(
        table.dimension,
        table.id,
        table.id_err,
        color=OTHER,
        marker="o",
        capsize=2,
        label="Gaussian clouds",
    )
    _plain_log_axis(axis, "x", table.dimension)
    _plain_log_axis(axis, "y")
    axis.set(xlabel="true dimension", ylabel="reading")
    _legend(axis, columns=3)
    return _note(figure, note)


@_keeps_tables
def training_dynamics(
    dynamics: pd.DataFrame, label_k: int, note: str = "", baselines: pd.DataFrame | None = None
) -> Figure:
    """The paper's Fig. 3 for one run: dimension and label overlap at checkpoints of one training.

    Parameters
    ----------
    dynamics : DataFrame
        Columns checkpoint (in the order of training), depth, id, id_err, label_overlap.
    label_k : int
        Number of neighbours of the label overlap.
    baselines : DataFrame, optional
        What the input reaches: columns baseline, id, label_overlap.
    """
    cases = list(dynamics.groupby("checkpoint", sort=False))
    shades = _shades("plasma", len(cases))
    styles = [
        {"colour": shades[i], "label": name, "marker": MARKERS[i % len(MARKERS)]}
        for i, (name, _) in enumerate(cases)
    ]
    figure = _id_and_overlap(cases, styles, label_k, "trained for")
    if baselines is not None:
        for axis, column in zip(figure.axes, ["id", "label_overlap"], strict=False):
            _levels(axis, baselines.baseline, baselines[column])
            _legend_of_levels(axis)
    return _note(figure, note)


@_keeps_tables
def trainings(common: pd.DataFrame, label_k: int, note: str = "") -> Figure:
    """Bands over several trainings of one network, at the checkpoints that all of them have.

    Parameters
    ----------
    common : DataFrame
        Columns training, checkpoint (in the order of training), layer, depth, id, label_overlap.
    label_k : int
        Number of neighbours of the label overlap.
    """
    cases = list(common.groupby("checkpoint", sort=False))
    shades = _shades("plasma", len(cases))
    measures = ["id", "label_overlap"] if common.label_overlap.notna().any() else ["id"]
    figure, axes = _panels(1, len(measures), height=4.0)
    for axis, measure in zip(axes[0], measures, strict=True):
        for i, (name, part) in enumerate(cases):
            # By layer: depths that were read from a table are rounded.
            of = part.groupby("layer")[measure].agg(["mean", "min", "max"])
            of = of.set_index(part.groupby("layer").depth.first())
            inside = of[of.index <= 1 + 1e-4]
            axis.fill_between(
                inside.index, inside["min"], inside["max"], color=shades[i], alpha=0.3
            )
            marker = MARKERS[i % len(MARKERS)]
            _curve(axis, of.index, of["mean"], colour=shades[i], label=name, marker=marker, order=i)
        _depth_axis(axis)
    _from_zero(axes[0, 0], ID_LABEL)
    if len(measures) > 1:
        _from_zero(axes[0, 1], _label_overlap_name(label_k), 1)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    _legend_above(figure, handles, labels, "trained for", 5)
    return _note(figure, note)


@_keeps_tables
def listening_places(
    places: pd.DataFrame, label_k: int, note: str = "", baselines: pd.DataFrame | None = None
) -> Figure:
    """Dimension and label overlap, read at several places of a block and pooled in several ways.

    Parameters
    ----------
    places : DataFrame
        Columns site, pool, depth, id, id_err, label_overlap and, where known, label_overlap_err;
        the paper's choice first.
    label_k : int
        Number of neighbours of the label overlap.
    baselines : DataFrame, optional
        What the input reaches: columns baseline, overlap.
    """
    cases = list(places.groupby(["site", "pool"], sort=False))
    first_pool = places.pool.iloc[0]
    styles = [
        {
            "colour": CONTRAST[i % len(CONTRAST)],
            "label": f"{site}, {pool}",
            "line": "-" if pool == first_pool else "--",
            "marker": MARKERS[i % len(MARKERS)],
        }
        for i, ((site, pool), _) in enumerate(cases)
    ]
    figure = _id_and_overlap(cases, styles, label_k, "read at, pooled by")
    if baselines is not None:
        _levels(figure.axes[1], baselines.baseline, baselines.overlap)
        _legend_of_levels(figure.axes[1])
    return _note(figure, note)


@_keeps_tables
def language_controls(controls: pd.DataFrame, label_k: int, note: str = "") -> Figure:
    """Dimension and label overlap of texts as they are, and of what is left without their meaning.

    Parameters
    ----------
    controls : DataFrame
        Columns control (texts as they are first), depth, id, id_err, label_overlap. A control of
        which only one of the two is known is drawn in that panel only.
    label_k : int
        Number of neighbours of the label overlap.
    """
    cases = list(controls.groupby("control", sort=False))
    styles = [
        {
            "colour": CONTRAST[i % len(CONTRAST)],
            "label": name,
            "line": "-" if i == 0 else "--",
            "marker": MARKERS[i % len(MARKERS)],
        }
        for i, (name, _) in enumerate(cases)
    ]
    return _note(_id_and_overlap(cases, styles, label_k, "texts, and how they are read"), note)


def _id_and_overlap(cases, styles: list[dict], label_k: int, title: str) -> Figure:
    """A panel of dimensions and, where there are labels, one of label overlaps."""
    labelled = any(part.label_overlap.notna().any() for _, part in cases)
    columns = 2 if labelled else 1
    figure, axes = _panels(1, columns, height=4.0)
    for i, ((_, part), style) in enumerate(zip(cases, styles, strict=True)):
        _curve(axes[0, 0], part.depth, part.id, part.id_err, order=i, **style)
        if labelled:
            named = style | {"label": ""}
            error = _column(part, "label_overlap_err")
            _curve(axes[0, 1], part.depth, part.label_overlap, error, order=i, **named)
    _from_zero(axes[0, 0], ID_LABEL)
    if labelled:
        _from_zero(axes[0, 1], _label_overlap_name(label_k), 1)
    for axis in axes[0]:
        _depth_axis(axis)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    longest = max(len(label) for label in labels)
    _legend_above(figure, handles, labels, title, 5 if longest < 14 else 3)
    return figure


# --------------------------------------------------------------------------------- overlaps (05)


def _label_overlap_name(k: int) -> str:
    return rf"label overlap  $\chi^{{l,gt}}_{{{k}}}$"


@_keeps_tables
def data_overlap(
    between: pd.DataFrame, data_k: Sequence[int], run: str = "", note: str = ""
) -> Figure:
    """The paper's Fig. 2 for one run: overlap with the next, the first and the final layer.

    Parameters
    ----------
    between : DataFrame
        Columns with ("next", "first", "final norm"), k, depth, overlap and, where known, error.
    data_k : sequence of int
        Numbers of neighbours to draw: the first filled and solid, the others hollow and dashed.
    """
    pairs = {
        "next": ("o", colour(run)),
        "first": ("o", colour(run)),
        "final norm": ("s", "#d1495b"),
    }
    figure, axes = _panels(1, 2, height=3.9, sharey=True)
    for axis, others in zip(axes[0], [["next"], ["first", "final norm"]], strict=True):
        for other in others:
            marker, shade = pairs[other]
            for i, k in enumerate(data_k):
                part = between[(between.k == k) & (between["with"] == other)]
                _curve(
                    axis,
                    part.depth,
                    part.overlap,
                    _column(part, "error"),
                    colour=shade,
                    label=f"with {other}, k = {k}",
                    line=LINES[min(i, 3)],
                    marker=marker,
                    hollow=i > 0,
                )
        _depth_axis(axis)
    _from_zero(axes[0, 0], r"neighbourhood overlap  $\chi^{l,m}_k$", 1.03)
    _legend(axes[0, 0], "consecutive layers")
    _legend(axes[0, 1], "with the ends of the network")
    return _note(figure, note)


@_keeps_tables
def label_overlap(
    by_label: pd.DataFrame,
    n_blocks: int,
    label_k: Sequence[int],
    robustness_k: Sequence[int],
    semantic_layer: int | None = None,
    note: str = "",
    run: str = "",
    baselines: pd.DataFrame | None = None,
) -> Figure:
    """The paper's Fig. 4 for one run with its controls; and for many numbers of neighbours.

    Parameters
    ----------
    by_label : DataFrame
        Columns network ("trained", and any of "untrained", "untrained-1", ..), k, depth, overlap
        and, where known, error.
    label_k, robustness_k : sequence of int
        Numbers of neighbours in the left and in the right panel. Controls are drawn for the first.
    semantic_layer : int, optional
        The layer that the ID profile singled out, to be marked.
    baselines : DataFrame, optional
        What the input reaches: columns baseline, k, overlap.
    """
    figure, axes = _panels(1, 2, height=4.4, sharey=True)
    trained = by_label[by_label.network == "trained"]
    for i, k in enumerate(label_k):
        rows = trained[trained.k == k]
        _curve(
            axes[0, 0],
            rows.depth,
            rows.overlap,
            _column(rows, "error"),
            colour=colour(run),
            label=f"trained, k = {k}",
            line=LINES[min(i, 3)],
            marker="o",
            hollow=i > 0,
        )
    untrained = by_label[(by_label.network != "trained") & (by_label.k == label_k[0])]
    _untrained_band(axes[0, 0], untrained, "overlap", f", k = {label_k[0]}")
    if baselines is not None:
        of_k = baselines[baselines.k == label_k[0]]
        _levels(axes[0, 0], of_k.baseline, of_k.overlap, f", k = {label_k[0]}")
    if semantic_layer is not None:
        depth = semantic_layer / n_blocks
        _mark_layer(axes[0, 0], depth, "layer from the ID alone", depth, depth)
    _curves_by_k(axes[0, 1], trained, robustness_k, "overlap")
    for axis in axes[0]:
        _depth_axis(axis)
    _from_zero(axes[0, 0], r"label overlap  $\chi^{l,gt}_k$", 1.03)
    _legend(axes[0, 0], "training and controls")
    _legend(axes[0, 1], "number of neighbours, trained", columns=2)
    return _note(figure, note)


def _untrained_band(axis: Axes, curves: pd.DataFrame, value: str, ending: str = "") -> None:
    """Networks of random weights: one with its errors, or the range of several and their mean.

    curves: columns network, depth, `value` and, where known, error.
    """
    n_networks = curves.network.nunique()
    if not n_networks:
        return
    by_depth = curves.groupby("depth")[value]
    mean = by_depth.mean()
    one = n_networks == 1
    name = "untrained" if one else f"{n_networks} untrained networks"
    error = _column(curves, "error") if one else None
    _curve(axis, mean.index, mean, error, colour=GREY, label=name + ending, line="--", marker="s")
    if not one:
        low, high = by_depth.min(), by_depth.max()
        axis.fill_between(mean.index, low, high, color=GREY, alpha=0.3, lw=0)


def _levels(axis: Axes, names: Sequence[str], values: Sequence[float], ending: str = "") -> None:
    """What the input reaches, as dotted lines over all depths."""
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        axis.plot(
            [0, 1],
            [value, value],
            color=INPUT_COLOURS[i % len(INPUT_COLOURS)],
            linestyle=":",
            marker=MARKERS[(i + 3) % len(MARKERS)],
            label=_text(f"{OF_INPUT}{name}{ending}"),
        )
    axis.set_ylim(top=max(axis.get_ylim()[1], 1.05 * np.nanmax([*values, 0])))


def _legend_of_levels(axis: Axes) -> None:
    """Name what the input reaches; the curves have a legend above all panels."""
    keys = zip(*axis.get_legend_handles_labels(), strict=True)
    levels = [(handle, label) for handle, label in keys if label.startswith(OF_INPUT)]
    if levels:
        _legend_above(axis, *zip(*levels, strict=True), "", 1)


@_keeps_tables
def scoreboard(board: pd.DataFrame, label_k: int, note: str = "") -> Figure:
    """What each way to choose a layer keeps of the best one, with the controls below a line.

    Parameters
    ----------
    board : DataFrame
        Columns choice, kind ("layer", "random", "input" or "untrained"), share, accuracy_share,
        probe_share, in_best_set; the choices first. A row without numbers is left empty.
    label_k : int
        Number of neighbours of the label overlap.
    """
    figure, axes = _panels(height=1.4 + 0.34 * len(board))
    axis = axes[0, 0]
    places = -np.arange(len(board))
    choices = board.kind.isin(["layer", "random"]).to_numpy()
    scores = {
        "share": ("label overlap, k = " + str(label_k), "o", CONTRAST[0]),
        "accuracy_share": ("nearest neighbour's label", "^", CONTRAST[1]),
        "probe_share": ("linear classifier", "D", CONTRAST[2]),
    }
    for i, (column, (name, marker, shade)) in enumerate(scores.items()):
        # Side by side, for equal shares are common and would hide each other.
        heights = places + 0.2 * (1 - i)
        filled = choices if column != "share" else choices & (board.in_best_set.to_numpy() == 1)
        values = board[column].to_numpy(float)
        faces = [shade if full else "white" for full in filled]
        edges = [shade if choice else GREY for choice in choices]
        axis.plot([], [], marker, color=shade, label=name)
        axis.scatter(values, heights, s=30, marker=marker, c=faces, edgecolors=edges, zorder=3)
    if not choices.all():
        axis.axhline(-choices.sum() + 0.5, color="black", lw=1)
    axis.axvline(1, color="black", lw=0.8, ls=(0, (4, 3)))
    axis.set_yticks(places, [_text(choice) for choice in board.choice])
    axis.set_ylim(places[-1] - 0.6, 0.6)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("share of the best layer's")
    axis.grid(axis="y", color="#eeeeee")
    axis.set_axisbelow(True)
    _legend_above(figure, *axis.get_legend_handles_labels(), "", 3)
    return _note(figure, note)


@_keeps_tables
def id_against_overlap(table: pd.DataFrame, label_k: int, note: str = "") -> Figure:
    """Label overlap against dimension, a point a layer, joined in the order of the layers.

    Parameters
    ----------
    table : DataFrame
        Columns depth, id, id_err, overlap, error, in the order of the layers.
    label_k : int
        Number of neighbours of the label overlap.
    """
    figure, axes = _panels(height=4.2)
    axis = axes[0, 0]
    axis.plot(table.id, table.overlap, color="#bbbbbb", lw=1, zorder=1)
    id_err = np.nan_to_num(table.id_err.to_numpy(float))
    error = np.nan_to_num(table.error.to_numpy(float))
    axis.errorbar(table.id, table.overlap, error, id_err, "none", ecolor="#999999", elinewidth=0.8)
    points = axis.scatter(
        table.id,
        table.overlap,
        c=table.depth,
        cmap="viridis",
        vmin=0,
        vmax=1,
        s=36,
        edgecolors="black",
        linewidths=0.5,
        zorder=3,
    )
    for end in (0, -1):  # named, so that the way can be followed without its colours
        row = table.iloc[end]
        place = {"xytext": (8, -12), "textcoords": "offset points", "fontsize": SMALL}
        axis.annotate(f"depth {row.depth:.2g}", (row.id, row.overlap), **place)
    figure.colorbar(points, ax=axis, label=DEPTH_LABEL, pad=0.01)
    axis.set_xlabel(ID_LABEL)
    axis.set_ylabel(_label_overlap_name(label_k))
    return _note(figure, note)


def _curves_by_k(axis: Axes, table: pd.DataFrame, numbers: Sequence[int], value: str) -> None:
    """The same curve for several numbers of neighbours, dark for few."""
    for i, k in enumerate(numbers):
        part = table[table.k == k]
        _curve(
            axis,
            part.depth,
            part[value],
            _column(part, "error"),
            colour=_shades("cividis", len(numbers))[i],
            label=f"k = {k:.0f}",
            marker=MARKERS[i % len(MARKERS)],
            order=i,
        )


# ------------------------------------------------------------------------ the paper's figures (07)


@_keeps_tables
def theirs_and_ours(
    theirs: pd.DataFrame,
    ours: pd.DataFrame,
    families: Mapping[str, str],
    ylabel: str,
    chosen: Mapping[tuple[str, str], float],
    note: str = "",
) -> Figure:
    """Published curves beside this book's, a row a family of models, each panel on its own axis.

    Where no model of a family was run here, its published curves take the whole row. Layers that
    follow each other are joined; values at a few layers are not. A star is a layer that was chosen
    and has a value; a triangle at the foot is one that was chosen between two values.

    Parameters
    ----------
    theirs, ours : DataFrame
        Columns model, layer, depth, value, error.
    families : mapping
        Title of a family to how the names of its models begin; "" stands for all others.
    chosen : mapping
        {("the paper" or "this book", model): relative depth of the chosen layer}.
    """
    rows = []
    for title, start in families.items():
        sides = {
            "the paper": _family(theirs, start, families),
            "this book": _family(ours, start, families),
        }
        drawn = [(title, side, curves) for side, curves in sides.items() if len(curves)]
        if drawn:
            rows.append(drawn)
    figure = Figure(figsize=(WIDTH, 3.8 * len(rows)), layout="constrained")
    grid = figure.add_gridspec(len(rows), 2)
    for i, row in enumerate(rows):
        for j, (title, side, curves) in enumerate(row):
            axis = figure.add_subplot(grid[i, :] if len(row) == 1 else grid[i, j])
            of_side = {model: depth for (who, model), depth in chosen.items() if who == side}
            _family_panel(axis, curves, of_side)
            _from_zero(axis, ylabel if j == 0 else "")
            _depth_axis(axis)
            _legend(axis, f"{title}: {side}", columns=3 if len(row) == 1 else 1)
    return _note(figure, note)


def _family(curves: pd.DataFrame, start: str, families: Mapping[str, str]) -> pd.DataFrame:
    known = tuple(name for name in families.values() if name)
    if start:
        return curves[curves.model.str.startswith(start)]
    return curves[~curves.model.str.startswith(known)]


def _family_panel(axis: Axes, curves: pd.DataFrame, chosen: Mapping[str, float]) -> None:
    for i, (model, part) in enumerate(curves.groupby("model", sort=False)):
        style = {"colour": colour(model), "label": model, "marker": MARKERS[i % len(MARKERS)]}
        every_layer = bool((part.layer.diff().dropna() == 1).all())
        if every_layer:
            _curve(axis, part.depth, part.value, part.error, order=i, **style)
        else:
            _points(axis, part.depth, part.value, part.error, **style)
        if model in chosen:
            _mark_choice(axis, part, chosen[model], colour(model))


def _mark_choice(axis: Axes, part: pd.DataFrame, depth: float, shade: str) -> None:
    at = part[(part.depth - depth).abs() < 1e-9]
    look = {"color": shade, "mec": "black", "mew": 0.9, "zorder": 5}
    if len(at):
        axis.plot(depth, at.value.iloc[0], "*", ms=15, **look)
    else:
        foot = axis.get_xaxis_transform()
        axis.axvline(depth, color=shade, lw=1, ls=":")
        axis.plot(depth, 0.02, "^", ms=9, transform=foot, clip_on=False, **look)


@_keeps_tables
def consecutive_by_run(following: pd.DataFrame, note: str = "") -> Figure:
    """Overlap of each layer with the next, a panel a run, a curve a number of neighbours.

    Parameters
    ----------
    following : DataFrame
        Columns model, k, depth, value, error.
    """
    runs = list(following.groupby("model", sort=False))
    figure, axes = _panel_for_each(len(runs), height=3.2)
    for axis, (run, part) in zip(axes, runs, strict=True):
        _curves_by_k(axis, part, sorted(part.k.unique()), "value")
        _depth_axis(axis)
        _from_zero(axis, r"overlap with the next  $\chi^{l,l+1}_k$", 1.03)
        _legend(axis, _text(run), columns=2)
    return _note(figure, note)


@_keeps_tables
def training_by_run(dynamics: pd.DataFrame, note: str = "") -> Figure:
    """Dimension at checkpoints of one training, a panel a run.

    Parameters
    ----------
    dynamics : DataFrame
        Columns run, checkpoint (in the order of training), depth, id, id_err.
    """
    runs = list(dynamics.groupby("run", sort=False))
    figure, axes = _panel_for_each(len(runs), height=3.9)
    for axis, (run, rows) in zip(axes, runs, strict=True):
        steps = list(rows.groupby("checkpoint", sort=False))
        for i, (checkpoint, part) in enumerate(steps):
            _curve(
                axis,
                part.depth,
                part.id,
                part.id_err,
                colour=_shades("plasma", len(steps))[i],
                label=checkpoint,
                marker=MARKERS[i % len(MARKERS)],
                order=i,
            )
        _from_zero(axis, ID_LABEL)
        _depth_axis(axis)
        _legend(axis, f"{_text(run)}, trained for", columns=5 if len(runs) == 1 else 2)
    return _note(figure, note)


@_keeps_tables
def advice_shares(boards: pd.DataFrame, note: str = "") -> Figure:
    """What each way to choose a layer keeps of the best label overlap, a panel a side.

    Parameters
    ----------
    boards : DataFrame
        Columns by, model, choice, share; a choice that takes no layer has no share.
    """
    sides = list(boards.groupby("by", sort=False))
    figure, axes = _panels(1, max(1, len(sides)), height=4.4, sharey=True)
    choices = list(boards.choice.unique())
    place = {choice: -i for i, choice in enumerate(choices)}
    for axis, (by, part) in zip(axes[0], sides, strict=False):
        for i, (model, rows) in enumerate(part.groupby("model", sort=False)):
            axis.plot(
                rows.share,
                rows.choice.map(place) + 0.09 * (i % 5 - 2),
                linestyle="",
                marker=MARKERS[i % len(MARKERS)],
                color=colour(model),
                markerfacecolor=colour(model) if i < len(MARKERS) else "white",
                label=_text(model),
            )
        axis.axvline(1, color="black", lw=0.6)
        axis.set_xlim(0, 1.05)
        axis.set_xlabel("share of the best label overlap")
        axis.grid(axis="y", lw=0.4)
        _legend(axis, _text(by))
    axes[0, 0].set_yticks(list(place.values()), [_text(choice) for choice in choices])
    return _note(figure, note)


@_keeps_tables
def relations(table: pd.DataFrame, note: str = "") -> Figure:
    """Rank correlation of ID and label overlap, a row a model, with its intervals.

    Parameters
    ----------
    table : DataFrame
        Columns by, model, rho, low, high (over layers), sample_low, sample_high (over samples,
        NaN where unknown).
    """
    figure, axes = _panels(height=1.6 + 0.36 * max(1, len(table)))
    axis = axes[0, 0]
    for i, row in enumerate(table.itertuples()):
        axis.plot([row.low, row.high], [-i, -i], color=colour(row.model), lw=1.2)
        axis.plot([row.sample_low, row.sample_high], [-i, -i], color=colour(row.model), lw=5)
        axis.plot(row.rho, -i, MARKERS[0], color=colour(row.model), mec="black")
    names = [_text(f"{row.model}, {row.by}") for row in table.itertuples()]
    axis.set_yticks([-i for i in range(len(table))], names)
    axis.axvline(0, color="black", lw=0.6)
    axis.set_xlim(-1.02, 1.02)
    axis.set_xlabel("rank correlation of ID and label overlap over the layers")
    return _note(figure, note)


def _panel_for_each(n: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with `n` panels, two a row; where one is left over, it takes the whole last row."""
    columns = 1 if n < 2 else 2
    figure, axes = _panels(-(-max(n, 1) // columns), columns, height=height)
    panels = list(axes.flat[:n])
    for axis in axes.flat[n:]:
        axis.remove()
        if panels:
            panels[-1].set_subplotspec(axis.get_gridspec()[-1, :])
    return figure, panels


# ------------------------------------------------------------------------------------ controls (08)


@_keeps_tables
def balls(table: pd.DataFrame, tolerance: float, note: str = "") -> Figure:
    """Estimated over true dimension of balls, with the deviation between clouds.

    Parameters
    ----------
    table : DataFrame
        Columns rule, truth, ratio (mean over clouds), spread (deviation) and certified (share of
        clouds for which `auto` certifies its reading).
    tolerance : float
        Half width of the grey band about 1.
    """
    figure, axes = _panels(height=4.2)
    axis = axes[0, 0]
    axis.axhspan(1 - tolerance, 1 + tolerance, color=BAND, lw=0)
    axis.axhline(1, color="black", lw=0.8)
    rules = list(table.groupby("rule", sort=False))
    for i, (rule, part) in enumerate(rules):
        aside = 1.03 ** (i - (len(rules) - 1) / 2)  # so that equal values stay visible
        axis.errorbar(
            part.truth * aside,
            part.ratio,
            part.spread,
            color=RULE_COLOURS.get(rule, OTHER),
            marker=MARKERS[i],
            linestyle="--" if rule == "auto" else "-",
            capsize=2,
            label=rule,
        )
    auto = table[(table.rule == "auto") & (table.certified > 0)]
    axis.plot(
        auto.truth * aside,
        auto.ratio,
        "o",
        ms=13,
        mfc="none",
        mec="black",
        label="auto certifies some of the clouds",
    )
    _plain_log_axis(axis, "x", table.truth.unique())
    _from_zero(axis, "estimated / true dimension", max(1.25, 1.05 * table.ratio.max()))
    axis.set_xlabel("true dimension")
    _legend(axis, columns=3)
    return _note(figure, note)


@_keeps_tables
def certificates(table: pd.DataFrame, tolerance: float, note: str = "") -> Figure:
    """What `auto` reads of clouds of known dimension, and of which it certifies the reading.

    Parameters
    ----------
    table : DataFrame
        Columns dimension (the true one), id, and verdict: its names are those of the legend.
    tolerance : float
        Half width of the grey band about 1.
    """
    figure, axes = _panels(height=4.2)
    axis = axes[0, 0]
    axis.axhspan(1 - tolerance, 1 + tolerance, color=BAND, lw=0)
    axis.axhline(1, color="black", lw=0.8)
    verdicts = list(table.groupby("verdict"))
    for i, (verdict, part) in enumerate(verdicts):
        aside = 1.07 ** (i - (len(verdicts) - 1) / 2)  # so that clouds of one dimension part
        axis.plot(
            part.dimension * aside,
            part.id / part.dimension,
            color=CONTRAST[i],
            linestyle="",
            marker=MARKERS[i],
            alpha=0.7,
            label=_text(verdict),
        )
    _plain_log_axis(axis, "x", [1, 2, 3, 5, 10, 20, 50, 100])
    _plain_log_axis(axis, "y", [0.05, 0.1, 0.2, 0.5, 1, 2, 4])
    axis.set_xlabel("true dimension")
    axis.set_ylabel("dimension read / true dimension")
    _legend(axis, columns=2)
    return _note(figure, note)


@_keeps_tables
def error_ratios(table: pd.DataFrame, note: str = "") -> Figure:
    """Estimated errors over the true spread: a row for each form of error of each statistic.

    Parameters
    ----------
    table : DataFrame
        Columns statistic, form, ratio, kind (of cloud).
    """
    rows = table[["statistic", "form"]].drop_duplicates()
    places = {tuple(row): -i for i, row in enumerate(rows.itertuples(index=False))}
    figure, axes = _panels(height=0.9 + 0.3 * len(rows))
    axis = axes[0, 0]
    axis.axvline(1, color="black", lw=0.8)
    kinds = list(table.groupby("kind", sort=False))
    for i, (kind, part) in enumerate(kinds):
        aside = 0.26 * ((len(kinds) - 1) / 2 - i)  # one kind above the other
        heights = [places[row] + aside for row in zip(part.statistic, part.form, strict=True)]
        axis.plot(
            part.ratio,
            heights,
            color=CONTRAST[i],
            linestyle="",
            marker=MARKERS[i],
            alpha=0.7,
            label=_text(kind),
        )
    axis.set_yticks(list(places.values()), [_text(f"{a}: {b}") for a, b in places])
    axis.set_xlabel("estimated error / true spread")
    _plain_log_axis(axis, "x", [0.5, 1, 2, 4, 8])
    _legend(axis, columns=2)
    return _note(figure, note)


@_keeps_tables
def known_profiles(profiles: pd.DataFrame, note: str = "") -> Figure:
    """Shapes of profiles, those without a feature to find on the left and those with one right.

    Parameters
    ----------
    profiles : DataFrame
        Columns name, has_feature, depth, id.
    """
    figure, axes = _panels(1, 2, height=5.0)
    for axis, has_feature in zip(axes[0], (False, True), strict=True):
        shapes = profiles[profiles.has_feature == has_feature].groupby("name", sort=False)
        for i, (name, part) in enumerate(shapes):
            _curve(
                axis,
                part.depth,
                part.id,
                colour=CONTRAST[i % len(CONTRAST)],
                label=name,
                line=LINES[i % len(LINES)],
                marker=MARKERS[i % len(MARKERS)],
                order=i,
            )
        _from_zero(axis, ID_LABEL, 22)
        _depth_axis(axis)
    _legend(axes[0, 0], "nothing to find")
    _legend(axes[0, 1], "something to find")
    return _note(figure, note)


@_keeps_tables
def operating_curve(
    false: pd.DataFrame, power: pd.DataFrame, alpha: float, note: str = ""
) -> Figure:
    """How often a layer is found where there is none, and where there is one.

    Parameters
    ----------
    false : DataFrame
        Share of draws with a finding, and what the number of draws leaves open, where there is
        nothing to find: columns layers, noise, found, upper.
    power : DataFrame
        Share of draws in which a feature was found: columns profile, noise, and low, found, high
        over the numbers of layers.
    alpha : float
        The share of false findings that is allowed, drawn as a line.
    """
    figure, axes = _panels(1, 2, height=4.3)
    left, right = axes[0]
    counts = list(false.groupby("layers", sort=False))
    for i, (layers, part) in enumerate(counts):
        aside = 1.06 ** (i - (len(counts) - 1) / 2)  # most of them are equal
        left.errorbar(
            100 * part.noise * aside,
            part.found,
            [0 * part.found, part.upper - part.found],
            color=CONTRAST[i],
            marker=MARKERS[i],
            linestyle="",
            capsize=3,
            label=f"{layers} layers",
        )
    left.axhline(alpha, color="#d1495b", ls="--", label=f"promised: {alpha:.0%} at most")
    _from_zero(left, "share of draws", max(0.08, 1.1 * false.upper.max()))
    for i, (profile, part) in enumerate(power.groupby("profile", sort=False)):
        right.plot(
            100 * part.noise,
            part.found,
            color=CONTRAST[i],
            marker=MARKERS[i],
            linestyle=LINES[i % len(LINES)],
            label=_text(profile),
        )
        right.fill_between(100 * part.noise, part.low, part.high, color=CONTRAST[i], alpha=0.15)
    _from_zero(right, "share of draws", 1.04)
    for axis in (left, right):
        _plain_log_axis(axis, "x", [0.5, 1, 2, 3, 6])
        axis.set_xlabel("noise of each ID, %")
    _legend(left, "found, and nothing is there")
    _legend(right, "found, and it is there")
    return _note(figure, note)


# ------------------------------------------------------------------------------------- report (09)


@_keeps_tables
def real_profiles(
    theirs: pd.DataFrame,
    ours: pd.DataFrame,
    untrained: pd.DataFrame,
    families: Mapping[str, str],
    note: str = "",
) -> Figure:
    """ID profiles as published, a panel a family, and of this book's runs, a panel a run.

    Parameters
    ----------
    theirs, ours : DataFrame
        Columns model, layer, depth, value, error.
    untrained : DataFrame
        Columns model, depth, low, high: where the untrained networks lie.
    families : mapping
        Title of a family to how the names of its models begin.
    """
    published = {title: _family(theirs, start, families) for title, start in families.items()}
    published = {title: rows for title, rows in published.items() if len(rows)}
    runs = dict(list(ours.groupby("model", sort=False)))
    n = len(published) + len(runs)
    rows = -(-n // 2)
    figure = Figure(figsize=(WIDTH, 2.7 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 2)
    places = [grid[i // 2, i % 2] for i in range(n)]
    if n % 2:
        places[-1] = grid[rows - 1, :]  # the last one takes the whole row
    axes = [figure.add_subplot(place) for place in places]
    for axis, (title, curves) in zip(axes, published.items(), strict=False):
        _family_panel(axis, curves, {})
        _legend(axis, f"{title}: the paper", columns=2)
    for axis, (run, curve) in zip(axes[len(published) :], runs.items(), strict=True):
        _run_with_untrained(axis, run, curve, untrained[untrained.model == run])
        _legend(axis, f"{_text(run)}: this book", columns=2)
    for axis in axes:
        _from_zero(axis, ID_LABEL)
        _depth_axis(axis)
    return _note(figure, note)


def _run_with_untrained(axis: Axes, run: str, curve: pd.DataFrame, band: pd.DataFrame) -> None:
    _curve(axis, curve.depth, curve.value, curve.error, colour=colour(run), label="trained")
    inside = band[band.depth <= 1]
    if len(inside):
        axis.fill_between(
            inside.depth.astype(float),
            inside.low.astype(float),
            inside.high.astype(float),
            color=GREY,
            alpha=0.45,
            lw=1.5,  # a single network may have no width: its band is this line
            label="untrained",
        )


@_keeps_tables
def rule_shapes(profiles: pd.DataFrame, note: str = "") -> Figure:
    """Profiles over their own mean under the scale rules, a panel a run: only the shape is left.

    Parameters
    ----------
    profiles : DataFrame
        Columns run, rule, depth, relative, relative_err.
    """
    runs = list(profiles.groupby("run", sort=False))
    figure, axes = _panel_for_each(len(runs), height=3.8)
    for axis, (run, part) in zip(axes, runs, strict=True):
        _rule_curves(axis, part, "relative", "relative_err", {})
        axis.axhline(1, color="black", lw=0.6)
        _from_zero(axis, "ID / its mean over layers")
        _depth_axis(axis)
        _legend(axis, _text(run), columns=2)
    return _note(figure, note)


@_keeps_tables
def id_against_samples(table: pd.DataFrame, note: str = "") -> Figure:
    """Dimension against the number of points, at several layers of several runs.

    Parameters
    ----------
    table : DataFrame
        Columns run, place (which layer), n_points, id, id_err.
    """
    runs = list(table.groupby("run", sort=False))
    lines = {place: LINES[i % len(LINES)] for i, place in enumerate(table.place.unique())}
    markers = {place: MARKERS[i % len(MARKERS)] for i, place in enumerate(table.place.unique())}
    figure, axes = _panel_for_each(len(runs), height=3.2)
    for axis, (run, rows) in zip(axes, runs, strict=True):
        for place, part in rows.groupby("place", sort=False):
            axis.errorbar(
                part.n_points,
                part.id,
                part.id_err,
                color=colour(run),
                linestyle=lines[place],
                marker=markers[place],
                capsize=2,
                label=_text(place),
            )
        _plain_log_axis(axis, "x", sorted(rows.n_points.unique()))
        _from_zero(axis, ID_LABEL)
        axis.set_xlabel("number of points")
        _legend(axis, _text(run), columns=2)
    return _note(figure, note)


# --------------------------------------------------------------------------------- benchmarks (10)


@_keeps_tables
def speed_ratios(table: pd.DataFrame, note: str = "") -> Figure:
    """How many times longer other ways take, a panel a task, with the range over repetitions.

    Parameters
    ----------
    table : DataFrame
        Columns task, way, case, ratio, low, high; ways below 1 are faster.
    """
    tasks = list(table.groupby("task", sort=False))
    heights = [len(part) for _, part in tasks]
    figure = Figure(figsize=(WIDTH, 0.42 * sum(heights) + 0.9 * len(tasks)), layout="constrained")
    axes = figure.subplots(len(tasks), 1, squeeze=False, height_ratios=heights)
    for i, (axis, (task, part)) in enumerate(zip(axes[:, 0], tasks, strict=True)):
        rows = part[::-1]
        reach = [rows.ratio - rows.low, rows.high - rows.ratio]
        names = [_text(f"{row.way}\n{row.case}") for row in rows.itertuples()]
        axis.errorbar(
            rows.ratio, names, xerr=reach, fmt=MARKERS[i], color=CONTRAST[i], capsize=3, ms=6
        )
        axis.axvline(1, color="black", lw=0.9, ls="--")
        axis.set_title(task, loc="left")
        axis.set_xlim(0, 1.05 * max(1, table.high.max()))
        axis.margins(y=0.12)
        axis.grid(axis="x", color="#e4e4e4")
    axes[-1, 0].set_xlabel("their time / ours (left of 1: faster than ours)")
    return _note(figure, note)


@_keeps_tables
def growth(table: pd.DataFrame, note: str = "") -> Figure:
    """Measured against modelled time of a neighbour search; the line is equality.

    Parameters
    ----------
    table : DataFrame
        Columns n, d, modelled, measured (seconds) and, where known, low and high (measured).
    """
    figure, axes = _panels(height=4.0)
    axis = axes[0, 0]
    for i, (width, part) in enumerate(table.groupby("d")):
        axis.plot(
            part.modelled,
            part.measured,
            MARKERS[i % len(MARKERS)],
            color=CONTRAST[i % len(CONTRAST)],
            ms=6,
            label=f"d = {width:,.0f}",
        )
    for row in table.itertuples():
        # Names stand on the side away from the line, which would cross them.
        above = row.measured > row.modelled
        place = {"xytext": (-7, 4), "ha": "right"} if above else {"xytext": (7, -8), "ha": "left"}
        name = f"N = {row.n:,.0f}"
        at = (row.modelled, row.measured)
        axis.annotate(name, at, textcoords="offset points", fontsize=SMALL, **place)
    ends = [table.measured.min() / 1.5, table.measured.max() * 1.5]
    axis.plot(ends, ends, color="black", lw=0.8, ls="--", label="equal")
    axis.set(xlabel="modelled time, s", ylabel="measured time, s")
    _plain_log_axis(axis, "x")
    _plain_log_axis(axis, "y")
    _legend(axis, columns=5)
    return _note(figure, note)


@_keeps_tables
def precision_effect(table: pd.DataFrame, note: str = "") -> Figure:
    """Change by a lower precision, beside the statistical error of what is changed.

    Parameters
    ----------
    table : DataFrame
        Columns way (precision and device), depth, id_change, id_error (both relative),
        overlap_change, overlap_error.
    """
    panels = {
        "id": "relative change of the ID",
        "overlap": "change of the label overlap",
    }
    figure, axes = _panels(1, 2, height=3.6)
    for axis, (quantity, label) in zip(axes[0], panels.items(), strict=True):
        for i, (way, part) in enumerate(table.groupby("way", sort=False)):
            _curve(
                axis,
                part.depth,
                part[f"{quantity}_change"],
                colour=CONTRAST[i % len(CONTRAST)],
                label=way,
                marker=MARKERS[i % len(MARKERS)],
                order=i,
            )
        one = table[table.way == table.way.iloc[0]]
        error = one[f"{quantity}_error"]
        axis.fill_between(one.depth, -error, error, color=BAND, lw=0, label="standard error")
        axis.set_ylabel(label)
        _depth_axis(axis)
        _legend(axis)
    return _note(figure, note)


# -------------------------------------------------------------------- two clouds, and signs (12-13)


@_keeps_tables
def layer_maps(
    maps: Mapping[str, pd.DataFrame],
    first: str,
    second: str,
    label: str,
    limits: tuple[float | None, float | None] = (0, None),
    best: str = "highest",
    note: str = "",
) -> Figure:
    """One measure of likeness for all pairs of layers of two clouds, as one map or two.

    Parameters
    ----------
    maps : mapping
        Title of a panel to a table: index the layers of the first cloud, columns those of the
        second.
    first, second : str
        Names of the clouds.
    label : str
        Of the measure.
    limits : (low, high)
        Values at the ends of the colours; None for those of the tables.
    best : {"highest", "lowest"}
        What a dot marks in each column of the picture: the layer of the second cloud that is most
        like that layer of the first.
    """
    figure, axes = _panels(1, len(maps), height=3.6)
    low, high = limits
    if high is None:
        high = max(float(table.to_numpy().max()) for table in maps.values())
    for axis, (title, table) in zip(axes[0], maps.items(), strict=True):
        found = table.idxmax(axis=1) if best == "highest" else table.idxmin(axis=1)
        names = (f"layer of {_text(first)}", f"layer of {_text(second)}")
        picture = _map_of_layers(axis, table, found, title, names, (low, high))
    bar = figure.colorbar(picture, ax=list(axes[0]), pad=0.01, aspect=30)
    bar.set_label(label)
    return _note(figure, note)


def _map_of_layers(
    axis: Axes,
    table: pd.DataFrame,
    found: pd.Series,
    title: str,
    names: tuple[str, str],
    limits: tuple[float | None, float | None],
):
    """One measure for all pairs of layers of two clouds, the first from left to right.

    found: for each layer of the first, the layer of the second that gets a dot. names: of the axes.
    """
    low, high = limits
    picture = axis.imshow(
        table.T, origin="lower", aspect="auto", interpolation="none", vmin=low, vmax=high
    )
    for which, layers in (("x", table.index), ("y", table.columns)):
        every = max(1, -(-len(layers) // 7))
        places = range(0, len(layers), every)
        getattr(axis, f"set_{which}ticks")(places, [str(layer) for layer in layers[::every]])
    axis.set(xlabel=names[0], ylabel=names[1])
    axis.set_title(_text(title), loc="left")
    places = table.columns.get_indexer(found)
    axis.plot(range(len(table)), places, "o", color="white", mec="black", ms=4)
    return picture


@_keeps_tables
def nearest_layers(nearest: pd.DataFrame, first: str, second: str, note: str = "") -> Figure:
    """For each layer of one cloud, the depth at which the other is most like it.

    Parameters
    ----------
    nearest : DataFrame
        Columns measure, depth (in the first cloud) and nearest_depth (in the second).
    first, second : str
        Names of the clouds.
    """
    figure, axes = _panels(height=3.6)
    axis = axes[0, 0]
    axis.plot([0, 1], [0, 1], color=GREY, lw=1, label="equal depth")
    for i, (measure, part) in enumerate(nearest.groupby("measure", sort=False)):
        _curve(
            axis,
            part.depth,
            part.nearest_depth,
            colour=CONTRAST[i % len(CONTRAST)],
            label=measure,
            line=LINES[i % len(LINES)],
            marker=MARKERS[i % len(MARKERS)],
            order=i,
        )
    _depth_axis(axis, f"relative depth in {_text(first)}")
    axis.set_ylabel(f"most alike in {_text(second)}, depth")
    axis.set_ylim(bottom=-0.03)
    _legend(axis, columns=3)
    return _note(figure, note)


@_keeps_tables
def two_profiles(profiles: pd.DataFrame, note: str = "") -> Figure:
    """Intrinsic dimension of several clouds on one axis.

    Parameters
    ----------
    profiles : DataFrame
        Columns cloud, depth, id and id_err.
    """
    figure, axes = _panels(height=3.4)
    axis = axes[0, 0]
    for i, (cloud, part) in enumerate(profiles.groupby("cloud", sort=False)):
        _curve(
            axis,
            part.depth,
            part.id,
            part.id_err,
            colour=CONTRAST[i % len(CONTRAST)],
            label=cloud,
            line=LINES[i % len(LINES)],
            marker=MARKERS[i % len(MARKERS)],
            order=i,
        )
    _depth_axis(axis)
    _from_zero(axis, ID_LABEL)
    _legend(axis, columns=2)
    return _note(figure, note)


@_keeps_tables
def meaning(cases: pd.DataFrame, note: str = "") -> Figure:
    """Correlation of dimension and label overlap against what the input gives of the labels.

    Cases of which the input was not measured stand at the left, apart from the axis of shares.

    Parameters
    ----------
    cases : DataFrame
        Columns group (of one colour and marker), share (NaN where not known), rho, low and high
        (the interval of rho).
    """
    known = cases[cases.share.notna()]
    unknown = cases[cases.share.isna()]
    low = min(0.5, float(known.share.min()) - 0.05) if len(known) else 0.5
    high = max(1.02, float(known.share.max()) + 0.05) if len(known) else 1.02
    figure, axes = _panels(height=4.0)
    axis = axes[0, 0]
    beside = low - 0.12 - 0.02 * np.arange(len(unknown))[::-1]
    places = pd.concat([known.share, pd.Series(beside, unknown.index)])
    for i, (group, part) in enumerate(cases.groupby("group", sort=False)):
        below = (part.rho - part.low).clip(lower=0)
        above = (part.high - part.rho).clip(lower=0)
        axis.errorbar(
            places[part.index],
            part.rho,
            [below, above],
            color=CONTRAST[i % len(CONTRAST)],
            linestyle="",
            marker=MARKERS[i % len(MARKERS)],
            markerfacecolor="white" if i >= len(MARKERS) else CONTRAST[i % len(CONTRAST)],
            ms=6,
            lw=1,
            label=_text(group),
        )
    axis.axhline(0, color=GREY, lw=1)
    ticks = [tick for tick in np.arange(0, 2.01, 0.1) if low <= tick <= high]
    axis.set_xticks(ticks, [f"{tick:.1f}" for tick in ticks])
    axis.set_xlabel("share of the labels that the input gives  (input overlap / best overlap)")
    axis.set_ylabel("rank correlation of ID and label overlap")
    axis.set_ylim(-1.05, 1.25)
    axis.set_yticks(np.arange(-1, 1.1, 0.5))
    axis.set_xlim(float(places.min()) - 0.04, high)
    if len(unknown):
        axis.axvspan(float(places.min()) - 0.04, low - 0.06, color="black", alpha=0.06, lw=0)
        place = {"ha": "left", "va": "top", "fontsize": SMALL, "color": "#555555"}
        axis.text(float(places.min()) - 0.03, 1.22, "input not measured", **place)
    _legend(axis, columns=3)
    return _note(figure, note)


@_keeps_tables
def rival_choices(choices: pd.DataFrame, note: str = "") -> Figure:
    """Share of the best label overlap that each choice of a layer keeps, a row a case.

    Parameters
    ----------
    choices : DataFrame
        Columns case (in the order from above), choice and kept.
    """
    cases = list(dict.fromkeys(choices.case))
    figure = Figure(figsize=(WIDTH, 1.3 + 0.27 * len(cases)), layout="constrained")
    axis = figure.subplots()
    for i, (choice, part) in enumerate(choices.groupby("choice", sort=False)):
        rows = [cases.index(case) for case in part.case]
        style = {"marker": MARKERS[i % len(MARKERS)], "color": CONTRAST[i % len(CONTRAST)]}
        axis.plot(part.kept, rows, linestyle="", ms=6, label=_text(choice), **style)
    axis.set_yticks(range(len(cases)), [_text(case) for case in cases])
    axis.set_ylim(len(cases) - 0.5, -0.5)
    axis.set_xlim(right=1.01)
    axis.set_xlabel("label overlap there / best label overlap")
    axis.grid(axis="y", color="#e8e8e8")
    _legend(axis, columns=4)
    return _note(figure, note)


# ---------------------------------------------------------------------------- real models (14)


@_keeps_tables
def runs_with_controls(
    curves: pd.DataFrame,
    bands: pd.DataFrame,
    levels: pd.DataFrame,
    marks: Mapping[str, tuple[float, float, float]],
    label: str,
    note: str = "",
) -> Figure:
    """One quantity against relative depth, a panel a run, with what it is held against.

    Parameters
    ----------
    curves : DataFrame
        Columns run, depth, value, error.
    bands : DataFrame
        Columns run, depth, low, high: where the untrained networks lie.
    levels : DataFrame
        Columns run, name, value: what the input reaches.
    marks : mapping
        Depth, and lowest and highest depth, of a layer that is singled out in a run.
    label : str
        Of the quantity.
    """
    runs = list(curves.groupby("run", sort=False))
    figure, axes = _panel_for_each(len(runs), height=3.6)
    for axis, (run, curve) in zip(axes, runs, strict=True):
        band = bands[bands.run == run]
        _run_with_untrained(axis, run, curve, band)
        of_input = levels[levels.run == run]
        _levels(axis, of_input["name"], of_input["value"])
        if run in marks:
            _mark_layer(axis, marks[run][0], "singled out by the ID", *marks[run][1:])
        _from_zero(axis, label)
        _depth_axis(axis, "relative depth")
        _legend(axis, _text(run), columns=2)
    return _note(figure, note)


@_keeps_tables
def overlap_maps(maps: Mapping[str, pd.DataFrame], k: int, note: str = "") -> Figure:
    """Neighbourhood overlap of all pairs of layers, a panel a pair of clouds.

    Parameters
    ----------
    maps : mapping
        Name of a pair to a table: index the layers of the first cloud, columns those of the second.
    """
    figure, axes = _panel_for_each(len(maps), height=3.4)
    for axis, (name, table) in zip(axes, maps.items(), strict=True):
        names = ("layer of the first", "layer of the second")
        picture = _map_of_layers(axis, table, table.idxmax(axis=1), name, names, (0, None))
        figure.colorbar(picture, ax=axis, pad=0.02, label=rf"$\chi^{{l,m}}_{{{k}}}$")
    return _note(figure, note)


# --------------------------------------------------------------------- beside the explorers (15-17)

SAME_LABEL = "#00798c"
OTHER_LABEL = "#d1495b"


@_keeps_tables
def profiles_at_scales(
    curves: pd.DataFrame, layers: Mapping, n_blocks: int, note: str = ""
) -> Figure:
    """Dimension against depth at several scales, a panel for each estimator.

    Parameters
    ----------
    curves : DataFrame
        Columns method, scale, layer, id, id_err.
    layers : mapping
        (method, scale) -> the layer that the profile singles out there, or None.
    """
    titles = {"twonn": "TwoNN, decimated data", "gride": "Gride, all data"}
    present = [method for method in titles if method in set(curves.method)]
    figure, axes = _panels(1, len(present), height=4.0, sharey=True)
    for axis, method in zip(axes[0], present, strict=True):
        scales = list(curves[curves.method == method].groupby("scale"))
        shades = _shades("viridis", len(scales))
        for i, (scale, part) in enumerate(scales):
            style = {"colour": shades[i], "marker": MARKERS[i % len(MARKERS)], "order": i}
            depth = part.layer / n_blocks
            _curve(axis, depth, part.id, part.id_err, label=f"N/n = {_plain(scale)}", **style)
            layer = layers.get((method, scale))
            if layer is not None:
                at = part[part.layer == layer]
                star = {"marker": "*", "ms": 15, "mfc": "white", "mec": shades[i], "mew": 1.6}
                axis.plot(at.layer / n_blocks, at.id, linestyle="", zorder=5, **star)
        _depth_axis(axis, "relative depth")
        _legend(axis, titles[method], columns=2)
    _from_zero(axes[0, 0], "intrinsic dimension")
    return _note(figure, note)


@_keeps_tables
def neighbours_framed(
    pictures: np.ndarray, same: np.ndarray | None, layers: Sequence[int], note: str = ""
) -> Figure:
    """Queries and their neighbours at several layers, framed by whether they share a label.

    Parameters
    ----------
    pictures : ndarray, (queries, layers, 1 + neighbours, height, width[, 3]), uint8
        The query itself first.
    same : ndarray, (queries, layers, neighbours), bool; None where there are no labels
    layers : sequence of int
        Their numbers.
    """
    n_queries, n_layers, n_shown = pictures.shape[:3]
    rows = pictures.reshape(-1, n_shown, *pictures.shape[3:])
    titles = ["query", *(str(rank) for rank in range(1, n_shown))]
    side = [f"layer {layer}" for layer in layers] * n_queries
    figure = _picture_grid(rows, titles, side, "")
    axis = figure.axes[0]
    height, width = pictures.shape[3:5]
    alike = None if same is None else same.reshape(-1, n_shown - 1)
    for row, y in enumerate(axis.get_yticks()):
        for column, x in enumerate(axis.get_xticks()):
            edge, line = "black", "-"
            if column and alike is not None:
                edge = SAME_LABEL if alike[row, column - 1] else OTHER_LABEL
                line = "-" if alike[row, column - 1] else ":"
            elif column:
                continue
            corner = (x - width / 2, y - height / 2)
            style = {"fill": False, "ec": edge, "ls": line, "lw": 1.8}
            axis.add_patch(Rectangle(corner, width, height, **style))
    return _note(figure, note)


@_keeps_tables
def chosen_runs(curves: pd.DataFrame, k: int, note: str = "") -> Figure:
    """Dimension and label overlap of runs, and of models read off figures, over relative depth.

    Parameters
    ----------
    curves : DataFrame
        Columns measured (here, or read off a figure), model, quantity, layer, n_blocks, value,
        error.
    k : int
        Neighbours of the overlaps.
    """
    names = {"intrinsic_dimension": "intrinsic dimension", "label_overlap": _label_overlap_name(k)}
    present = [quantity for quantity in names if quantity in set(curves.quantity)]
    figure, axes = _panels(1, len(present), height=4.0)
    models = list(curves.groupby(["model", "measured"], sort=False).groups)
    for axis, quantity in zip(axes[0], present, strict=True):
        rows = curves[curves.quantity == quantity]
        for (model, measured), part in rows.groupby(["model", "measured"], sort=False):
            i = models.index((model, measured))
            source = "measured here" if measured else "read off"
            style = {"colour": CONTRAST[i % len(CONTRAST)], "marker": MARKERS[i % len(MARKERS)]}
            label = f"{model}, {source}"
            depth = part.layer / part.n_blocks
            style |= {"label": label, "hollow": not measured}
            if len(part) < part.n_blocks.iloc[0] / 2:
                _points(axis, depth, part.value, part.error, **style)
            else:
                line = "-" if measured else "--"
                _curve(axis, depth, part.value, part.error, line=line, order=i, **style)
        _from_zero(axis, names[quantity])
        _depth_axis(axis, "relative depth")
        _legend(axis)
    return _note(figure, note)


@_keeps_tables
def own_cloud(clouds: Mapping[str, pd.DataFrame], note: str = "") -> Figure:
    """Dimension against scale of a few clouds, each by TwoNN and by Gride.

    Parameters
    ----------
    clouds : mapping
        Name -> rows of `twonn_scaling` and `gride_scaling`: method, scale, id, id_err.
    """
    methods = {"twonn": ("TwoNN", "-"), "gride": ("Gride", "--")}
    figure, axes = _panels(height=3.9)
    axis = axes[0, 0]
    scales: set[float] = set()
    for i, (name, rows) in enumerate(clouds.items()):
        shade = CONTRAST[i % len(CONTRAST)]
        for j, (method, (title, line)) in enumerate(methods.items()):
            part = rows[rows.method == method].sort_values("scale")
            scales |= set(part.scale)
            axis.errorbar(
                part.scale,
                part.id,
                part.id_err,
                color=shade,
                linestyle=line,
                marker=MARKERS[2 * i + j],
                markerfacecolor=shade if method == "twonn" else "white",
                label=_text(f"{title}, {name}"),
            )
    _plain_log_axis(axis, "x", sorted(scales)[::2])
    axis.set_xlabel("scale  N/n")
    _from_zero(axis, "intrinsic dimension")
    _legend(axis, columns=2)
    return _note(figure, note)
