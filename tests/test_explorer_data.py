"""What the interactive views embed: whole, short, and safe whatever the texts say."""

import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from georep_utils import explorers
from georep_utils.geometry import scaling, synthetic
from georep_utils.geometry.neighbors import largest_range, nearest_neighbors
from georep_utils.geometry.semantic_layer import SemanticLayer
from georep_utils.io import REPOSITORY, UserError

HOSTILE = "</script><script>alert(1)</script><!-- & \u2028 {{x}}"
LAYERS = [0, 1, 2, 3]
NODE = shutil.which("node")


def table(**columns):
    """A control or a profile, a row a layer."""
    values = {"layer": LAYERS, "id": [5.0, 8.0, 7.0, 4.0], "id_err": 0.5}
    return pd.DataFrame(values).assign(**columns)


# ------------------------------------------------------------------------------------- on the page


def test_no_text_of_others_can_end_the_script_or_begin_markup():
    shown = explorers.Explorer("runs", HOSTILE, {"names": [HOSTILE]})._repr_html_()
    assert shown.count("<script") == shown.count("</script>") == 1
    assert "alert(1)</" not in shown and "<!--" not in shown
    inside = re.search(r'<script type="application/json">(.*?)</script>', shown, re.DOTALL)[1]
    assert json.loads(inside) == {"names": [HOSTILE]}


def test_a_view_is_hidden_until_a_script_shows_it_and_says_what_it_is_elsewhere():
    view = explorers.Explorer("layers", "Profile", {})
    assert re.match(
        r'<section class="explorer" [^>]*aria-label="Profile" hidden>', view._repr_html_()
    )
    assert "html" in repr(view) and "Profile" in repr(view)


def test_numbers_are_plain_and_what_was_not_measured_is_null():
    values = {"a": np.float32(1 / 3), "b": np.array([1.5, np.nan, np.inf]), "c": np.int64(3)}
    values |= {"d": np.bool_(True), "e": pd.Series([1, 2]), 5: None}
    read = json.loads(explorers.as_script(values))
    assert read == {
        "a": 0.333333,
        "b": [1.5, None, None],
        "c": 3,
        "d": True,
        "e": [1, 2],
        "5": None,
    }


def test_what_has_no_place_in_json_is_refused():
    with pytest.raises(TypeError, match="object"):
        explorers.as_script({"a": object()})


def test_data_that_would_make_a_page_heavy_are_refused_with_their_size():
    with pytest.raises(UserError, match=r"1\.2 MB; expected 1\.0 MB"):
        explorers.as_script("x" * 1_200_000)


# --------------------------------------------------------------------------------- layer and scale


def test_several_untrained_networks_are_one_band_and_the_input_is_a_level():
    rows = [
        table(control="untrained"),
        table(control="untrained-1", id=[7.0, 6.0, 7.0, 4.0]),
        table(control="shuffled features")[::2],
        table(control="pixels", id=10.0)[:1],
    ]
    found = explorers.named_controls(pd.concat(rows), LAYERS).set_index("control")
    band = found.loc["untrained network"]
    assert band.id.tolist() == [6, 7, 7, 4]
    assert (band.low.tolist(), band.high.tolist()) == ([5, 6, 7, 4], [7, 8, 7, 4])
    level = found.loc["input: pixels"]
    assert level.layer.tolist() == LAYERS and set(level.high) == {10.5}
    assert found.loc["shuffled features"].layer.tolist() == [0, 2]


def test_a_single_untrained_network_has_the_band_of_its_error():
    found = explorers.named_controls(table(control="untrained"), LAYERS)
    assert (found.high - found.low).tolist() == [1.0] * 4


def test_controls_of_several_scales_stay_apart():
    rows = [table(control="pixels", method="gride", scale=s, id=s)[:1] for s in (1.0, 2.0)]
    found = explorers.controls_by_scale(pd.concat(rows), LAYERS)
    assert found.groupby("scale").id.unique().map(list).to_dict() == {1.0: [1.0], 2.0: [2.0]}


def test_the_view_has_a_profile_a_scale_with_what_was_found_there():
    curves = pd.concat([table(method="gride", scale=s) for s in (1.0, 2.0)])
    none = SemanticLayer(None, "none", 1, None, None, 0.0, 1.0, np.nan)
    found = {
        ("gride", 1.0): {"singled": none, "lowest": 3, "errors": "of each layer"},
        ("gride", 2.0): {"singled": None, "lowest": None, "errors": "joint"},
    }
    controls = explorers.named_controls(table(control="untrained"), LAYERS)
    controls = controls.assign(method="gride", scale=2.0)
    view = explorers.scale_view(curves, found, controls, 3, ("gride", 2.0), "note")
    read = json.loads(explorers.as_script(view))
    first, second = read["readings"]
    assert (first["singled"]["kind"], first["lowest"], first["of_run"]) == ("none", 3, False)
    assert (second["singled"], second["lowest"], second["of_run"]) == (None, None, True)
    assert first["id"] == [5, 8, 7, 4] and len(first["error"]) == len(first["layer"]) == 4
    assert [(c["name"], c["scale"]) for c in read["controls"]] == [("untrained network", 2.0)]


