"""Synthetic clouds: embedding changes no distance, controls keep what they should keep."""

import numpy as np
import pytest

from georep_utils.geometry import synthetic
from georep_utils.io import UserError


@pytest.mark.parametrize(
    "make",
    [
        synthetic.hyperball,
        synthetic.sphere,
        synthetic.torus,
        synthetic.curved,
        synthetic.swiss_roll,
    ],
)
def test_generators_embed_without_changing_distances(make):
    flat = make(50, 3)
    embedded = make(50, 3, ambient=30)
    assert embedded.shape == (50, 30)
    assert embedded.dtype == np.float32
    before = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    after = np.linalg.norm(embedded[:, None] - embedded[None], axis=2)
    np.testing.assert_allclose(before, after, atol=1e-4 * before.max())
    with pytest.raises(UserError, match="2 ambient dimensions"):
        make(50, 3, ambient=2)


def test_shuffled_columns_keep_their_values_and_lose_their_relations():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 3)) @ rng.standard_normal((3, 6))
    shuffled = synthetic.shuffle_columns(X)
    np.testing.assert_allclose(np.sort(shuffled, axis=0), np.sort(X, axis=0))
    assert abs(np.corrcoef(shuffled.T)[np.triu_indices(6, 1)]).max() < 0.1


def test_a_gaussian_has_the_covariance_that_was_asked_for_even_without_full_rank():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 3)) @ rng.standard_normal((3, 6))
    covariance = np.cov(X.T)
    measured = np.cov(synthetic.gaussian(100_000, covariance).T)
    np.testing.assert_allclose(measured, covariance, atol=0.05 * covariance.max())


@pytest.mark.parametrize("dimension", [2, 7])
def test_a_ball_is_filled_evenly(dimension):
    """A share r^d of the points lies within the radius r, and the mean radius is d / (d + 1)."""
    radii = np.linalg.norm(synthetic.hyperball(20_000, dimension, seed=1), axis=1)
    assert radii.max() <= 1 + 1e-6
    assert radii.mean() == pytest.approx(dimension / (dimension + 1), abs=0.01)
    assert np.mean(radii < 0.8) == pytest.approx(0.8**dimension, abs=0.015)
