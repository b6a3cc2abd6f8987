"""Near-copies are seen, removed, and told from an even cloud."""

import numpy as np
import pytest

from georep_utils.geometry import duplicates, ratio_law
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import UserError


@pytest.fixture(scope="module")
def cloud():
    return np.random.default_rng(0).standard_normal((1000, 8))


def with_copies(cloud, n=150):
    """The cloud, and near-copies of its first n points at the eratio_law."""
    rng = np.random.default_rng(1)
    return np.concatenate([cloud, cloud[:n] + 0.01 * rng.standard_normal((n, cloud.shape[1]))])


def test_near_copies_are_removed_and_nothing_else(cloud):
    found = duplicates.near_duplicates(nearest_neighbors(with_copies(cloud), 20, 2, "cpu"))
    assert np.array_equal(found.kept, np.arange(1000))
    assert np.array_equal(found.removed, np.arange(1000, 1150))
    assert len(duplicates.near_duplicates(nearest_neighbors(cloud, 20, 2, "cpu")).removed) == 0


def test_a_group_of_copies_keeps_one(cloud):
    points = np.concatenate([cloud, np.repeat(cloud[:1], 5, axis=0)])
    points[1000:] += 1e-3 * np.random.default_rng(2).standard_normal((5, 8))
    found = duplicates.near_duplicates(nearest_neighbors(points, 20, 2, "cpu"))
    assert list(found.removed) == [1000, 1001, 1002, 1003, 1004]


def test_the_dimension_hangs_on_the_fraction_only_with_copies(cloud):
    clean = nearest_neighbors(cloud, 2, 2, "cpu").distances[:, 1:3]
    copied = nearest_neighbors(with_copies(cloud, 50), 2, 2, "cpu").distances[:, 1:3]
    assert not ratio_law.id_by_fraction(clean)["disagree"].any()
    assert ratio_law.id_by_fraction(copied)["disagree"].all()


def test_the_ratios_of_an_even_cloud_follow_the_law_and_those_of_a_mixture_do_not():
    rng = np.random.default_rng(3)
    pure = ratio_law.pareto_test(rng.pareto(5, 2000) + 1)
    mixed = ratio_law.pareto_test(np.concatenate([rng.pareto(2, 1000), rng.pareto(6, 1000)]) + 1)
    assert pure.p_value > 0.05
    assert pure.id == pytest.approx(5, rel=0.1)
    assert mixed.p_value < 0.01
    assert mixed.distance > pure.distance


def test_the_test_of_the_law_has_its_level():
    rng = np.random.default_rng(4)
    p_values = [ratio_law.pareto_test(rng.pareto(3, 300) + 1).p_value for _ in range(200)]
    assert np.mean(np.array(p_values) < 0.05) < 0.1


def test_the_curve_of_the_law_is_a_line():
    curve = ratio_law.pareto_curve(np.random.default_rng(5).pareto(4, 5000) + 1)
    assert np.allclose(curve["fitted"][:4000], curve["minus_log_survival"][:4000], atol=0.1)


def test_too_few_neighbours_or_ratios_are_refused(cloud):
    with pytest.raises(UserError, match="maxk of 10"):
        duplicates.near_duplicates(nearest_neighbors(cloud, 5, 2, "cpu"))
    with pytest.raises(UserError, match="between 0 and 1"):
        duplicates.near_duplicates(nearest_neighbors(cloud, 20, 2, "cpu"), share=2)
    with pytest.raises(UserError, match="20 or more"):
        ratio_law.pareto_test(np.full(100, np.inf))
    with pytest.raises(UserError, match="0 of 0 ratios"):
        ratio_law.pareto_test(np.array([]))
    with pytest.raises(UserError, match="all 50 usable ratios r_2 / r_1 are 1"):
        ratio_law.pareto_test(np.ones(50))
    some_copies = np.r_[np.full(5, np.inf), 1 + np.random.default_rng(6).pareto(4, 500)]
    assert ratio_law.pareto_test(some_copies).id == pytest.approx(4, rel=0.2)
