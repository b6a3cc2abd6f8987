"""Count how often the certificate of the scale rule `auto` is wrong, on clouds that set none of its
thresholds.

    python benchmarks/validate_scale.py [--quick] [--seeds 505 606] [--out FOLDER]

Families: Beta and Student densities, Gaussians, cubes and spheres; nonlinear embeddings in 100 and
1,000 dimensions, with noise; mixtures of two dimensions; power-law spectra; the benchmark
manifolds of scikit-dimension.

Writes clouds.csv, a row a cloud: what `auto` reads and at which scale, which of its two tests
refused ("scale", "law" or neither), whether it certifies, and whether that is wrong: off by more
than a tenth. A certificate for a mixture is always wrong, since a mixture has no one dimension.
Takes four minutes a seed on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from skdim.datasets import BenchmarkManifolds
from timing import table_arguments, write_unless_quick

from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.geometry.scale_rules import select_scale, with_dispersion
from georep_utils.geometry.scaling import gride_scaling

SIZE = 4000
TOLERANCE = 0.1  # relative error from which a certificate is wrong: what the rule promises
DIMENSIONS = (1, 2, 3, 4, 6, 8, 12)
BETAS = ((0.5, 0.5), (2, 2), (1, 4), (5, 1))
DEGREES = (2, 4, 8)  # of freedom, of Student's density
CUBE_NOISES = (0.0, 0.01, 0.05)  # over the cloud's size, as in EMBEDDINGS
EMBEDDINGS = ((100, 0.0), (100, 0.02), (1000, 0.0), (1000, 0.05))  # ambient dimension, noise
MIXTURES = ((1, 2), (1, 3), (2, 3), (2, 4), (2, 6), (3, 5), (4, 6), (5, 10))
SHARES = (0.5, 0.2)  # of the points that have the lower dimension of a mixture
SPECTRA = ((20, 0.5), (20, 1), (50, 1), (50, 2), (100, 1.5))  # dimension, power
QUICK_STEP = 30  # a quick run takes one cloud of so many

Cloud = tuple[str, float, np.ndarray]  # name, true dimension (NaN for a mixture), points


# ------------------------------------------------------------------------------------------- clouds


def clouds(seed: int) -> Iterator[Cloud]:
    """All clouds of one seed, made one after the other from the same stream of random numbers."""
    rng = np.random.default_rng(seed)
    for dimension in DIMENSIONS:
        yield from densities(dimension, rng)
        yield from shapes(dimension, rng)
    for low, high in MIXTURES:
        for share in SHARES:
            yield f"mixture {low} + {high}, {share:.0%}", np.nan, mixture(low, high, share, rng)
    for dimension, power in SPECTRA:
        deviations = np.arange(1.0, dimension + 1) ** -power
        points = rng.standard_normal((SIZE, dimension)) * deviations
        yield f"spectrum to the power -{power}", dimension, points
    yield from benchmark_manifolds(seed)


def densities(dimension: int, rng: np.random.Generator) -> Iterator[Cloud]:
    """Flat clouds whose density is not uniform."""
    size = (SIZE, dimension)
    for a, b in BETAS:
        yield f"Beta({a}, {b})", dimension, rotated(rng.beta(a, b, size), 0, rng)
    for degrees in DEGREES:
        yield f"Student {degrees}", dimension, rotated(rng.standard_t(degrees, size), 0, rng)
    yield "Gaussian", dimension, rotated(rng.standard_normal(size), 0, rng)


def shapes(dimension: int, rng: np.random.Generator) -> Iterator[Cloud]:
    """Curved, bounded and bent clouds, with and without noise."""
    directions = rng.standard_normal((SIZE, dimension + 1))
    on_sphere = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    yield "sphere", dimension, rotated(on_sphere, 0, rng)
    for noise in CUBE_NOISES:
        yield f"cube, noise {noise}", dimension, rotated(rng.random((SIZE, dimension)), noise, rng)
    for ambient, noise in EMBEDDINGS:
        inner = rng.standard_normal((SIZE, dimension))
        name = f"bent in {ambient}, noise {noise}"
        yield name, dimension, bent(inner, ambient, noise, rng)


def rotated(
    points: np.ndarray, noise: float, rng: np.random.Generator, ambient: int = 50
) -> np.ndarray:
    """The points in `ambient` dimensions, scaled to unit size, with noise of that share of it."""
    basis = np.linalg.qr(rng.standard_normal((ambient, points.shape[1])))[0]
    return noisy(points @ basis.T, noise, rng)


def bent(points: np.ndarray, ambient: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The points behind a random layer of tanh units and a random linear map."""
    inward = rng.standard_normal((points.shape[1], ambient)) / np.sqrt(points.shape[1])
    outward = rng.standard_normal((ambient, ambient)) / np.sqrt(ambient)
    units = np.tanh(points @ inward + 0.5 * rng.standard_normal(ambient))
    return noisy(units @ outward, noise, rng)


def noisy(points: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The points scaled to unit size, with isotropic noise whose length is that share of it."""
    points = points / np.sqrt(points.var(axis=0).sum())
    return points + noise * rng.standard_normal(points.shape) / np.sqrt(points.shape[1])


def mixture(low: int, high: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Two cubes of different dimension that do not touch."""
    first = int(share * SIZE)
    points = np.zeros((SIZE, max(low, high) + 1))
    points[:first, :low] = rng.random((first, low))
    points[first:, :high] = rng.random((SIZE - first, high))
    points[first:, -1] = 3  # three sides away
    return points


def benchmark_manifolds(seed: int) -> Iterator[Cloud]:
    """Those of scikit-dimension that have a known dimension."""
    made = BenchmarkManifolds(random_state=seed)
    dimensions = made.truth["Intrinsic Dimension"]
    for name, points in made.generate(n=SIZE).items():
        if name in dimensions.index:
            yield f"scikit-dimension {name}", float(dimensions[name]), points


# ------------------------------------------------------------------------------------------ reading


def read(name: str, dimension: float, points: np.ndarray) -> dict:
    """One cloud under `auto`: a row of the table."""
    near = nearest_neighbors(points.astype(np.float32), 2, 1024, "cpu")
    curve = with_dispersion(gride_scaling(near), near).assign(layer=0)
    chosen = select_scale(curve, "auto")
    value = float(chosen.profile["id"].iloc[0])
    # False for a mixture: its dimension is not a number.
    right = abs(value / dimension - 1) <= TOLERANCE
    here = chosen.diagnostics["scale"] == chosen.scale
    refused = chosen.diagnostics.loc[here, "refused"].iloc[0]
    certified = refused == ""
    return {
        "cloud": name,
        "dimension": dimension,
        "scale": chosen.scale,
        "id": value,
        "refused": refused,
        "certified": certified,
        "wrong": certified and not right,
    }


def main() -> None:
    parser = table_arguments(__doc__, "scale_rules")
    parser.add_argument("--seeds", type=int, nargs="+", default=[505, 606])
    options = parser.parse_args()
    step = QUICK_STEP if options.quick else 1
    rows = []
    for seed in options.seeds:
        rows += [{"seed": seed} | read(*cloud) for cloud in islice(clouds(seed), 0, None, step)]
    table = pd.DataFrame(rows)
    certified = table["certified"].sum()
    wrong = table["wrong"].sum()
    print(f"{len(table)} clouds, {certified} certified, {wrong} of these wrong")
    write_unless_quick(options, "clouds", table)


if __name__ == "__main__":
    main()
