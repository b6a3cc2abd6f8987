"""Every figure of the book, one function each.

A function takes arrays or data frames and returns a Figure; it computes nothing and reads no file.
In a notebook the call is the last line of its cell, and the figure shows itself. Figures are made
without pyplot, so that nothing is drawn twice and no list of open figures grows.

What they have in common:

- A figure is 7.2 inches wide, has at most two panels a row and no type below 9 points, so that it
  can be read where the page is narrow. `use_style` makes notebooks draw vector graphics.
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

import sys
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

WIDTH = 7.2  # inches, the width of a page's text
SMALL = 9  # points, the smallest type
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
CONTRAST = ["#00798c", "#d1495b", "#c98a00", "#33333b", "#8c6bb1", "#4d9221"]
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
THRESHOLD = "#27d3c3"
DEPTH_LABEL = "relative depth  (layer / number of blocks)"


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
        from matplotlib_inline.backend_inline import InlineBackend, set_matplotlib_formats

        # The settings are also kept in the backend's configuration: it applies them once more when
        # a notebook imports pyplot later.
        backend = InlineBackend.instance()
        backend.print_figure_kwargs = {"bbox_inches": "tight", "metadata": {"Date": None}}
        backend.figure_formats = {"svg"}
        set_matplotlib_formats("svg", **backend.print_figure_kwargs)


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
    """Put what the figure was made from in small print below it."""
    if text:
        lines = [textwrap.fill(_text(line), 100) for line in text.splitlines()]
        figure.supxlabel("\n".join(lines), fontsize=SMALL, color="#666666", linespacing=1.3)
    return figure


def _legend(axis: Axes, title: str = "", columns: int = 1) -> None:
    """Name a panel and its curves above it, off the curves."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(
            title=title,
            loc="lower left",
            bbox_to_anchor=(0, 1.01),
            ncols=columns,
            alignment="left",
            borderaxespad=0,
            borderpad=0.2,
            columnspacing=1.2,
        )
    else:
        axis.set_title(title, loc="left")


def _depth_axis(axis: Axes, label: str = DEPTH_LABEL) -> None:
    axis.set_xlabel(label)
    axis.set_xlim(left=-0.03)


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
            label="_",
        )
    if error is not None:
        error = np.nan_to_num(np.asarray(error, float))
        axis.fill_between(depth, value - error, value + error, color=colour, alpha=0.18, lw=0)


def _points(axis: Axes, depth, value, error, *, colour: str, label: str, marker: str) -> None:
    """Values at a few layers, not joined: between them nothing was measured."""
    error = None if error is None else np.nan_to_num(np.asarray(error, float))
    axis.errorbar(
        depth, value, error, color=colour, linestyle="", marker=marker, label=_text(label)
    )


def _mark_layer(axis: Axes, depth: float, label: str, low: float, high: float) -> None:
    """A chosen layer as a dashed line, and the layers that can't be told from it as a band."""
    axis.axvline(depth, color="black", lw=1, ls=(0, (4, 3)), label=label)
    if high > low:
        axis.axvspan(low, high, color="black", alpha=0.08, lw=0)


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
    pictures: np.ndarray, titles: Sequence[str], side: Sequence[str], group: int = 0
) -> Figure:
    """Pictures (rows, columns, height, width[, 3]) under `titles`, beside `side`."""
    rows, columns, height, width = pictures.shape[:4]
    gap = max(1, width // 10)
    whole, row_centres, column_centres = _mosaic(pictures, gap, group)
    margin = 0.85 if len(side) else 0.1
    drawn_width = min(WIDTH - margin, 0.95 * columns)  # a few pictures need not fill the page
    drawn_height = drawn_width * whole.shape[0] / whole.shape[1]
    size = (drawn_width + margin, drawn_height + (0.45 if len(titles) else 0.1))
    figure = Figure(figsize=size, layout="constrained")
    axis = figure.subplots()
    axis.imshow(whole, interpolation="none")
    letters = max(5, int(drawn_width / columns * 72 / 5.2))  # that fit above a picture
    shown = [textwrap.fill(_text(title), letters, max_lines=2, placeholder="…") for title in titles]
    axis.set_xticks(column_centres[: len(titles)], shown)
    axis.set_yticks(row_centres[: len(side)], [_text(line) for line in side])
    axis.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
    axis.spines[:].set_visible(False)
    return figure


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
    return _note(_picture_grid(rows, class_names, ()), note)


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
    return _note(figure, note)


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


def completions(whole: np.ndarray, half: np.ndarray, drawn: np.ndarray, note: str = "") -> Figure:
    """Images, the halves that the model was shown, and its continuations, in three rows.

    Parameters
    ----------
    whole, half, drawn : ndarray, (n, height, width) or (n, height, width, 3), uint8
    """
    figure = _picture_grid(np.stack([whole, half, drawn]), (), ("image", "seen", "completed"))
    return _note(figure, note)


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
    figure = _picture_grid(rows, titles, side, group=n_shown)
    axis = figure.axes[0]
    height, width = pictures.shape[3:5]
    for y in axis.get_yticks():
        for x in axis.get_xticks()[::n_shown]:
            corner = (x - width / 2, y - height / 2)
            axis.add_patch(Rectangle(corner, width, height, fill=False, ec="#d1495b", lw=1.8))
    return _note(figure, note)


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


# -------------------------------------------------------------------- intrinsic dimension (04, 11)


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
    axis.plot(x[:kept], y[:kept], ".", color="#00798c", ms=3, label="fitted")
    axis.plot(x[kept:], y[kept:], "x", color=GREY, ms=5, label="left out")
    ends = np.array([0, x[kept - 1]])
    axis.plot(ends, slope * ends, color="black", lw=1.2, label=f"slope {slope:.2f}")
    axis.set_xlabel(r"$\log\,\mu$")
    _from_zero(axis, r"$-\log(1 - F)$")
    axis.set_xlim(left=0)
    _legend(axis)
    return _note(figure, note)


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
    _from_zero(axes[0, 0], "intrinsic dimension")
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), shades), ax=axes, pad=0.01, aspect=30)
    bar.set_label("relative depth")
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


