"""Clouds of known dimension, and clouds without one: what an estimate is held against.

An estimator is worth what it says where the answer is known. The manifolds here differ in the ways
that mislead estimators of dimension:

* `hypercube` and `hyperball` are flat and have a *boundary*, where half of the neighbours are
  missing: estimates are too low;
* `sphere` has constant *curvature*, `curved` has bends: estimates are too high at large scales;
* `torus` (a product of circles) has neither boundary nor curvature of its own; `swiss_roll` is
  flat, but its turns come *close to each other*;
* `gaussian` has full rank, a density that changes everywhere, and no lower dimension to be found;
* `shuffle_columns` takes the relations out of data and leaves each feature as it was.

Every manifold can be rotated at random into a space of more dimensions (`ambient`), which changes
no distance, and blurred by isotropic noise.

scikit-dimension's `skdim.datasets` has balls, spheres and Gaussians of the same law; its torus and
its Swiss roll are other manifolds. All are written here nevertheless, because the chapter on
controls was made from these streams of random numbers: another generator of the same law would
change every number in it.
"""

from __future__ import annotations

import numpy as np

from georep_utils.io import UserError


def hyperball(
    n: int, dimension: int, ambient: int | None = None, noise: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Return points that are uniform in the unit ball.

    Parameters
    ----------
    n : int
        Points.
    dimension : int
        Of the manifold.
    ambient : int, optional
        Coordinates to embed it in; None for as many as it needs.
    noise : float
        Standard deviation of the isotropic noise that is added to each coordinate.
    seed : int
        Of points, rotation and noise.

    Returns
    -------
    (n, ambient) array of float32

    Raises
    ------
    UserError
        `ambient` is less than the manifold needs.
    """
    rng = np.random.default_rng(seed)
    # A random direction, and a radius whose d-th power is uniform, as the volume within it is.
    points = rng.standard_normal((n, dimension))
    radius = rng.random((n, 1)) ** (1 / dimension)
    points *= radius / np.linalg.norm(points, axis=1, keepdims=True)
    return _embed(points, ambient, noise, rng)


def hypercube(
    n: int, dimension: int, ambient: int | None = None, noise: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Return points (n, ambient) that are uniform in the unit cube. Parameters: `hyperball`."""
    rng = np.random.default_rng(seed)
    return _embed(rng.random((n, dimension)), ambient, noise, rng)


def sphere(
    n: int, dimension: int, ambient: int | None = None, noise: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Return points (n, ambient) that are uniform on the unit sphere. Parameters: `hyperball`.

    A sphere of dimension d needs d + 1 coordinates.
    """
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, dimension + 1))
    return _embed(points / np.linalg.norm(points, axis=1, keepdims=True), ambient, noise, rng)


def torus(
    n: int, dimension: int, ambient: int | None = None, noise: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Return points (n, ambient) that are uniform on the flat torus. Parameters: `hyperball`.

    It is a product of unit circles, and needs two coordinates for each.
    """
    rng = np.random.default_rng(seed)
    angles = 2 * np.pi * rng.random((n, dimension))
    return _embed(np.hstack([np.cos(angles), np.sin(angles)]), ambient, noise, rng)


def swiss_roll(
    n: int, dimension: int = 2, ambient: int | None = None, noise: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Return points (n, ambient) that are uniform on a Swiss roll. Parameters: `hyperball`.

    A spiral whose angle and radius go from 1.5 pi to 4.5 pi, times a cube of dimension - 1 with
    side 21. It needs dimension + 1 coordinates.
    """
    rng = np.random.default_rng(seed)
    # The spiral's arc length has no inverse in closed form: it is tabulated and interpolated, so
    # that points are uniform in length rather than in angle.
    turns = np.linspace(1.5 * np.pi, 4.5 * np.pi, 4096)
    length = (turns * np.sqrt(1 + turns**2) + np.arcsinh(turns)) / 2
    angle = np.interp(rng.uniform(length[0], length[-1], n), length, turns)
    spiral = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1)
    across = 21 * rng.random((n, dimension - 1))
    return _embed(np.hstack([spiral, across]), ambient, noise, rng)


def curved(
    n: int, dimension: int, ambient: int | None = None, noise: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Return points (n, ambient) of a smooth graph over the unit cube. Parameters: `hyperball`.

    Beside each point u of the cube stand as many bends, sin(2 a.u) / 2, with orthonormal directions
    a drawn at random. It needs twice as many coordinates as dimensions.
    """
    rng = np.random.default_rng(seed)
    flat = rng.random((n, dimension))
    directions = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    bends = np.sin(2 * flat @ directions) / 2
    return _embed(np.hstack([flat, bends]), ambient, noise, rng)


def gaussian(n: int, covariance: int | np.ndarray, seed: int = 0) -> np.ndarray:
    """Return normal points (n, d).

    Parameters
    ----------
    n : int
        Points.
    covariance : int or (d, d) array
        A dimension d stands for the identity.
    seed : int
        Of the points.

    Returns
    -------
    (n, d) array of float32
    """
    rng = np.random.default_rng(seed)
    if np.ndim(covariance) == 0:
        return rng.standard_normal((n, int(covariance))).astype(np.float32)
    variances, axes = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
    # Where the covariance has no full rank, rounding makes some variances less than zero.
    deviations = np.sqrt(np.clip(variances, 0, None))
    points = (rng.standard_normal((n, len(deviations))) * deviations) @ axes.T
    return points.astype(np.float32)


def shuffle_columns(X: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return a copy of X (n, d) in which each column is permuted over the points, by itself.

    Every feature keeps its distribution, and all relations between features are gone.
    """
    return np.random.default_rng(seed).permuted(X, axis=0)


def _embed(
    points: np.ndarray, ambient: int | None, noise: float, rng: np.random.Generator
) -> np.ndarray:
    """Rotate points (n, d) at random into `ambient` coordinates, and add noise to all of them."""
    needed = points.shape[1]
    width = needed if ambient is None else ambient
    if width < needed:
        raise UserError(
            f"{width} ambient dimensions can't hold this manifold: it needs {needed} or more"
        )
    if width > needed:
        axes = np.linalg.qr(rng.standard_normal((width, needed)))[0]
        points = points @ axes.T
    return (points + noise * rng.standard_normal(points.shape)).astype(np.float32)
