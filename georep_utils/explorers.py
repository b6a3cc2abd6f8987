"""Interactive views of the book: the data that a page embeds, and the place where they are shown.

A view is a section of a page with a piece of JSON in it. The scripts in `book/_static/explorers`
find it by its kind and draw it; they compute nothing that a table of this book says. Without
scripts, and on paper, the section is not there, and the figure beside it stands alone.

Texts in the JSON come from data sets of others. `as_script` writes them so that no character of
theirs can end the script element or begin markup, and the scripts put them on the page as text.

Nothing is computed here either: functions take tables and arrays and give them the shape that a
script reads. Layers, IDs and errors are lists of equal length; what was not measured is null.
"""

from __future__ import annotations

import base64
import html
import io as bytes_io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from PIL import Image

from georep_utils.io import UserError

DIGITS = 6  # significant ones, as in the tables of results
MAX_BYTES = 1_000_000  # of the data of one view: a page shall stay below 1.5 MB
PICTURE_SIDE = 40  # pixels of the side of a coloured picture; smaller ones are kept as they are
READ_AS_MARKUP = "<>&\u2028\u2029"


@dataclass(frozen=True)
class Explorer:
    """A view and its data; as the last value of a cell it stands on the page.

    Attributes
    ----------
    kind
        Which script draws it: layers, neighbours, runs or cloud.
    title
        What it is called, for those who hear the page.
    data
        What the script reads.
    """

    kind: str
    title: str
    data: Mapping

    def __repr__(self) -> str:
        return f"(Interactive view, in the html book only: {self.title}.)"

    def _repr_html_(self) -> str:
        title = html.escape(self.title)
        return (
            f'<section class="explorer" data-explorer="{html.escape(self.kind)}" '
            f'aria-label="{title}" hidden>\n'
            f'<script type="application/json">{as_script(self.data)}</script>\n</section>'
        )


