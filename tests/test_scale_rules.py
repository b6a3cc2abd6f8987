"""Rules for the scale: what they read, and when `auto` certifies."""

import numpy as np
import pandas as pd
import pytest

from georep_utils.geometry import scale_rules
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.geometry.scaling import gride_scaling, twonn_scaling
from georep_utils.io import UserError


def gride(points, layer=0):
    table = nearest_neighbors(points.astype(np.float32), 2, 1024, "cpu")
    return scale_rules.with_dispersion(gride_scaling(table), table).assign(layer=layer)


def sphere(n=4000, dimension=3):
    points = np.random.default_rng(0).standard_normal((n, dimension + 1))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def mixture(n=4000):
    rng = np.random.default_rng(1)
    points = np.zeros((n, 7))
    points[: n // 2, :2] = rng.random((n // 2, 2))
    points[n // 2 :, :6] = rng.random((n // 2, 6))
    points[n // 2 :, 6] = 3
    return points


def test_a_sphere_is_certified_with_its_dimension():
    chosen = scale_rules.select_scale(gride(sphere()), "auto")
    assert chosen.certified == 1
    assert chosen.profile["id"][0] == pytest.approx(3, rel=0.05)


def test_a_mixture_and_a_high_dimension_are_not_certified():
    assert scale_rules.select_scale(gride(mixture()), "auto").certified == 0
    high = np.random.default_rng(2).standard_normal((4000, 15))
    chosen = scale_rules.select_scale(gride(high), "auto")
    assert chosen.certified == 0
    assert "scale" in set(chosen.diagnostics["refused"])


def test_a_flat_curve_of_high_dimension_is_not_certified():
    """Distances hardly grow there, so that flatness proves nothing."""
    scales = 2.0 ** np.arange(9)
    flat = pd.DataFrame(
        {
            "method": "gride",
            "scale": scales,
            "repetitions": 1,
            "fraction": np.nan,
            "id_err": 1e-5,
            "dispersion": 1.0,
            "layer": 0,
        }
    )
    assert scale_rules.select_scale(flat.assign(id=3.9), "auto").certified == 1
    high = scale_rules.select_scale(flat.assign(id=8.4), "auto")
    assert high.certified == 0
    assert set(high.diagnostics["refused"]) == {"scale"}


def test_all_layers_are_read_at_one_scale():
    curves = pd.concat([gride(sphere(2500, 2), 0), gride(sphere(2500, 4), 1)])
    profile = scale_rules.select_scale(curves, "auto").profile
    assert profile["scale"].nunique() == 1
    assert profile["id"].is_monotonic_increasing


def test_fixed_rules_read_their_scales_and_what_is_missing_is_named():
    points = sphere(1500)
    curves = twonn_scaling(points, (2, 4, 8), device="cpu").assign(layer=0)
    chosen = scale_rules.select_scale(curves)
    assert (chosen.rule, chosen.scale) == ("paper_text", 4)
    assert chosen.profile["id"][0] == pytest.approx(curves.set_index("scale")["id"][4])
    assert chosen.profile["id_sys"][0] >= 0
    known = scale_rules.available(curves)
    assert known["paper_text"] == ""
    assert "igpt_release reads twonn" in known["igpt_release"]
    assert "dispersion" in known["auto"]
    with pytest.raises(UserError, match="unknown scale rule"):
        scale_rules.select_scale(curves, "best")