# -------------------------------------------------------------------------------------- neighbours


def test_samples_are_numbered_anew_and_keep_their_labels_and_pictures():
    near = np.array([[[7, 3], [7, 90]]])  # a query, two layers, one neighbour
    pictures = np.arange(100, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 3), np.uint8)
    labels = np.arange(100) % 2
    view = explorers.neighbour_view(
        near, [0, 1], 1, labels, ["even", "odd"], pictures=lambda rows: pictures[rows]
    )
    read = json.loads(explorers.as_script(view))
    assert read["near"] == [[[1, 0], [1, 2]]] and read["labels"] == [1, 1, 0]
    drawn = sprite(read["sprite"])
    assert [drawn[0, 0], drawn[0, 3], drawn[2, 0]] == [3, 7, 90]
    assert (read["sprite"]["width"], read["sprite"]["height"]) == (3, 2)


def sprite(about):
    """The pixels of a sprite."""
    stream = io.BytesIO(base64.b64decode(about["url"].partition(",")[2]))
    return np.asarray(Image.open(stream))


def test_texts_come_as_they_are_and_labels_may_be_unknown():
    near = np.array([[[1, 0]]])
    texts = np.array([HOSTILE, "b"], dtype=object)
    view = explorers.neighbour_view(near, [0], 1, lines=lambda rows: texts[rows])
    read = json.loads(explorers.as_script(view))
    assert read["lines"] == [HOSTILE, "b"] and read["labels"] is None and "sprite" not in read


def test_coloured_pictures_are_made_small():
    pictures = np.random.default_rng(0).integers(0, 256, (5, 64, 32, 3)).astype(np.uint8)
    about = explorers.sprite(pictures)
    assert (about["width"], about["height"], about["columns"], about["rows"]) == (20, 40, 3, 2)
    assert sprite(about).shape == (80, 60, 3)


# -------------------------------------------------------------------------------------------- runs


def test_a_curve_of_the_view_of_runs_is_one_quantity_of_one_source_in_the_order_of_layers():
    rows = {"model": "net", "source": "here", "n_blocks": 3, "measured": True}
    one = table(quantity="intrinsic_dimension", k=np.nan, **rows)[::-1]
    other = table(quantity="label_overlap", k=10.0, **rows)
    curves = pd.concat([one, other]).rename(columns={"id": "value", "id_err": "error"})
    read = json.loads(explorers.as_script(explorers.run_view(curves, {"net": "N = 5"}, ["net"])))
    assert [(c["quantity"], c["k"]) for c in read["curves"]] == [
        ("intrinsic_dimension", None),
        ("label_overlap", 10),
    ]
    assert read["curves"][0]["layer"] == LAYERS and read["curves"][0]["value"] == [5, 8, 7, 4]


# --------------------------------------------------------------------------- a cloud of one's own


def test_examples_are_npy_files_of_float32():
    points = np.arange(6.0).reshape(3, 2)
    (example,) = explorers.cloud_view({"three": points})["examples"]
    read = np.load(io.BytesIO(base64.b64decode(example["npy"])))
    assert read.dtype == np.float32 and (read == points).all()


@pytest.mark.skipif(NODE is None, reason="node is not there; the tests of the built book try this")
def test_the_page_s_estimates_are_those_of_python(tmp_path):
    X = synthetic.swiss_roll(300, 2, ambient=5, noise=0.3, seed=1)
    np.save(tmp_path / "cloud.npy", X)
    script = (
        "const fs = require('fs');"
        "eval(fs.readFileSync(process.argv[1], 'utf8'));"
        "const bytes = fs.readFileSync(process.argv[2]);"
        "const api = Explorers.estimators();"
        "const cloud = api.readNpy(new Uint8Array(bytes).buffer);"
        "console.log(JSON.stringify(api.measure(cloud, () => {})));"
    )
    file = REPOSITORY / "book/_static/explorers/estimators.js"
    command = [NODE, "-e", script, str(file), str(tmp_path / "cloud.npy")]
    found = pd.DataFrame(json.loads(subprocess.check_output(command)))
    gride = scaling.gride_scaling(nearest_neighbors(X, 2, largest_range(len(X))))
    here = found[found.method == "gride"]
    assert np.allclose(here.id, gride.id, rtol=0, atol=1e-6)
    assert np.allclose(here.error, gride.id_err, rtol=0, atol=1e-6)
