"""One dimension and one overlap a layer, and where a profile is highest as far as errors tell."""

import numpy as np
import pytest

from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.geometry.overlap import label_overlap
from georep_utils.geometry.quick_profile import quick_profile
from georep_utils.geometry.scaling import twonn_scaling

N = 800


@pytest.fixture(scope="module")
def layers():
    """Gaussian clouds of two and six dimensions; a layer whose points are nearly all copies."""
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 4
    plane = rng.standard_normal((N, 2))
    wide = rng.standard_normal((N, 6))
    wide[:, 0] += 20 * labels
    copies = rng.standard_normal((15, 6))[rng.integers(0, 15, N)]
    points = {0: plane, 3: wide, 5: copies}
    return {layer: x.astype(np.float32) for layer, x in points.items()}, labels


def neighbors_of(layers, maxk=10):
    return {layer: nearest_neighbors(x, maxk, 64) for layer, x in layers.items()}


def test_layers_of_known_dimension_have_it(layers):
    points, labels = layers
    profile = quick_profile(points, neighbors_of(points), labels, decimation=2)
    assert profile.layer.tolist() == [0, 3, 5]
    assert profile.id[0] == pytest.approx(2, rel=0.15)
    assert profile.id[1] == pytest.approx(6, rel=0.15)
    assert (profile.id_err[:2] > 0).all()


def test_a_layer_of_copies_is_left_out_and_the_others_are_not(layers):
    points, labels = layers
    profile = quick_profile(points, neighbors_of(points), labels).set_index("layer")
    assert profile.loc[5].isna().all()
    assert profile.loc[[0, 3]].notna().all(axis=None)


def test_a_layer_in_which_each_point_has_a_copy_has_no_dimension():
    half = np.random.default_rng(1).standard_normal((N // 2, 3)).astype(np.float32)
    points = {0: np.concatenate([half, half])}
    assert np.isnan(quick_profile(points, neighbors_of(points), None, decimation=1).id[0])


def test_a_layer_with_some_copies_is_kept():
    cloud = np.random.default_rng(1).standard_normal((N, 3)).astype(np.float32)
    points = {0: np.concatenate([cloud, cloud[: N // 2]])}
    profile = quick_profile(points, neighbors_of(points), None, decimation=1)
    assert profile.id[0] == pytest.approx(3, rel=0.15)


def test_the_overlap_counts_labels_among_the_stored_neighbours(layers):
    points, labels = layers
    near = neighbors_of(points)
    profile = quick_profile(points, near, labels, label_k=5)
    assert profile.label_overlap[1] == label_overlap(near[3], labels, 5)
    assert profile.label_overlap[1] > 0.95
    assert profile.label_overlap[0] == pytest.approx(0.25, abs=0.05)


def test_without_labels_only_the_overlap_is_missing(layers):
    points, _ = layers
    profile = quick_profile(points, neighbors_of(points), None).set_index("layer")
    assert profile.label_overlap.isna().all()
    assert profile.id[[0, 3]].notna().all()


def test_the_dimension_is_that_of_twonn_at_the_same_scale_and_seed(layers):
    points, _ = layers
    profile = quick_profile(points, neighbors_of(points), None, decimation=4, seed=3)
    expected = twonn_scaling(points[0], (4,), seed=3)
    assert profile.id[0] == expected.id[0]
    assert profile.id_err[0] == expected.id_err[0]
