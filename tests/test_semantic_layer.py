"""The layer that a profile singles out: minima, plateaus, wiggles, and how far to trust it."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from georep_utils.geometry.semantic_layer import semantic_layer


def _profile(ids, err=0.05):
    return pd.DataFrame({"layer": range(len(ids)), "id": ids, "id_err": err})


def test_the_semantic_layer_is_the_first_minimum_after_the_first_peak():
    found = semantic_layer(_profile([8, 12, 20, 25, 18, 12, 9, 11, 15, 10, 6]))
    assert found.kind == "minimum"
    assert found.peak_layer == 3
    assert found.layer == found.low == found.high == 6
    assert found.prominence == pytest.approx((15 - 9) / 25)


def test_the_semantic_layer_of_a_peak_and_a_level_tail_is_a_plateau():
    found = semantic_layer(_profile([5, 9, 15, 20, 14, 8, 6, 6.1, 6, 5.95, 6.05, 6]))
    assert found.kind == "plateau"
    assert found.peak_layer == 3
    assert (found.low, found.high) == (6, 11)
    assert found.low <= found.layer <= found.high
    assert found.prominence == pytest.approx(0.7, abs=0.01)


def test_a_wiggle_within_the_errors_is_no_minimum():
    found = semantic_layer(_profile([8, 14, 20, 16, 15, 15.5, 12, 9, 12, 14], err=0.3))
    assert (found.kind, found.layer) == ("minimum", 7)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.floats(1, 40), st.floats(0, 8)), min_size=1, max_size=25))
def test_any_profile_has_a_semantic_layer_behind_its_peak_or_none(points):
    ids, errors = map(list, zip(*points, strict=True))
    found = semantic_layer(_profile(ids, errors), draws=20)
    assert 0 <= found.support <= 1
    assert (found.layer is None) == (found.kind == "none")
    if found.layer is not None:
        assert found.low <= found.layer <= found.high
        assert found.peak_layer < found.layer
        assert found.prominence <= 1


def test_errors_widen_the_range_of_the_semantic_layer_and_lower_its_support():
    ids = [8, 14, 20, 15, 12.1, 12.4, 12, 12.4, 12.1, 15, 17]
    sure = semantic_layer(_profile(ids, 0.01))
    unsure = semantic_layer(_profile(ids, 1.0))
    assert (sure.layer, sure.support) == (6, 1.0)
    assert unsure.layer == 6
    assert unsure.low <= sure.low <= 6 <= sure.high <= unsure.high
    assert unsure.high - unsure.low >= 2


def test_support_is_partial_where_some_draws_have_no_feature_and_whole_without_errors():
    faint = semantic_layer(_profile([8, 9, 10, 9.2, 9, 9.1, 9.3, 9.45, 9.4], err=0.3))
    assert 0 < faint.support < 1
    assert semantic_layer(_profile([8, 14, 20, 9, 14]).drop(columns="id_err")).support == 1.0


def test_the_draws_are_seeded():
    profile = _profile([8, 14, 20, 15, 12.1, 12.4, 12, 12.4, 12.1, 15, 17], 1.0)
    assert semantic_layer(profile) == semantic_layer(profile)


@pytest.mark.parametrize(
    ("ids", "peak"),
    [
        ([7, 7.1, 7, 6.95, 7.05, 7], None),
        ([5, 6, 7, 8, 9, 10], None),
        ([5, 8, 12, 10, 8, 6], 2),
    ],
)
def test_a_profile_without_such_a_feature_has_no_semantic_layer(ids, peak):
    found = semantic_layer(_profile(ids))
    assert (found.kind, found.layer, found.peak_layer) == ("none", None, peak)
