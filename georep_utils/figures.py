"""One style and one function a figure. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

COLORS = {  # the paper's colours for the paper's models; the longer of two names first
    "igpt-small-cifar10": "#8c7a3d", "igpt-mini-all": "#7cc0c8",
    "igpt-small": "#e0b400", "igpt-medium": "#ef7d00", "igpt-large": "#c8102e",
    "esm2-35M": "#2e8b57", "esm2-650M": "#1f6fb4", "esm2-3B": "#7b3fa0",
    "igpt-mini": "#00798c",
}  # fmt: skip
CONTROL = "#8c8c8c"
DEPTH = "viridis"


def use_style() -> None:
    """The book's style: light frame, white ground (readable on light and dark pages), sharp on fine screens."""
    sns.set_theme(style="ticks", context="notebook", rc={
        "figure.dpi": 110, "savefig.dpi": 170, "savefig.facecolor": "white", "savefig.bbox": "tight",
        "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11, "axes.labelsize": 10.5,
        "xtick.labelsize": 9.5, "ytick.labelsize": 9.5, "legend.fontsize": 9.5, "legend.frameon": False,
        "lines.linewidth": 1.8, "lines.markersize": 4, "font.family": "DejaVu Sans",
    })  # fmt: skip


def color(name: str) -> str:
    """The colour of a run: the paper's for the paper's models, the first family that fits for others."""
    return next((value for key, value in COLORS.items() if name.startswith(key)), "#33658a")


def note(figure: Figure, text: str) -> Figure:
    """What the figure was made from, in small print below it."""
    figure.text(0.5, -0.01, text, ha="center", va="top", fontsize=8, color="#666666", wrap=True)
    return figure


def panels(columns: int = 1, rows: int = 1, width: float = 7.2, height: float = 3.6, **options):
    """A figure of the book's width and its axes."""
    return plt.subplots(rows, columns, figsize=(width, height * rows), layout="constrained", **options)


def images(pictures: np.ndarray, rows: int, titles: Sequence[str] = (), side: Sequence[str] = ()) -> Figure:
    """Pictures (n, height, width[, 3]) of 8-bit values in `rows` rows; titles above the columns, `side` at the left."""
    columns = len(pictures) // rows
    figure, axes = plt.subplots(rows, columns, figsize=(0.74 * columns + (1.1 if len(side) else 0), 0.8 * rows + 0.25),
                                squeeze=False, layout="constrained")  # fmt: skip
    for axis, picture in zip(axes.flat, pictures):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        sns.despine(ax=axis, left=True, bottom=True)
    for axis, title in zip(axes[0], titles):
        axis.set_title(title, fontsize=8)
    for axis, text in zip(axes[:, 0], side):
        axis.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def depth_axis(axis, label: str = "relative depth  (layer / number of blocks)") -> None:
    axis.set_xlabel(label)
    axis.set_xlim(left=-0.02)


def profile(axis, depth, value, error=None, *, name: str, label: str | None = None, **style) -> None:
    """One curve against relative depth, with a band of one error; points beyond the last block (logits) are hollow."""
    depth, value = np.asarray(depth, float), np.asarray(value, float)
    style = {"color": color(name), "marker": "o"} | style
    inside = depth <= 1 + 1e-9
    axis.plot(depth[inside], value[inside], label=name if label is None else label, **style)
    if (~inside).any():
        last = inside.nonzero()[0][-1]
        axis.plot(
            depth[last:], value[last:], **style | {"linestyle": ":", "markerfacecolor": "white", "markevery": [1]}
        )
    if error is not None:
        error = np.nan_to_num(np.asarray(error, float))
        axis.fill_between(depth, value - error, value + error, color=style["color"], alpha=0.18, linewidth=0)