def plateau_bias(diagnostics: pd.DataFrame, max_bias: float, note: str = "") -> Figure:
    """How far the dimension may be from its limit, by the slope of the curve there.

    The threshold is outlined. Colours end at four times the threshold: what lies above is no
    plateau, however far above it is. A dot is a place that passes all four tests of a plateau.

    Parameters
    ----------
    diagnostics : DataFrame
        `Selection.diagnostics`: layer, scale, bias, failed.
    max_bias : float
        The largest bias of a plateau.
    """
    table = diagnostics.pivot(index="layer", columns="scale", values="bias")
    end = 4 * max_bias
    colours = matplotlib.colormaps["magma"].with_extremes(over="#e4e4e4")
    figure, axes = _panels(height=3.3)
    axis = axes[0, 0]
    picture = _layer_scale_map(axis, table, vmin=0, vmax=end, cmap=colours)
    bar = figure.colorbar(picture, ax=axis, pad=0.01, extend="max")
    bar.set_label("bias that the slope allows")
    bar.set_ticks(np.linspace(0, end, 5), labels=[_plain(tick) for tick in np.linspace(0, end, 5)])
    bar.ax.axhline(max_bias, color=THRESHOLD, lw=2)
    if (table > end).all(axis=None):
        place = {"ha": "center", "va": "center", "transform": axis.transAxes}
        axis.text(0.5, 0.5, f"above {_plain(end)} at every layer and scale", **place)
    _outline(axis, (table < max_bias).to_numpy().T)
    passed = diagnostics[diagnostics.failed == ""]
    axis.plot(
        table.index.get_indexer(passed.layer),
        table.columns.get_indexer(passed.scale),
        "o",
        color="white",
        mec="black",
    )
    return _note(figure, note)


def scale_rules(
    profiles: pd.DataFrame, labels: Mapping[str, str] | None = None, note: str = ""
) -> Figure:
    """The profile of one run under several scale rules.

    Parameters
    ----------
    profiles : DataFrame
        Columns rule, depth, id, id_err.
    labels : mapping, optional
        What the legend says of each rule.
    """
    figure, axes = _panels(height=3.8)
    _rule_curves(axes[0, 0], profiles, "id", "id_err", labels or {})
    _from_zero(axes[0, 0], "intrinsic dimension")
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


