"""Clouds of known dimension for the certificate of the scale rule `auto`, in two sets of families.

`DESIGN`: the thresholds of the certificate were set on these, and on nothing else. Balls and tori,
without and with noise; densities that rise to the edge of a ball, von Mises on a torus, Laplace,
log-normal, gamma, triangular, piled up at the sides of a cube; random Fourier features with noise;
clusters; bent cubes, Swiss rolls, coils, closed curves with noise; mixtures of balls or tori;
spectra that fall geometrically.

`VALIDATION`: certificates are counted on these. Beta and Student densities, without and with
noise; cubes behind random layers of tanh units in 100 to 1,000 dimensions, with noise; mixtures
of two dimensions, apart or one within the other; spectra that fall as a power; the 24 benchmark
manifolds of scikit-dimension, and again from other seeds. The families were listed before the first
of these clouds was read by the rule with its present thresholds. One thing was known of them: with
twice the present `MAX_BIAS` and any growth of distances, Beta(0.5, 0.5) in 12 dimensions had been
certified once, wrongly, as 8.4.

`PARTS`: a square with a small part of another dimension. The certificate is known to be blind
there; it is counted how blind, apart from the validation.

Each cloud is made from its own number, so that any of them can be made again without the others.
This file is no benchmark. `validate_scale.py` imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from skdim.datasets import BenchmarkManifolds

from georep_utils.geometry import synthetic

# More clouds of low dimension, since almost all certificates are for these.
DIMENSIONS = (1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 8, 12)
SIZES = (1000, 2000, 4000, 10000)
SIZE_SHARES = (0.35, 0.39, 0.25, 0.01)


@dataclass(frozen=True)
class Cloud:
    """name; dimension: the true one, NaN for a mixture; points: (N, width)."""

    name: str
    dimension: float
    points: np.ndarray


Family = Callable[[np.random.Generator], Cloud]


def make(families: tuple[Family, ...], seed: int, number: int) -> Cloud:
    """Cloud of that number: the families take turns, everything else is drawn."""
    return families[number % len(families)](np.random.default_rng([seed, number]))


# ------------------------------------------------------------------------------------------- shared


def size(rng: np.random.Generator) -> int:
    """Number of points of a cloud."""
    return int(rng.choice(SIZES, p=SIZE_SHARES))


def dimension_of(rng: np.random.Generator, highest: int = 12) -> int:
    """Dimension of a cloud."""
    return int(rng.choice([d for d in DIMENSIONS if d <= highest]))


def rotated(points: np.ndarray, ambient: int, rng: np.random.Generator) -> np.ndarray:
    """The points in `ambient` dimensions."""
    basis = np.linalg.qr(rng.standard_normal((ambient, points.shape[1])))[0]
    return points @ basis.T


def noisy(points: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The points scaled to unit size, with isotropic noise whose length is that share of it."""
    points = points / np.sqrt(points.var(axis=0).sum())
    return points + noise * rng.standard_normal(points.shape) / np.sqrt(points.shape[1])