def as_script(value: object) -> str:
    """JSON that may stand in a script element, whatever texts it holds.

    Raises
    ------
    UserError
        If it is too long for a page.
    """
    text = json.dumps(_plain(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character in READ_AS_MARKUP:
        text = text.replace(character, f"\\u{ord(character):04x}")
    size = len(text.encode())
    if size > MAX_BYTES:
        raise UserError(
            f"the data of an interactive view take {size / 1e6:.1f} MB; expected "
            f"{MAX_BYTES / 1e6:.1f} MB at most; show fewer samples or curves"
        )
    return text


def _plain(value: object) -> object:
    """`value` in types that JSON has; numbers without a value become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, np.ndarray, pd.Series, pd.Index)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{type(value).__name__} has no place in the data of a view")


# ------------------------------------------------------------------------------------ layer x scale


def named_controls(table: pd.DataFrame, layers: Sequence[int]) -> pd.DataFrame:
    """Controls as they are drawn, from a run's id_controls.csv.

    Parameters
    ----------
    table : DataFrame
        Columns control, layer, id, id_err.
    layers : sequence of int
        Of the network. A control that has one row, and a name that is none of the known ones, is a
        way to take the input; it is no layer, and drawn across all.

    Returns
    -------
    DataFrame
        Columns control, layer, id, low, high. Several untrained networks are one control: their
        mean, their lowest and their highest.
    """
    table = table.reset_index(drop=True)
    table = table.assign(low=table.id - table.id_err, high=table.id + table.id_err)
    untrained = table.control.str.fullmatch(r"untrained(-\d+)?")
    rows = table[~untrained]
    inputs = rows.groupby("control").layer.transform("size") == 1
    level = pd.concat([rows[inputs].assign(layer=layer) for layer in layers])
    level["control"] = "input: " + level.control
    parts = [_untrained(table[untrained]), rows[~inputs], level]
    columns = ["control", "layer", "id", "low", "high"]
    return pd.concat([part[columns] for part in parts if len(part)], ignore_index=True)


def controls_by_scale(table: pd.DataFrame, layers: Sequence[int]) -> pd.DataFrame:
    """Controls that were read at several scales, as they are drawn.

    Parameters
    ----------
    table : DataFrame
        As for `named_controls`, with columns method and scale.
    layers : sequence of int
        As for `named_controls`.
    """
    parts = [
        named_controls(part, layers).assign(method=method, scale=scale)
        for (method, scale), part in table.groupby(["method", "scale"])
    ]
    return pd.concat(parts, ignore_index=True)


def _untrained(rows: pd.DataFrame) -> pd.DataFrame:
    band = rows
    if rows.control.nunique() > 1:
        by_layer = rows.groupby("layer").id
        ends = {"id": by_layer.mean(), "low": by_layer.min(), "high": by_layer.max()}
        band = pd.DataFrame(ends).reset_index()
    return band.assign(control="untrained network")


def scale_view(
    curves: pd.DataFrame,
    found: Mapping,
    controls: pd.DataFrame,
    n_blocks: int,
    start: tuple[str, float],
    note: str = "",
) -> dict:
    """What the view of layer and scale reads.

    Parameters
    ----------
    curves : DataFrame
        Columns method, scale, layer, id, id_err; a profile for each method and scale.
    found : mapping
        (method, scale) -> {"singled": SemanticLayer or None, "lowest": layer or None, "errors": of
        which kind}, for each of them.
    controls : DataFrame
        As of `named_controls`, with columns method and scale.
    n_blocks : int
        Of the network.
    start : (method, scale)
        What is shown first: the profile that the run is read by.
    """
    readings = []
    for (method, scale), part in curves.groupby(["method", "scale"], sort=True):
        about = dict(found[method, scale])
        singled = about.pop("singled")
        readings.append(
            {
                "method": method,
                "scale": scale,
                "layer": part.layer,
                "id": part.id,
                "error": part.id_err,
                "singled": None if singled is None else asdict(singled),
                "of_run": (method, scale) == start,
                **about,
            }
        )
    shown = []
    for (name, method, scale), part in controls.groupby(["control", "method", "scale"], sort=False):
        values = {column: part[column] for column in ("layer", "id", "low", "high")}
        shown.append({"name": name, "method": method, "scale": scale, **values})
    return {"n_blocks": n_blocks, "readings": readings, "controls": shown, "note": note}


# --------------------------------------------------------------------------------------- neighbours


def neighbour_view(
    near: np.ndarray,
    layers: Sequence[int],
    n_blocks: int,
    labels: np.ndarray | None = None,
    names: Sequence[str] = (),
    note: str = "",
    **shown,
) -> dict:
    """What the view of neighbours reads.

    Parameters
    ----------
    near : (queries, layers, 1 + neighbours) array of int
        Numbers of samples; the query itself first.
    layers : sequence of int
        Their numbers.
    n_blocks : int
        Of the network.
    labels : (N,) array of int, optional
        Of all samples.
    names : sequence of str
        Of the classes.
    shown
        pictures: a function from sample numbers to pictures; or lines: one to texts.
    """
    rows, places = np.unique(near, return_inverse=True)
    view = {
        "layers": layers,
        "n_blocks": n_blocks,
        "near": places.reshape(near.shape),
        "names": list(names),
        "labels": None if labels is None else np.asarray(labels)[rows],
        "note": note,
    }
    if "pictures" in shown:
        view["sprite"] = sprite(shown["pictures"](rows))
    if "lines" in shown:
        view["lines"] = list(shown["lines"](rows))
    return view


def sprite(pictures: np.ndarray) -> dict:
    """Many small pictures as one, in a form that a page can embed.

    Parameters
    ----------
    pictures : (n, height, width) or (n, height, width, 3) array of uint8
        Grey levels are kept exactly, as PNG. Colours are reduced to `PICTURE_SIDE` pixels and
        compressed, as WebP.

    Returns
    -------
    dict
        url (data:), columns, width and height (pixels of one picture), and rows.
    """
    if pictures.ndim == 4:
        pictures = _reduced(pictures)
    n, height, width = pictures.shape[:3]
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    whole = np.zeros((rows * height, columns * width, *pictures.shape[3:]), np.uint8)
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        top, left = row * height, column * width
        whole[top : top + height, left : left + width] = picture
    kind, options = ("webp", {"quality": 75}) if pictures.ndim == 4 else ("png", {"optimize": True})
    stream = bytes_io.BytesIO()
    Image.fromarray(whole).save(stream, kind, **options)
    url = f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
    return {"url": url, "columns": columns, "rows": rows, "width": width, "height": height}


def _reduced(pictures: np.ndarray) -> np.ndarray:
    largest = max(pictures.shape[1:3])
    if largest <= PICTURE_SIDE:
        return pictures
    size = [max(1, round(side * PICTURE_SIDE / largest)) for side in pictures.shape[2:0:-1]]
    return np.stack([np.asarray(Image.fromarray(picture).resize(size)) for picture in pictures])


# --------------------------------------------------------------------------------------------- runs


def run_view(curves: pd.DataFrame, about: Mapping[str, str], start: Sequence[str] = ()) -> dict:
    """What the view of runs and quantities reads.

    Parameters
    ----------
    curves : DataFrame
        Columns model, quantity, layer, n_blocks, k, value, error, source, and measured (here).
    about : mapping
        {model: what is to be said of it}, such as the number of samples.
    start : sequence of str
        Models whose dimension is shown at first.
    """
    drawn = []
    keys = ["measured", "model", "quantity", "k", "source"]
    for key, part in curves.groupby(keys, sort=False, dropna=False):
        part = part.sort_values("layer")
        values = {"layer": part.layer, "value": part.value, "error": part.error}
        drawn.append(
            dict(zip(keys, key, strict=True)) | {"n_blocks": part.n_blocks.iloc[0]} | values
        )
    return {"curves": drawn, "about": dict(about), "start": list(start)}


# ----------------------------------------------------------------------------- a cloud of one's own


def cloud_view(examples: Mapping[str, np.ndarray]) -> dict:
    """What the view of a reader's own cloud reads.

    Parameters
    ----------
    examples : mapping
        Name -> points (n, width) that can be tried without a file. They are embedded as .npy files.
    """
    files = []
    for name, points in examples.items():
        stream = bytes_io.BytesIO()
        np.save(stream, np.asarray(points, dtype=np.float32))
        text = base64.b64encode(stream.getvalue()).decode()
        files.append({"name": name, "npy": text})
    return {"examples": files}