def profile_with_controls(
    profile: pd.DataFrame,
    controls: pd.DataFrame,
    n_blocks: int,
    run: str = "",
    semantic=None,
    control_errors: pd.DataFrame | None = None,
    note: str = "",
) -> Figure:
    """The paper's Fig. 1 for one run: trained and untrained, and beside all controls.

    Parameters
    ----------
    profile : DataFrame
        Columns layer, id, id_err.
    controls : DataFrame
        Index layer, any of the columns of `CONTROL_STYLES`; NaN where one was not measured.
    semantic : SemanticLayer, optional
        What the profile singles out; where its layer is None, nothing is marked.
    control_errors : DataFrame, optional
        Standard errors, like `controls`.
    """
    shown = [name for name in CONTROL_STYLES if name in controls]
    untrained = [name for name in shown if name == "untrained network"]
    figure, axes = _panels(1, 2, height=4.2)
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
        _depth_axis(axis, "relative depth")
    if semantic is not None and semantic.layer is not None:
        label = f"{semantic.kind} after the peak"
        low, high = semantic.low / n_blocks, semantic.high / n_blocks
        _mark_layer(axes[0, 0], semantic.layer / n_blocks, label, low, high)
    _from_zero(axes[0, 0], "intrinsic dimension")
    _plain_log_axis(axes[0, 1], "y")
    _legend(axes[0, 0], "training")
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
    _from_zero(axis, "intrinsic dimension")
    _depth_axis(axis)
    _legend(axis, columns=4)
    return _note(figure, note)


def training_dynamics(dynamics: pd.DataFrame, label_k: int, note: str = "") -> Figure:
    """The paper's Fig. 3 for one run: dimension and label overlap at checkpoints of one training.

    Parameters
    ----------
    dynamics : DataFrame
        Columns checkpoint (in the order of training), depth, id, id_err, label_overlap.
    label_k : int
        Number of neighbours of the label overlap.
    """
    cases = list(dynamics.groupby("checkpoint", sort=False))
    shades = _shades("plasma", len(cases))
    styles = [
        {"colour": shades[i], "label": name, "marker": MARKERS[i % len(MARKERS)]}
        for i, (name, _) in enumerate(cases)
    ]
    return _note(_id_and_overlap(cases, styles, label_k, "trained for"), note)