def on_sphere(n: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform directions."""
    points = rng.standard_normal((n, width))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def ball(n: int, d: int, rng: np.random.Generator, rise: float = 1.0) -> np.ndarray:
    """Points in the unit ball; uniform for rise 1, denser towards the edge above, the centre
    below.
    """
    return on_sphere(n, d, rng) * rng.random((n, 1)) ** (1 / (d * rise))


def circles(angles: np.ndarray) -> np.ndarray:
    """The torus with these angles."""
    return np.hstack([np.cos(angles), np.sin(angles)])


# ------------------------------------------------------------------------------------------- design


def balls(rng: np.random.Generator) -> Cloud:
    d = dimension_of(rng)
    noise = rng.choice([0, 0.01, 0.03])
    points = noisy(rotated(ball(size(rng), d, rng), 40, rng), noise, rng)
    return Cloud(f"ball, noise {noise:g}", d, points)


def edges(rng: np.random.Generator) -> Cloud:
    d = dimension_of(rng)
    rise = rng.choice([0.5, 2, 5])
    return Cloud(f"ball, rise {rise:g}", d, ball(size(rng), d, rng, rise))


def tori(rng: np.random.Generator) -> Cloud:
    d = dimension_of(rng)
    noise = rng.choice([0, 0.01, 0.03])
    points = circles(2 * np.pi * rng.random((size(rng), d)))
    return Cloud(f"torus, noise {noise:g}", d, noisy(rotated(points, 60, rng), noise, rng))


def von_mises(rng: np.random.Generator) -> Cloud:
    d = dimension_of(rng)
    kappa = rng.choice([0.5, 2])
    return Cloud(f"von Mises {kappa:g}", d, circles(rng.vonmises(0, kappa, (size(rng), d))))


def other_densities(rng: np.random.Generator) -> Cloud:
    d = dimension_of(rng)
    shape = (size(rng), d)
    densities = {
        "Laplace": lambda: rng.laplace(size=shape),
        "log-normal": lambda: rng.lognormal(0, 1, shape),
        "gamma": lambda: rng.gamma(0.5, size=shape),
        "triangular": lambda: rng.triangular(-1, 0, 1, shape),
        "piled up": lambda: np.tanh(2 * rng.standard_normal(shape)),
        "sine of sine": lambda: np.sin(np.pi / 2 * np.sin(np.pi * (rng.random(shape) - 0.5))),
    }
    name = str(rng.choice(list(densities)))
    return Cloud(name, d, densities[name]())


def fourier(rng: np.random.Generator) -> Cloud:
    d = dimension_of(rng)
    frequency = rng.choice([1, 3])
    noise = rng.choice([0, 0.02])
    directions = rng.standard_normal((d, 200)) * frequency / np.sqrt(d)
    features = np.cos(rng.random((size(rng), d)) @ directions + 2 * np.pi * rng.random(200))
    return Cloud(f"Fourier {frequency}, noise {noise:g}", d, noisy(features, noise, rng))


def clusters(rng: np.random.Generator) -> Cloud:
    d = dimension_of(rng)
    n = size(rng)
    centres = 4 * rng.standard_normal((10, d))
    points = centres[rng.integers(10, size=n)] + rng.standard_normal((n, d))
    return Cloud("clusters", d, points)


def bent_cubes(rng: np.random.Generator) -> Cloud:
    d = dimension_of(rng)
    noise = rng.choice([0, 0.01])
    points = synthetic.curved(size(rng), d, 2 * d + 5, noise, int(rng.integers(2**31)))
    return Cloud(f"bent cube, noise {noise:g}", d, points)


def rolls(rng: np.random.Generator) -> Cloud:
    d = max(2, dimension_of(rng))
    return Cloud("roll", d, synthetic.swiss_roll(size(rng), d, seed=int(rng.integers(2**31))))


def coils(rng: np.random.Generator) -> Cloud:
    """A curve around an axis, times a cube: at a large scale a filled cylinder."""
    d = dimension_of(rng, 4)
    n = size(rng)
    turns, pitch = [(4, 0.3), (10, 0.3), (20, 0.1)][rng.integers(3)]
    along = rng.random((n, 1))
    around = circles(2 * np.pi * turns * along)
    points = np.hstack([around, pitch * turns * along, pitch * turns * rng.random((n, d - 1))])
    return Cloud(f"coil of {turns} turns", d, points)


def curves(rng: np.random.Generator) -> Cloud:
    waves = np.arange(1, rng.choice([3, 10]) + 1)
    noise = rng.choice([0, 0.01, 0.03])
    angles = 2 * np.pi * rng.random((size(rng), 1)) * waves
    across = rng.standard_normal((2 * len(waves), 10)) / np.tile(np.sqrt(waves), 2)[:, None]
    return Cloud(f"curve, noise {noise:g}", 1, noisy(circles(angles) @ across, noise, rng))


def design_mixtures(rng: np.random.Generator) -> Cloud:
    pairs = [(1, 2), (1, 3), (1, 5), (2, 3), (2, 4), (2, 8), (3, 4), (3, 6), (4, 5), (4, 8)]
    low, high = pairs[rng.integers(len(pairs))]
    share = rng.choice([0.5, 0.2])
    n = size(rng)
    few = int(share * n)
    kind = str(rng.choice(["balls", "tori", "balls of one spacing"]))
    if kind == "tori":
        first = circles(2 * np.pi * rng.random((few, low)))
        second = circles(2 * np.pi * rng.random((n - few, high)))
    else:
        first = ball(few, low, rng)
        second = ball(n - few, high, rng)
    away = 0 if kind == "balls" else 4
    if kind == "balls of one spacing":
        first *= (n - few) ** (-1 / high) / few ** (-1 / low)
        away += np.abs(first).max()
    name = f"mixture of {kind}, {low} + {high}, {share:.0%}"
    return Cloud(name, np.nan, side_by_side(first, second, away))


def side_by_side(first: np.ndarray, second: np.ndarray, away: float) -> np.ndarray:
    """Two clouds of different width in one space, that far apart in a direction of its own."""
    few = len(first)
    points = np.zeros((few + len(second), max(first.shape[1], second.shape[1]) + 1))
    points[:few, : first.shape[1]] = first
    points[few:, : second.shape[1]] = second
    points[few:, -1] = away
    return points


def geometric_spectra(rng: np.random.Generator) -> Cloud:
    options = [(10, 0.3), (5, 0.5), (10, 0.5), (10, 0.7), (20, 0.7), (30, 0.85), (60, 0.95)]
    width, ratio = options[rng.integers(len(options))]
    shape = (size(rng), width)
    draw = rng.standard_normal if rng.random() < 0.5 else rng.random
    return Cloud(f"geometric {ratio}", width, draw(shape) * ratio ** np.arange(width))


DESIGN = (
    balls,
    edges,
    tori,
    von_mises,
    other_densities,
    other_densities,
    fourier,
    clusters,
    bent_cubes,
    rolls,
    coils,
    curves,
    design_mixtures,
    design_mixtures,
    geometric_spectra,
)


# --------------------------------------------------------------------------------------- validation

NOISES = (0, 0, 0.01, 0.05)  # over the cloud's size
SHARES = (0.5, 0.2)  # of the points that have the lower dimension of a mixture
MIXTURES = ((1, 2), (1, 3), (2, 3), (2, 4), (2, 6), (3, 5), (4, 6), (5, 10))
SPECTRA = ((10, 2), (20, 0.5), (20, 1), (20, 3), (50, 1), (50, 2), (100, 1.5))  # width, power


def beta(rng: np.random.Generator) -> Cloud:
    d = dimension_of(rng)
    a, b = rng.choice([0.5, 1, 2, 5], 2)
    noise = rng.choice(NOISES)
    points = noisy(rotated(rng.beta(a, b, (size(rng), d)), 50, rng), noise, rng)
    return Cloud(f"Beta({a:g}, {b:g}), noise {noise:g}", d, points)


def student(rng: np.random.Generator) -> Cloud:
    d = dimension_of(rng)
    degrees = rng.choice([2, 3, 4, 8])
    noise = rng.choice(NOISES)
    points = noisy(rotated(rng.standard_t(degrees, (size(rng), d)), 50, rng), noise, rng)
    return Cloud(f"Student {degrees}, noise {noise:g}", d, points)


def embedded(rng: np.random.Generator) -> Cloud:
    """A cube or a Gaussian behind a random layer of tanh units and a random linear map."""
    d = dimension_of(rng)
    width = int(rng.choice([100, 300, 1000], p=[0.5, 0.4, 0.1]))
    n = min(size(rng), 4000)
    inner = rng.standard_normal((n, d)) if rng.random() < 0.5 else 3 * (rng.random((n, d)) - 0.5)
    inward = rng.standard_normal((d, width)) / np.sqrt(d)
    outward = rng.standard_normal((width, width)) / np.sqrt(width)
    units = np.tanh(inner @ inward + 0.5 * rng.standard_normal(width))
    noise = rng.choice(NOISES)
    return Cloud(f"embedded in {width}, noise {noise:g}", d, noisy(units @ outward, noise, rng))


def mixtures(rng: np.random.Generator) -> Cloud:
    low, high = MIXTURES[rng.integers(len(MIXTURES))]
    share = rng.choice(SHARES)
    n = size(rng)
    few = int(share * n)
    if rng.random() < 0.5:
        points = side_by_side(rng.random((few, low)), rng.random((n - few, high)), 3)
        place = "apart"
    else:
        first = rng.standard_normal((few, low))
        points = side_by_side(first, rng.standard_normal((n - few, high)), 0)
        place = "within"
    return Cloud(f"mixture {low} + {high}, {share:.0%}, {place}", np.nan, points)


def power_spectra(rng: np.random.Generator) -> Cloud:
    width, power = SPECTRA[rng.integers(len(SPECTRA))]
    deviations = np.arange(1.0, width + 1) ** -power
    points = rng.standard_normal((size(rng), width)) * deviations
    return Cloud(f"spectrum to the power -{power}", width, points)


def of_scikit_dimension(made: BenchmarkManifolds, name: str, n: int) -> Cloud:
    """One of its manifolds, with the dimension and the width of its table."""
    truth = made.truth.loc[name]
    d = int(truth["Intrinsic Dimension"])
    points = made.generate(name, n=n, dim=int(truth["Number of variables"]), d=d)
    return Cloud(name, d, points)


def benchmark_manifolds(rng: np.random.Generator) -> Cloud:
    """One of scikit-dimension's, as it makes them."""
    made = BenchmarkManifolds(random_state=int(rng.integers(2**31)))
    name = str(rng.choice(made.truth.index))
    cloud = of_scikit_dimension(made, name, min(size(rng), 4000))
    return replace(cloud, name=f"scikit-dimension {name}")


def every_benchmark_manifold(n: int, seed: int = 0) -> Iterator[Cloud]:
    """All of scikit-dimension's, in the order of its table, with n points each."""
    made = BenchmarkManifolds(random_state=seed)
    for name in made.truth.index:
        yield of_scikit_dimension(made, str(name), n)


VALIDATION = (
    beta,
    student,
    embedded,
    mixtures,
    beta,
    student,
    embedded,
    benchmark_manifolds,
    beta,
    student,
    embedded,
    mixtures,
    beta,
    power_spectra,
    embedded,
    benchmark_manifolds,
)


# ------------------------------------------------------------------------------------- small parts

PART_SHARES = (0.1, 0.05, 0.02)


def parts(rng: np.random.Generator) -> Cloud:
    """A square, a part of whose points lie in a distant cube."""
    share = rng.choice(PART_SHARES)
    other = int(rng.choice([1, 3, 6]))
    n = 2000
    few = int(share * n)
    points = side_by_side(rng.random((few, other)), rng.random((n - few, 2)), 3)
    return Cloud(f"square, {share:.0%} of dimension {other}", np.nan, points)


PARTS = (parts,)