def id_scaling(curves: pd.DataFrame, n_blocks: int, methods: Mapping[str, str], scale: float | None = None) -> Figure:
    """ID against scale for every layer, one panel a method, coloured by depth; `scale` is marked."""
    figure, axes = panels(len(methods), sharey=True, squeeze=False)
    shades = plt.get_cmap(DEPTH)
    for axis, (method, title) in zip(axes[0], methods.items()):
        for layer, curve in curves[curves.method == method].groupby("layer"):
            axis.errorbar(
                curve.scale, curve.id, curve.id_err, color=shades(min(layer / n_blocks, 1)), lw=1.1, elinewidth=0.8
            )
        if scale is not None:
            axis.axvline(scale, color="black", lw=0.8, ls="--")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set(xlabel="scale  N/n", title=title)
    axes[0, 0].set_ylabel("intrinsic dimension")
    bar = figure.colorbar(plt.cm.ScalarMappable(cmap=shades), ax=axes, pad=0.01, aspect=30)
    bar.set_label("relative depth")
    return figure


def id_by_samples(curves: pd.DataFrame, n_blocks: int) -> Figure:
    """ID profiles of TwoNN on all samples, halves, quarters and eighths: rows of `twonn_scaling` with a column layer."""
    figure, axis = panels()
    sizes = curves[(curves.method == "twonn") & (curves.scale <= 8)].groupby("n_points", sort=False)
    for (size, part), shade in zip(sizes, plt.get_cmap("cividis")([0.05, 0.35, 0.6, 0.85])):
        profile(axis, part.layer / n_blocks, part.id, part.id_err, name=f"N = {size:,}", color=shade)
    axis.set_ylabel("intrinsic dimension")
    depth_axis(axis)
    axis.legend()
    return figure


def id_map(table: pd.DataFrame, title: str, label: str = "intrinsic dimension") -> Figure:
    """Heat map of the ID, or of what `label` says: layers from left to right, scales N/n from bottom to top."""
    figure, axis = panels(height=3.0)
    picture = axis.imshow(table.T, origin="lower", aspect="auto", cmap="magma")
    axis.set(xticks=range(0, len(table), 4), xticklabels=table.index[::4], yticks=range(table.shape[1]),
             yticklabels=[f"{s:g}" for s in table.columns], xlabel="layer", ylabel="scale  N/n", title=title)  # fmt: skip
    figure.colorbar(picture, ax=axis, pad=0.01).set_label(label)
    return figure


def mark(axis, x: float, text: str, color: str = "black") -> None:
    """A dashed vertical line with its meaning at the foot."""
    axis.axvline(x, color=color, lw=0.9, ls="--")
    axis.annotate(text, (x, 0), xycoords=("data", "axes fraction"), xytext=(3, 3), textcoords="offset points",
                  fontsize=8.5, color=color, va="bottom")  # fmt: skip


def absent(axis, text: str) -> None:
    """Say in an empty panel why there is nothing to draw."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=9, color="#666666")


def theirs_and_ours(theirs: pd.DataFrame, ours: pd.DataFrame, families: Mapping[str, str], ylabel: str,
                    stars: Mapping[tuple[str, str], float], missing: str = "not run here") -> Figure:  # fmt: skip
    """Published curves (left) beside this book's (right), a row a family of models, on the same axes.

    theirs, ours: rows model, depth, value, error. families: title: how the names of its models begin ("" for all others).
    stars: {("theirs" | "ours", model): relative depth} of a star on that curve.
    """
    figure, axes = panels(2, len(families), width=9, height=3.3, sharex=True, sharey="row", squeeze=False)
    known = tuple(start for start in families.values() if start)
    for row, (title, start) in zip(axes, families.items()):
        for axis, side, curves in zip(row, ("theirs", "ours"), (theirs, ours)):
            member = curves.model.str.startswith(start) if start else ~curves.model.str.startswith(known)
            for name, part in curves[member].groupby("model", sort=False):
                profile(axis, part.depth, part.value, part.error, name=name, markersize=3)
                if (side, name) in stars:
                    height = np.interp(stars[side, name], part.depth, part.value)
                    axis.plot(stars[side, name], height, "*", color=color(name), ms=15, mec="black", mew=0.8, zorder=5)
            axis.set_title(f"{title}: {'the paper' if side == 'theirs' else 'this book'}")
            axis.legend(fontsize=8.5) if member.any() else absent(axis, missing)
        row[0].set(ylabel=ylabel, ylim=(0, None))
    for axis in axes[-1]:
        depth_axis(axis, "relative depth")
    return figure