def listening_places(places: pd.DataFrame, label_k: int, note: str = "") -> Figure:
    """Dimension and label overlap, read at several places of a block and pooled in several ways.

    Parameters
    ----------
    places : DataFrame
        Columns site, pool, depth, id, id_err, label_overlap; the paper's choice first.
    label_k : int
        Number of neighbours of the label overlap.
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
    return _note(_id_and_overlap(cases, styles, label_k, "read at, pooled by"), note)


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
    _from_zero(axes[0, 0], "intrinsic dimension")
    if labelled:
        _from_zero(axes[0, 1], _label_overlap_name(label_k), 1)
    for axis in axes[0]:
        _depth_axis(axis, "relative depth")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, title=title, loc="outside upper left", ncols=5, alignment="left")
    return figure


# --------------------------------------------------------------------------------- overlaps (05)


def _label_overlap_name(k: int) -> str:
    return rf"label overlap  $\chi^{{l,gt}}_{{{k}}}$"


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
        _depth_axis(axis, "relative depth")
    _from_zero(axes[0, 0], r"neighbourhood overlap  $\chi^{l,m}_k$", 1.03)
    _legend(axes[0, 0], "consecutive layers")
    _legend(axes[0, 1], "with the ends of the network")
    return _note(figure, note)


def label_overlap(
    by_label: pd.DataFrame,
    n_blocks: int,
    label_k: Sequence[int],
    robustness_k: Sequence[int],
    semantic_layer: int | None = None,
    note: str = "",
    run: str = "",
) -> Figure:
    """The paper's Fig. 4 for one run: trained and untrained; and for many numbers of neighbours.

    Parameters
    ----------
    by_label : DataFrame
        Columns network ("trained", "untrained"), k, depth, overlap and, where known, error.
    label_k, robustness_k : sequence of int
        Numbers of neighbours in the left and in the right panel.
    semantic_layer : int, optional
        The layer that the ID profile singled out, to be marked.
    """
    figure, axes = _panels(1, 2, height=4.1, sharey=True)
    for network, part in by_label.groupby("network", sort=False):
        trained = network == "trained"
        for i, k in enumerate(label_k):
            rows = part[part.k == k]
            _curve(
                axes[0, 0],
                rows.depth,
                rows.overlap,
                _column(rows, "error"),
                colour=colour(run) if trained else GREY,
                label=f"{network}, k = {k}",
                line=LINES[min(i, 3)],
                marker="o" if trained else "s",
                hollow=i > 0,
            )
    if semantic_layer is not None:
        depth = semantic_layer / n_blocks
        _mark_layer(axes[0, 0], depth, "layer from the ID alone", depth, depth)
    _curves_by_k(axes[0, 1], by_label[by_label.network == "trained"], robustness_k, "overlap")
    for axis in axes[0]:
        _depth_axis(axis, "relative depth")
    _from_zero(axes[0, 0], r"label overlap  $\chi^{l,gt}_k$", 1.03)
    _legend(axes[0, 0], "training")
    _legend(axes[0, 1], "number of neighbours, trained", columns=2)
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
            _depth_axis(axis, "relative depth")
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


def consecutive_by_run(following: pd.DataFrame, k: int, deeper_k: int, note: str = "") -> Figure:
    """Overlap of each layer with the next: every run for two k; the first run for every k.

    Parameters
    ----------
    following : DataFrame
        Columns model, k, depth, value, error.
    """
    figure, axes = _panels(1, 2, height=3.9, sharey=True)
    for i, (model, part) in enumerate(following.groupby("model", sort=False)):
        for number, line, hollow in [(k, "-", False), (deeper_k, "--", True)]:
            rows = part[part.k == number]
            _curve(
                axes[0, 0],
                rows.depth,
                rows.value,
                rows.error,
                colour=colour(model),
                label=f"{model}, k = {number}",
                line=line,
                marker=MARKERS[i % len(MARKERS)],
                hollow=hollow,
                order=i,
            )
    first = following.model.iloc[0] if len(following) else ""
    every = following[following.model == first]
    _curves_by_k(axes[0, 1], every, sorted(every.k.unique()), "value")
    for axis in axes[0]:
        _depth_axis(axis, "relative depth")
    _from_zero(axes[0, 0], r"overlap with the next layer  $\chi^{l,l+1}_k$", 1.03)
    _legend(axes[0, 0], "every run")
    _legend(axes[0, 1], f"{_text(first)}, every k", columns=2)
    return _note(figure, note)


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
        _from_zero(axis, "intrinsic dimension")
        _depth_axis(axis, "relative depth")
        _legend(axis, f"{_text(run)}, trained for", columns=5 if len(runs) == 1 else 2)
    return _note(figure, note)


def _panel_for_each(n: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with `n` panels, two a row."""
    columns = 1 if n < 2 else 2
    figure, axes = _panels(-(-max(n, 1) // columns), columns, height=height)
    for axis in axes.flat[n:]:
        axis.set_axis_off()
    return figure, list(axes.flat[:n])


# ------------------------------------------------------------------------------------ controls (08)


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
    axis.axhspan(1 - tolerance, 1 + tolerance, color="#e4e4e4", lw=0)
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
    axis.axhspan(1 - tolerance, 1 + tolerance, color="#e4e4e4", lw=0)
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
        _from_zero(axis, "intrinsic dimension", 22)
        _depth_axis(axis, "relative depth")
    _legend(axes[0, 0], "nothing to find")
    _legend(axes[0, 1], "something to find")
    return _note(figure, note)


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
        _depth_axis(axis, "relative depth")
        _legend(axis, _text(run), columns=2)
    return _note(figure, note)


def id_against_samples(table: pd.DataFrame, note: str = "") -> Figure:
    """Dimension against the number of points, at several layers of several runs.

    Parameters
    ----------
    table : DataFrame
        Columns run, place (which layer), n_points, id, id_err.
    """
    figure, axes = _panels(height=3.8)
    axis = axes[0, 0]
    lines = {place: LINES[i % len(LINES)] for i, place in enumerate(table.place.unique())}
    markers = {run: MARKERS[i % len(MARKERS)] for i, run in enumerate(table.run.unique())}
    for (run, place), part in table.groupby(["run", "place"], sort=False):
        axis.errorbar(
            part.n_points,
            part.id,
            part.id_err,
            color=colour(run),
            linestyle=lines[place],
            marker=markers[run],
            capsize=2,
            label=f"{_text(run)}, {place}",
        )
    _plain_log_axis(axis, "x", sorted(table.n_points.unique()))
    _from_zero(axis, "intrinsic dimension")
    axis.set_xlabel("number of points")
    _legend(axis, columns=2)
    return _note(figure, note)


# --------------------------------------------------------------------------------- benchmarks (10)


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
    axes[-1, 0].set_xlabel("their time / ours (1: equal; left of 1: faster than ours)")
    return _note(figure, note)


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
        axis.fill_between(one.depth, -error, error, color="#e4e4e4", lw=0, label="standard error")
        axis.set_ylabel(label)
        _depth_axis(axis, "relative depth")
        _legend(axis)
    return _note(figure, note)
