"""Point clouds of known dimension, and clouds without one: the controls that an estimated dimension is held against."""

from __future__ import annotations

import numpy as np

from georep_utils.io import UserError


def _embed(points: np.ndarray, ambient: int | None, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Rotate (n, d) points into `ambient` coordinates at random, then add isotropic noise of that deviation."""
    width = points.shape[1] if ambient is None else ambient
    if width < points.shape[1]:
        raise UserError(f"{width} ambient dimensions can't hold this manifold: it needs {points.shape[1]} or more")
    if width > points.shape[1]:
        points = points @ np.linalg.qr(rng.standard_normal((width, points.shape[1])))[0].T
    return (points + noise * rng.standard_normal(points.shape)).astype(np.float32)


def hyperball(n: int, dimension: int, ambient: int | None = None, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(n, ambient) points, uniform in the unit ball of that dimension. It has a boundary and no curvature."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, dimension))
    points *= rng.random((n, 1)) ** (1 / dimension) / np.linalg.norm(points, axis=1, keepdims=True)
    return _embed(points, ambient, noise, rng)


def hypercube(n: int, dimension: int, ambient: int | None = None, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(n, ambient) points, uniform in the unit cube of that dimension."""
    rng = np.random.default_rng(seed)
    return _embed(rng.random((n, dimension)), ambient, noise, rng)


def sphere(n: int, dimension: int, ambient: int | None = None, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(n, ambient) points, uniform on the unit sphere of that dimension (so in dimension + 1 coordinates)."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, dimension + 1))
    return _embed(points / np.linalg.norm(points, axis=1, keepdims=True), ambient, noise, rng)


def torus(n: int, dimension: int, ambient: int | None = None, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(n, ambient) points, uniform on the flat torus: a product of unit circles, no boundary, 2 dimension coordinates."""
    rng = np.random.default_rng(seed)
    angles = 2 * np.pi * rng.random((n, dimension))
    return _embed(np.hstack([np.cos(angles), np.sin(angles)]), ambient, noise, rng)


def swiss_roll(n: int, dimension: int = 2, ambient: int | None = None, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(n, ambient) points of a spiral of 1.5 to 4.5 pi, uniform in length, times a cube of dimension - 1 with side 21."""
    rng = np.random.default_rng(seed)
    turns = np.linspace(1.5 * np.pi, 4.5 * np.pi, 4096)
    length = (turns * np.sqrt(1 + turns**2) + np.arcsinh(turns)) / 2
    angle = np.interp(rng.uniform(length[0], length[-1], n), length, turns)
    spiral = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1)
    return _embed(np.hstack([spiral, 21 * rng.random((n, dimension - 1))]), ambient, noise, rng)


def curved(n: int, dimension: int, ambient: int | None = None, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(n, ambient) points of a smooth graph: uniform cube coordinates u, and as many bends sin(2 a.u) beside them."""
    rng = np.random.default_rng(seed)
    flat = rng.random((n, dimension))
    directions = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    return _embed(np.hstack([flat, np.sin(2 * flat @ directions) / 2]), ambient, noise, rng)


def moebius(n: int, dimension: int = 2, ambient: int | None = None, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(n, ambient) points of a Moebius strip with one half turn, of width 1 about a unit circle. Its dimension is 2."""
    if dimension != 2:
        raise UserError(f"a Moebius strip has dimension 2, not {dimension}: ask for dimension 2")
    rng = np.random.default_rng(seed)
    angle, across = 2 * np.pi * rng.random(n), rng.random(n) - 0.5
    ring = 1 + across * np.cos(angle / 2)
    points = np.stack([ring * np.cos(angle), ring * np.sin(angle), across * np.sin(angle / 2)], axis=1)
    return _embed(points, ambient, noise, rng)


def gaussian(n: int, covariance: int | np.ndarray, seed: int = 0) -> np.ndarray:
    """(n, d) normal points; `covariance` is a (d, d) matrix, or a dimension d for the identity. Full rank, no plateau."""
    rng = np.random.default_rng(seed)
    if np.ndim(covariance) == 0:
        return rng.standard_normal((n, int(covariance))).astype(np.float32)
    values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
    return ((rng.standard_normal((n, len(values))) * np.sqrt(np.clip(values, 0, None))) @ vectors.T).astype(np.float32)


def shuffle_columns(X: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n, d) copy of X, each column permuted by itself: the same marginals, no relation between the features."""
    return np.random.default_rng(seed).permuted(X, axis=0)
