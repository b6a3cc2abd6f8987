"""Try the certificate of the scale rule `auto` on clouds that did not shape it, and count how
often it is wrong.

    python benchmarks/validate_scale.py [--quick] [--seeds 505 ...] [--out FOLDER]

Families: Beta and Student densities, Gaussians, cubes and spheres; nonlinear embeddings in 100 and
1,000 dimensions, with noise; mixtures of two dimensions; power-law spectra; the benchmark
manifolds of scikit-dimension where that is installed. Writes clouds.csv: what `auto` reads,
whether it certifies, and whether that is wrong, that is, off by more than a tenth. A certificate
for a mixture is always wrong. Takes four minutes a seed on one core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

# The path to the package is set above, so these come late.
from georep_utils.geometry.neighbors import nearest_neighbors  # noqa: E402  (see above)
from georep_utils.geometry.scale_rules import select_scale, with_dispersion  # noqa: E402
from georep_utils.geometry.scaling import gride_scaling  # noqa: E402  (see above)

SIZE = 4000
DIMENSIONS = (1, 2, 3, 4, 6, 8, 12)
BETAS = ((0.5, 0.5), (2, 2), (1, 4), (5, 1))
MIXTURES = ((1, 2), (1, 3), (2, 3), (2, 4), (2, 6), (3, 5), (4, 6), (5, 10))
SPECTRA = ((20, 0.5), (20, 1), (50, 1), (50, 2), (100, 1.5))
# ambient dimension, noise over the cloud's size
EMBEDDINGS = ((100, 0.0), (100, 0.02), (1000, 0.0), (1000, 0.05))


def rotated(
    points: np.ndarray, noise: float, rng: np.random.Generator, ambient: int = 50
) -> np.ndarray:
    """The points in `ambient` dimensions, scaled to unit size, with noise of that share of it."""
    basis = np.linalg.qr(rng.standard_normal((ambient, points.shape[1])))[0]
    return noisy(points @ basis.T, noise, rng)


def bent(points: np.ndarray, ambient: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The points behind a random layer of tanh units and a random rotation."""
    inward = rng.standard_normal((points.shape[1], ambient)) / np.sqrt(points.shape[1])
    outward = rng.standard_normal((ambient, ambient)) / np.sqrt(ambient)
    return noisy(
        np.tanh(points @ inward + 0.5 * rng.standard_normal(ambient)) @ outward, noise, rng
    )


def noisy(points: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    points = points / np.sqrt(points.var(axis=0).sum())
    return points + noise * rng.standard_normal(points.shape) / np.sqrt(points.shape[1])


def mixture(low: int, high: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Two cubes of different dimension that do not touch."""
    first = int(share * SIZE)
    points = np.zeros((SIZE, max(low, high) + 1))
    points[:first, :low] = rng.random((first, low))
    points[first:, :high] = rng.random((SIZE - first, high))
    points[first:, -1] = 3
    return points


def clouds(seed: int) -> Iterator[tuple[str, float, np.ndarray]]:
    """Name, true dimension (NaN for a mixture) and points."""
    rng = np.random.default_rng(seed)
    for d in DIMENSIONS:
        for a, b in BETAS:
            yield f"Beta({a}, {b})", d, rotated(rng.beta(a, b, (SIZE, d)), 0, rng)
        for degrees in (2, 4, 8):
            yield f"Student {degrees}", d, rotated(rng.standard_t(degrees, (SIZE, d)), 0, rng)
        yield "Gaussian", d, rotated(rng.standard_normal((SIZE, d)), 0, rng)
        directions = rng.standard_normal((SIZE, d + 1))
        yield (
            "sphere",
            d,
            rotated(directions / np.linalg.norm(directions, axis=1, keepdims=True), 0, rng),
        )
        for noise in (0.0, 0.01, 0.05):
            yield f"cube, noise {noise}", d, rotated(rng.random((SIZE, d)), noise, rng)
        for ambient, noise in EMBEDDINGS:
            name = f"bent in {ambient}, noise {noise}"
            yield name, d, bent(rng.standard_normal((SIZE, d)), ambient, noise, rng)
    for low, high in MIXTURES:
        for share in (0.5, 0.2):
            yield f"mixture {low} + {high}, {share:.0%}", np.nan, mixture(low, high, share, rng)
    for d, power in SPECTRA:
        yield (
            f"spectrum to the power -{power}",
            d,
            rng.standard_normal((SIZE, d)) * np.arange(1.0, d + 1) ** -power,
        )
    yield from benchmark_manifolds(seed)


def benchmark_manifolds(seed: int) -> Iterator[tuple[str, float, np.ndarray]]:
    """Those of scikit-dimension, if it is installed."""
    try:
        from skdim.datasets import BenchmarkManifolds
    except ImportError:
        return
    made = BenchmarkManifolds(random_state=seed)
    for name, points in made.generate(n=SIZE).items():
        if name in made.truth.index:
            yield (
                f"scikit-dimension {name}",
                float(made.truth.loc[name, "Intrinsic Dimension"]),
                points,
            )


def read(name: str, dimension: float, points: np.ndarray) -> dict:
    """One cloud under `auto`."""
    table = nearest_neighbors(points.astype(np.float32), 2, 1024, "cpu")
    chosen = select_scale(with_dispersion(gride_scaling(table), table).assign(layer=0), "auto")
    value = float(chosen.profile["id"].iloc[0])
    right = abs(value / dimension - 1) <= 0.1  # False for a mixture: its dimension is not a number
    flattest = chosen.diagnostics["bias"].idxmin()
    refused = chosen.diagnostics.loc[flattest, "refused"]
    certified = refused == ""
    facts = {"cloud": name, "dimension": dimension, "scale": chosen.scale, "id": value}
    return facts | {"refused": refused, "certified": certified, "wrong": certified and not right}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few clouds, to see that it runs; nothing is written"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[505, 606])
    parser.add_argument("--out", type=Path, default=REPOSITORY / "book/results/scale_rule")
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        for number, cloud in enumerate(clouds(seed)):
            if number % 30 == 0 or not options.quick:
                rows.append({"seed": seed} | read(*cloud))
    table = pd.DataFrame(rows)
    certified = table["certified"].sum()
    wrong = table["wrong"].sum()
    print(f"{len(table)} clouds, {certified} certified, {wrong} of these wrong")
    if not options.quick:
        options.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.out / "clouds.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
