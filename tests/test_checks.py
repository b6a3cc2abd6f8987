"""Checks of a profile: what a Gaussian reads, a second estimator, and the law of the ratios."""

from dataclasses import dataclass

import numpy as np
import pytest

from georep_utils.geometry import checks, profiles, synthetic
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.geometry.scale_rules import select_scale

N = 1200
TWONN = {"decimations": (1, 2, 4), "n_repetitions": 4, "seed": 0, "device": "cpu"}


@dataclass
class Arrays:
    """Layers in memory, as the functions want them."""

    points: dict[int, np.ndarray]
    n_blocks: int = 1

    @property
    def layers(self):
        return tuple(self.points)

    def __getitem__(self, layer):
        return self.points[layer]

    def neighbors(self, layer):
        return nearest_neighbors(self.points[layer], 10, 64, "cpu")


@pytest.fixture(scope="module")
def cloud():
    """A sphere, and the same where a fifth of the points have a near-copy."""
    sphere = synthetic.sphere(N, 6, seed=1)
    shift = np.random.default_rng(2).standard_normal((N // 5, sphere.shape[1]))
    copied = sphere.copy()
    copied[: N // 5] = copied[N // 5 : 2 * (N // 5)] + 1e-3 * shift
    return Arrays({0: sphere, 1: copied.astype(np.float32)})


@pytest.fixture(scope="module")
def curves(cloud):
    return profiles.measure(cloud, [0, 1], **TWONN)


@pytest.fixture(scope="module")
def table(cloud, curves):
    return checks.ratio_checks(cloud, [0, 1], curves)


def test_a_gaussian_reads_right_in_few_dimensions_and_short_in_many(curves):
    read = checks.ceiling(N, select_scale(curves), (2, 5, 100), **TWONN).set_index("dimension").id
    assert read[2] == pytest.approx(2, rel=0.15)
    assert read[5] == pytest.approx(5, rel=0.15)
    assert 15 < read[100] < 70


def test_abide_is_right_on_a_sphere_and_its_test_accepts_it():
    cloud = Arrays({0: synthetic.sphere(N, 2, seed=1)})
    found = checks.abide(cloud, [0]).iloc[0]
    assert found.id == pytest.approx(2, rel=0.1)
    assert found.p > 0.05 and found.neighbors > 5


def test_abide_refuses_a_mixture_and_is_the_same_every_time():
    rng = np.random.default_rng(0)
    points = np.zeros((800, 9))
    points[:400, :2] = rng.random((400, 2))
    points[400:, :8] = rng.random((400, 8))
    points[400:, 8] = 5
    mixed = Arrays({0: points.astype(np.float32)})
    found = checks.abide(mixed, [0])
    assert found.p[0] < 0.05
    assert found.equals(checks.abide(mixed, [0]))


def test_a_sphere_has_the_law_and_raises_no_alarm(table):
    clean = table.loc[0]
    assert clean.p > 0.05 and clean.gap < 0.04
    assert not clean.apart and not clean.rises
    assert clean.near == 0


def test_near_copies_are_seen_in_every_way(table):
    copied = table.loc[1]
    assert copied.apart and copied.rises
    assert copied.p < 0.01 and copied.gap > 0.1
    assert copied.near == N // 5
    assert copied.short > 0.3 and table.short[0] < 0.05
    assert copied.by_chance < 1


def test_a_rise_within_the_errors_and_a_single_scale_are_no_rise(curves):
    twonn = curves[curves.method == "twonn"]
    assert checks.rises_with_decimation(twonn).tolist() == [False, True]
    assert not checks.rises_with_decimation(twonn.assign(id_err=10.0)).any()
    assert not checks.rises_with_decimation(twonn[twonn.scale == 1]).any()
