"""The neighbours are those of brute force in float64, whatever the data, the block, the device or the number of threads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from georep_utils.geometry import neighbors as room
from georep_utils.geometry.neighbors import concatenate, load, nearest_neighbors, save
from georep_utils.io import UserError

REFERENCE = Path(__file__).parent / "data/reference_numbers.npz"
FIELDS = ("distances", "indices", "mus", "radii", "rank_distances")
RANKS = 2 ** np.arange(9)


def _points(kind, n=600, d=24, seed=0):
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((n, d))
    return {
        "normal": lambda: normal,
        "far from the origin": lambda: normal + 1e4,
        "tiny": lambda: normal * 1e-25,
        "huge": lambda: normal * 1e18,
        "duplicated": lambda: np.repeat(normal[: n // 12], 12, axis=0),
        "lattice": lambda: rng.integers(0, 3, (n, 5)),
        "tight clusters far apart": lambda: 1e3 * np.repeat(normal[: n // 100], 100, axis=0) + 0.01 * normal,
        "one outlier": lambda: np.where(np.arange(n)[:, None] == 5, 1e6, normal),
        "identical": lambda: np.ones((n, d)),
        "one column": lambda: normal[:, :1],
    }[kind]().astype(np.float32)


KINDS = ["normal", "far from the origin", "tiny", "huge", "duplicated", "lattice", "tight clusters far apart"]
KINDS += ["one outlier", "identical", "one column"]


@pytest.fixture(params=["cpu", "torch"])
def backend(request, monkeypatch):
    """The kernels for CPU, and the code for GPU run by torch on CPU."""
    if request.param == "torch":
        monkeypatch.setattr(room, "_search_cpu", room._search_torch)
    return request.param


def _brute_force(X):
    """All neighbours by float64 differences, the point itself first, equal distances by index."""
    X = X.astype(np.float64)
    squares = np.stack([np.square(X - x).sum(axis=1) for x in X])
    np.fill_diagonal(squares, -1)
    order = np.argsort(squares, axis=1, kind="stable")
    return np.sqrt(np.maximum(np.take_along_axis(squares, order, axis=1), 0)), order


def _same(a, b):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_those_of_brute_force(kind):
    X = _points(kind)
    distances, order = _brute_force(X)
    found = nearest_neighbors(X, maxk=20, range_max=256, device="cpu")
    np.testing.assert_array_equal(found.indices, order[:, :21])
    np.testing.assert_allclose(found.distances, distances[:, :21], rtol=1.2e-7)
    with np.errstate(divide="ignore", invalid="ignore"):
        mus = distances[:, RANKS[1:]] / distances[:, RANKS[:-1]]
    np.testing.assert_allclose(found.mus, mus, rtol=1.2e-7)
    means = distances[:, RANKS].mean(axis=0)
    np.testing.assert_allclose(found.radii, np.stack([means[:-1], means[1:]], axis=1), rtol=1.2e-7)


def test_scikit_learn_agrees_on_normal_data():
    X = _points("normal")
    distances, indices = NearestNeighbors(n_neighbors=31, algorithm="brute").fit(X.astype(np.float64)).kneighbors()
    found = nearest_neighbors(X, maxk=31, range_max=2, device="cpu")
    np.testing.assert_array_equal(found.indices[:, 1:], indices)
    np.testing.assert_allclose(found.distances[:, 1:], distances, rtol=1e-6)


def test_the_authors_functions_gave_these_numbers(backend):
    reference = np.load(REFERENCE)
    found = nearest_neighbors(reference["X"], maxk=50, range_max=128, device="cpu")
    np.testing.assert_array_equal(found.indices, reference["indices"])
    np.testing.assert_allclose(found.distances, reference["distances"], atol=1e-4)
    np.testing.assert_allclose(found.mus, reference["mus"], rtol=1e-6)


def test_a_point_is_its_own_first_neighbour_even_among_duplicates(backend):
    found = nearest_neighbors(_points("duplicated"), 20, 16, device="cpu")
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(600))
    np.testing.assert_array_equal(found.distances[:, :12], 0)
    assert (np.diff(found.indices[:, 1:12], axis=1) > 0).all()


def test_selection_over_many_columns_is_exact():
    X = _points("normal", n=9000, d=3)
    some = np.arange(0, 9000, 1500)
    found = nearest_neighbors(X, 50, 1024, device="cpu")
    every = np.sqrt(np.square(X[some, None].astype(np.float64) - X).sum(axis=2))
    by = np.argsort(every, axis=1, kind="stable")
    np.testing.assert_array_equal(found.indices[some], by[:, :51])
    wanted = np.take_along_axis(every, by, axis=1)[:, 2 ** np.arange(11)]
    np.testing.assert_allclose(found.rank_distances[some], wanted, rtol=1.2e-7)


def test_columns_in_the_order_of_their_distance_change_nothing():
    X = _points("normal", n=2500, d=2)
    by = np.argsort(np.linalg.norm(X, axis=1))
    plain, ordered = nearest_neighbors(X, 10, 64, device="cpu"), nearest_neighbors(X[by], 10, 64, device="cpu")
    np.testing.assert_array_equal(plain.distances[by], ordered.distances)
    np.testing.assert_array_equal(plain.indices[by], by[ordered.indices])


def test_a_limit_that_proves_too_low_is_noticed():
    X = _points("normal", n=2500, d=3)
    unlucky = np.random.default_rng(0)
    near_first = np.argsort(np.linalg.norm(X - X[7], axis=1))
    placed = np.empty_like(X)
    placed[unlucky.permutation(2500)] = X[near_first]  # undoes the shuffle: the nearest columns come first
    distances, order = _brute_force(placed)
    found = nearest_neighbors(placed, 10, 256, device="cpu")
    np.testing.assert_array_equal(found.indices, order[:, :11])
    np.testing.assert_allclose(found.rank_distances, distances[:, RANKS], rtol=1.2e-7)


@settings(max_examples=15, deadline=None)
@given(block=st.integers(1, 700), kind=st.sampled_from(KINDS), cut=st.integers(1, 299), threads=st.integers(1, 3))
def test_neither_block_nor_rows_nor_threads_change_a_bit(block, kind, cut, threads):
    X = _points(kind, n=300)
    whole, before = nearest_neighbors(X, 20, 64, device="cpu"), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        _same(nearest_neighbors(X, 20, 64, device="cpu", block=block), whole)
        parts = [nearest_neighbors(X, 20, 64, "cpu", block, rows) for rows in (slice(0, cut), slice(cut, None))]
        _same(concatenate(parts), whole)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_for_gpu_gives_the_bits_of_the_kernels(kind, monkeypatch):
    X = _points(kind, n=300)
    kernels = nearest_neighbors(X, 20, 256, device="cpu")
    monkeypatch.setattr(room, "_search_cpu", room._search_torch)
    _same(nearest_neighbors(X, 20, 256, device="cpu", block=97), kernels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_finds_the_same_neighbours(kind):
    X = _points(kind)
    here, there = nearest_neighbors(X, 20, 256, device="cpu"), nearest_neighbors(X, 20, 256, device="cuda")
    np.testing.assert_array_equal(here.indices, there.indices)
    np.testing.assert_allclose(here.rank_distances, there.rank_distances, rtol=1.2e-7)


def test_the_first_two_neighbours_alone_agree_with_the_long_search():
    X = _points("normal")
    two, many = nearest_neighbors(X, 2, 2, device="cpu"), nearest_neighbors(X, 50, 256, device="cpu")
    np.testing.assert_array_equal(two.indices, many.indices[:, :3])
    np.testing.assert_array_equal(two.mus[:, 0], many.mus[:, 0])


def test_other_settings_of_torch_are_left_alone():
    torch.set_float32_matmul_precision("high")
    try:
        nearest_neighbors(_points("normal"), 5, 4, device="cpu")
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_saved_neighbours_come_back_memory_mapped(tmp_path):
    found = nearest_neighbors(_points("normal"), 5, 8, device="cpu")
    save(found, tmp_path, "layer_03")
    back = load(tmp_path, "layer_03")
    _same(found, back)
    assert isinstance(back.distances, np.memmap)
    assert (back.distances.dtype, back.indices.dtype, back.mus.dtype) == (np.float32, np.int32, np.float32)
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "layer_03.mus.npy").unlink()
    with pytest.raises(UserError, match="layer_03.mus.npy is missing"):
        load(tmp_path, "layer_03")


def test_a_memory_mapped_array_serves_as_points(tmp_path):
    np.save(tmp_path / "X.npy", _points("normal"))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    _same(nearest_neighbors(X, 5, 8, device="cpu"), nearest_neighbors(np.array(X), 5, 8, device="cpu"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"X": np.ones(30)}, r"shape \(30,\)"),
        ({"X": np.ones((2, 3))}, r"shape \(2, 3\).*N >= 3"),
        ({"X": np.ones((0, 3))}, r"shape \(0, 3\)"),
        ({"X": [[1.0, 2.0]] * 30}, "list"),
        ({"X": np.full((30, 2), "a")}, "expected numbers"),
        ({"maxk": 30}, "maxk=30.*1 to 29"),
        ({"maxk": 0}, "maxk=0"),
        ({"range_max": 12}, "range_max=12.*power of two from 2 to 16"),
        ({"range_max": 32}, "range_max=32.*power of two from 2 to 16"),
        ({"range_max": 1}, "range_max=1 "),
        ({"block": 0}, "block=0"),
        ({"device": "tpu"}, "device='tpu'.*auto"),
        ({"device": f"cuda:{torch.cuda.device_count()}"}, "CUDA devices are visible.*cpu"),
        ({"rows": slice(0, 30, 2)}, "consecutive"),
        ({"rows": slice(40, 50)}, "consecutive"),
    ],
)
def test_unusable_input_is_refused_in_one_line(change, said):
    good = {"X": _points("normal", n=30), "maxk": 5, "range_max": 8, "device": "cpu"}
    with pytest.raises(UserError, match=said) as error:
        nearest_neighbors(**(good | change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_row_that_is_not_finite_is_named(value, backend):
    X = _points("normal")
    X[417, 3] = value
    with pytest.raises(UserError, match="row 417 holds NaN or infinity"):
        nearest_neighbors(X, 5, 8, device="cpu")


def test_a_block_that_cannot_fit_is_refused(backend, monkeypatch):
    monkeypatch.setattr(room.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1 << 20}))
    with pytest.raises(UserError, match="block=600 rows need .* GiB.*lower block"):
        nearest_neighbors(_points("normal"), 5, 8, device="cpu", block=600)
