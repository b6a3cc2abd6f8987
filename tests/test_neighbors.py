"""The neighbours are those of brute force in float64, whatever data, block, device or threads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from georep_utils.geometry import neighbors_cpu, neighbors_gpu
from georep_utils.geometry.neighbor_kernels import rounding_error, rounding_error_of_halves
from georep_utils.geometry.neighbor_points import prepare
from georep_utils.geometry.neighbors import (
    Neighbors,
    concatenate,
    largest_range,
    load,
    nearest_neighbors,
    save,
)
from georep_utils.io import UserError

REFERENCE = Path(__file__).parent / "data/reference_numbers.npz"
FIELDS = ("distances", "indices", "mus", "radii", "rank_distances")
RANKS = 2 ** np.arange(9)
KINDS = [
    "normal",
    "far from the origin",
    "tiny",
    "huge",
    "duplicated",
    "lattice",
    "tight clusters far apart",
    "one outlier",
    "identical",
    "one column",
]


def _points(kind, n=600, d=24, seed=0):
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((n, d))
    made = {
        "normal": lambda: normal,
        "far from the origin": lambda: normal + 1e4,
        "tiny": lambda: normal * 1e-25,
        "huge": lambda: normal * 1e18,
        "duplicated": lambda: np.repeat(normal[: n // 12], 12, axis=0),
        "lattice": lambda: rng.integers(0, 3, (n, 5)),
        "tight clusters far apart": lambda: (
            1e3 * np.repeat(normal[: n // 100], 100, axis=0) + 0.01 * normal
        ),
        "one outlier": lambda: np.where(np.arange(n)[:, None] == 5, 1e6, normal),
        "identical": lambda: np.ones((n, d)),
        "one column": lambda: normal[:, :1],
    }
    return made[kind]().astype(np.float32)


@pytest.fixture(params=["cpu", "torch", "torch, halves"])
def backend(request, monkeypatch):
    """The kernels for CPU, and the code for GPU run by torch on CPU, with either product."""
    if request.param != "cpu":
        monkeypatch.setattr(neighbors_cpu, "search", neighbors_gpu.search)
    if request.param.endswith("halves"):
        monkeypatch.setattr(neighbors_gpu, "GPU_PRODUCT", "halves")
    return request.param


@pytest.fixture(params=["blocks alone", "blocks that share tiles"])
def sharing(request, monkeypatch):
    """Both ways of the search on CPU, whatever the size of the cloud."""
    least = 0 if request.param.endswith("tiles") else 1 << 62
    monkeypatch.setattr(neighbors_cpu, "WORTH_SHARING", least)


def _brute_force(X):
    """All neighbours by float64 differences, the point itself first, equal distances by index."""
    X = X.astype(np.float64)
    squares = np.stack([np.square(X - x).sum(axis=1) for x in X])
    np.fill_diagonal(squares, -1)
    order = np.argsort(squares, axis=1, kind="stable")
    return np.sqrt(np.maximum(np.take_along_axis(squares, order, axis=1), 0)), order


def _assert_same(a, b):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_those_of_brute_force(kind, sharing):
    X = _points(kind)
    distances, order = _brute_force(X)
    found = nearest_neighbors(X, maxk=20, range_max=256, device="cpu")
    np.testing.assert_array_equal(found.indices, order[:, :21])
    np.testing.assert_allclose(found.distances, distances[:, :21], rtol=1.2e-7)
    with np.errstate(divide="ignore", invalid="ignore"):
        mus = distances[:, RANKS[1:]] / distances[:, RANKS[:-1]]
    np.testing.assert_allclose(found.mus, mus, rtol=1.2e-7)
    means = distances[:, RANKS].mean(axis=0)
    radii = np.stack([means[:-1], means[1:]], axis=1)
    np.testing.assert_allclose(found.radii, radii, rtol=1.2e-7)


def test_scikit_learn_agrees_on_normal_data():
    X = _points("normal")
    theirs = NearestNeighbors(n_neighbors=31, algorithm="brute").fit(X.astype(np.float64))
    distances, indices = theirs.kneighbors()
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


def test_selection_over_many_columns_is_exact(sharing):
    X = _points("normal", n=9000, d=3)
    some = np.arange(0, 9000, 1500)
    found = nearest_neighbors(X, 50, 1024, device="cpu")
    every = np.sqrt(np.square(X[some, None].astype(np.float64) - X).sum(axis=2))
    by = np.argsort(every, axis=1, kind="stable")
    np.testing.assert_array_equal(found.indices[some], by[:, :51])
    wanted = np.take_along_axis(every, by, axis=1)[:, 2 ** np.arange(11)]
    np.testing.assert_allclose(found.rank_distances[some], wanted, rtol=1.2e-7)


def test_columns_in_the_order_of_their_distance_change_nothing(sharing):
    X = _points("normal", n=2500, d=2)
    by = np.argsort(np.linalg.norm(X, axis=1))
    plain = nearest_neighbors(X, 10, 64, device="cpu")
    ordered = nearest_neighbors(X[by], 10, 64, device="cpu")
    np.testing.assert_array_equal(plain.distances[by], ordered.distances)
    np.testing.assert_array_equal(plain.indices[by], by[ordered.indices])


def test_a_limit_that_proves_too_low_is_noticed(sharing):
    X = _points("normal", n=2500, d=3)
    near_first = np.argsort(np.linalg.norm(X - X[7], axis=1))
    # Undoes the search's own shuffle, so that the nearest columns come first.
    placed = np.empty_like(X)
    placed[np.random.default_rng(0).permutation(2500)] = X[near_first]
    distances, order = _brute_force(placed)
    found = nearest_neighbors(placed, 10, 256, device="cpu")
    np.testing.assert_array_equal(found.indices, order[:, :11])
    np.testing.assert_allclose(found.rank_distances, distances[:, RANKS], rtol=1.2e-7)


@settings(max_examples=15, deadline=None)
@given(
    block=st.integers(1, 700),
    kind=st.sampled_from(KINDS),
    cut=st.integers(1, 299),
    threads=st.integers(1, 3),
)
def test_neither_block_nor_rows_nor_threads_change_a_bit(block, kind, cut, threads):
    X = _points(kind, n=300)
    whole = nearest_neighbors(X, 20, 64, device="cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        _assert_same(nearest_neighbors(X, 20, 64, device="cpu", block=block), whole)
        first = nearest_neighbors(X, 20, 64, "cpu", block, slice(0, cut))
        rest = nearest_neighbors(X, 20, 64, "cpu", block, slice(cut, None))
        _assert_same(concatenate([first, rest]), whole)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("edge", [7, 64, 299])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tile_that_serves_two_blocks_changes_no_bit(kind, edge, threads, monkeypatch):
    """With blocks of `edge` rows there are 43, 5 or 2 of them, and the last is smaller."""
    X = _points(kind, n=600)[:300]
    alone = nearest_neighbors(X, 20, 64, device="cpu", block=300)
    served = []
    rows = neighbors_cpu.filter_rows
    monkeypatch.setattr(neighbors_cpu, "filter_rows", lambda *a: served.append(1) or rows(*a))
    monkeypatch.setattr(neighbors_cpu, "BLOCK", edge)
    monkeypatch.setattr(neighbors_cpu, "WORTH_SHARING", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        _assert_same(nearest_neighbors(X, 20, 64, device="cpu"), alone)
    finally:
        torch.set_num_threads(before)
    n_blocks = -(-300 // edge)
    assert len(served) == n_blocks * (n_blocks - 1) // 2


def test_blocks_search_alone_where_not_all_candidates_fit_or_little_is_saved(monkeypatch):
    X = _points("normal", n=2000)
    assert neighbors_cpu.WORTH_SHARING > X.size
    alone = nearest_neighbors(X, 20, 256, device="cpu")
    monkeypatch.setattr(neighbors_cpu, "WORTH_SHARING", X.size)
    candidates_of_all = 8 * 2000 * neighbors_cpu._capacity(256 + neighbors_cpu.SPARE)
    little = type("Memory", (), {"available": int(1.9 * candidates_of_all)})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    monkeypatch.delattr(neighbors_cpu, "filter_rows")
    _assert_same(nearest_neighbors(X, 20, 256, device="cpu"), alone)
    little.available = int(2.1 * candidates_of_all)
    with pytest.raises(NameError, match="filter_rows"):
        nearest_neighbors(X, 20, 256, device="cpu")
    monkeypatch.setattr(neighbors_cpu, "WORTH_SHARING", X.size + 1)
    _assert_same(nearest_neighbors(X, 20, 256, device="cpu"), alone)


@pytest.mark.parametrize("product", ["float32", "halves"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_code_for_gpu_gives_the_bits_of_the_kernels(kind, product, monkeypatch):
    """With 311 points, a prime number, no block but one divides the rows."""
    X = _points(kind, n=600)[:311]
    last = slice(250, 311)
    kernels = nearest_neighbors(X, 20, 256, device="cpu")
    kernels_of_last = nearest_neighbors(X, 20, 256, device="cpu", rows=last)
    monkeypatch.setattr(neighbors_cpu, "search", neighbors_gpu.search)
    monkeypatch.setattr(neighbors_gpu, "GPU_PRODUCT", product)
    for block in (97, 310, 311, None):
        _assert_same(nearest_neighbors(X, 20, 256, device="cpu", block=block), kernels)
    # A row at a time takes as long for each as all other blocks together.
    _assert_same(nearest_neighbors(X, 20, 256, "cpu", 1, last), kernels_of_last)
    parts = [
        nearest_neighbors(X, 20, 256, "cpu", 50, rows) for rows in (slice(0, 103), slice(103, 311))
    ]
    _assert_same(concatenate(parts), kernels)


def _shell(seed):
    """Points around the first one: 40 at distances that float32 tells apart, then 24 in a shell
    that it can't, then nobody for long. All lie far from the mean of the cloud.
    """
    rng = np.random.default_rng(seed)
    squares = np.concatenate([[0.0], np.arange(1, 41), 50 + 1e-3 * rng.random(24)])
    around = rng.standard_normal((65, 8))
    around[:, 0] = 0
    around *= np.sqrt(squares / np.square(around).sum(1))[:, None]
    around[:, 0] = 100
    return np.concatenate([around, -around - rng.random((65, 8))]).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_a_rank_is_found_among_points_that_float32_can_not_order(seed, backend):
    """Those just before rank 64 have nearly its distance, those behind it do not."""
    X = _shell(seed)
    distances, _ = _brute_force(X)
    found = nearest_neighbors(X, 2, 64, device="cpu", rows=slice(0, 1))
    np.testing.assert_allclose(found.rank_distances[0], distances[0, RANKS[:7]], rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_resort_of_a_gpu_gives_the_same_bits_slice_by_slice(kind, monkeypatch):
    X = _points(kind, n=200)
    kernels = nearest_neighbors(X, 20, 64, device="cpu")

    def nobody(cloud, block, rows, window):
        return torch.zeros(len(rows), dtype=torch.bool)

    monkeypatch.setattr(neighbors_gpu, "_is_certain", nobody)
    monkeypatch.setattr(neighbors_cpu, "search", neighbors_gpu.search)
    for at_once in (1 << 25, 7 * X.size, 50):
        monkeypatch.setattr(neighbors_gpu, "GATHER", at_once)
        _assert_same(nearest_neighbors(X, 20, 64, device="cpu"), kernels)


def test_a_block_without_memory_is_halved_and_what_was_found_stays(monkeypatch):
    X = _points("normal", n=300)
    kernels = nearest_neighbors(X, 20, 64, device="cpu")
    room = 80
    served = []

    def closest(cloud, start, own, m, original=neighbors_gpu._closest):
        if len(own) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        served.append((start, len(own)))
        return original(cloud, start, own, m)

    monkeypatch.setattr(neighbors_gpu, "_closest", closest)
    monkeypatch.setattr(neighbors_cpu, "search", neighbors_gpu.search)
    _assert_same(nearest_neighbors(X, 20, 64, device="cpu"), kernels)
    assert served == [(0, 75), (75, 75), (150, 75), (225, 75)]
    room = 0
    with pytest.raises(UserError, match="of one point to 300 others do not fit .* another device"):
        nearest_neighbors(X, 20, 64, device="cpu")


def test_memory_that_pytorch_keeps_counts_as_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert neighbors_gpu._free_bytes(torch.device("cuda")) == 40


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(5, 120),
    copies=st.integers(1, 9),
    values=st.integers(1, 4),
    maxk=st.integers(1, 60),
    block=st.integers(1, 130),
    product=st.sampled_from(["float32", "halves"]),
)
def test_ties_that_reach_over_a_rank_are_ordered_by_index_on_a_gpu_too(
    n, copies, values, maxk, block, product
):
    rng = np.random.default_rng(n)
    X = np.repeat(rng.integers(0, values, (n, 2)), copies, axis=0).astype(np.float32)
    X = X[rng.permutation(len(X))]
    maxk = min(maxk, len(X) - 1)
    range_max = largest_range(len(X))
    kernels = nearest_neighbors(X, maxk, range_max, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors_cpu, "search", neighbors_gpu.search)
        patch.setattr(neighbors_gpu, "GPU_PRODUCT", product)
        _assert_same(nearest_neighbors(X, maxk, range_max, "cpu", block), kernels)


# ---- The product in TF32 ----


def _cut(x, bits):
    """Numbers of float32 with `bits` bits behind the leading one; the others are cut off."""
    x = np.asarray(x, np.float32)
    return (x.view(np.int32) & -(1 << (23 - bits))).view(np.float32)


def _cut_below(x, largest):
    """Numbers cut to 24 bits, the first of which is the first bit of `largest`."""
    unit = np.exp2(np.frexp(largest)[1] - 24.0)
    return np.trunc(x / unit) * unit


def _tensor_core(a, b, at_once=4):
    """a @ b.T as the roughest tensor core makes it from TF32 factors, `at_once` terms at a time.

    The terms and what there is already are aligned to the largest and cut, and so is their sum.
    """
    a, b = _cut(a, 10).astype(np.float64), _cut(b, 10).astype(np.float64)
    total = np.zeros((len(a), len(b)))
    for i in range(0, a.shape[1], at_once):
        terms = a[:, None, i : i + at_once] * b[None, :, i : i + at_once]
        terms = np.concatenate([total[:, :, None], terms], axis=2)
        aligned = _cut_below(terms, np.abs(terms).max(axis=2, keepdims=True))
        total = aligned.sum(axis=2)
        total = _cut_below(total, np.abs(total))
    return total.astype(np.float32)


def test_halves_have_the_bits_that_tf32_keeps_and_lose_little():
    x = torch.from_numpy(_points("normal") * np.float32(1e-3))
    high, low = neighbors_gpu.tf32_halves(x)
    for half in (high, low):
        assert np.array_equal(_cut(half.numpy(), 10), half.numpy())
    rest = (x.double() - high.double() - low.double()).abs()
    assert (rest <= 2.0**-20 * x.abs()).all() and (rest > 0).any()


@pytest.mark.parametrize("d", [3, 24, 300])
@pytest.mark.parametrize("spread", [1e-3, 1.0])
def test_the_error_of_a_product_of_halves_is_within_its_bound(d, spread):
    """A hundred points near each other and far from the origin cancel most; others least."""
    rng = np.random.default_rng(d)
    X = (1 + spread * rng.standard_normal((100, d))).astype(np.float32)
    high, low = (half.numpy() for half in neighbors_gpu.tf32_halves(torch.from_numpy(X)))
    exact = np.square(X[:, None].astype(np.float64) - X).sum(-1)
    norms = np.square(X.astype(np.float64)).sum(1)
    allowed = (np.sqrt(norms)[:, None] + np.sqrt(norms)) ** 2

    def relative_error(product):
        # In float32 from here on, as the search has it.
        squares = norms.astype(np.float32) - 2 * product + norms.astype(np.float32)[:, None]
        return (np.abs(squares - exact) / allowed).max()

    crossed = _tensor_core(high, low) + _tensor_core(low, high)
    assert relative_error(_tensor_core(high, high) + crossed) < rounding_error_of_halves(d)
    # One product in TF32 would not do: the bound is not so wide that anything passes.
    assert relative_error(_tensor_core(X, X)) > rounding_error_of_halves(d)


@pytest.mark.parametrize("at_once", [4, 8, 16])
@pytest.mark.parametrize("d", [300, 2048])
def test_the_bound_of_halves_is_not_twice_as_wide_as_it_need_be(d, at_once):
    """The worst case: one large product, and behind it many that lie just below its last bit."""
    X = np.full((4, d), 3.4e-4, np.float32)
    X[:, 0] = [1, 1.0001, 0.9999, 1.0002]
    high, low = (half.numpy() for half in neighbors_gpu.tf32_halves(torch.from_numpy(X)))
    crossed = _tensor_core(high, low, at_once) + _tensor_core(low, high, at_once)
    product = (_tensor_core(high, high, at_once) + crossed).astype(np.float64)
    lost = 2 * np.abs(product - X.astype(np.float64) @ X.T.astype(np.float64))
    norms = np.linalg.norm(X.astype(np.float64), axis=1)
    used = (lost / (norms[:, None] + norms) ** 2).max() / rounding_error_of_halves(d)
    assert 0.5 < used < 1


def test_products_of_halves_are_what_the_search_makes():
    X = _points("far from the origin")
    cloud = prepare(X, torch.device("cpu"), torch.arange(len(X)), 24)
    cut = replace(cloud, halves=neighbors_gpu.tf32_halves(cloud.scaled))
    own = torch.arange(5, 50)
    exact = torch.cdist(cloud.scaled[own].double(), cloud.scaled.double()).square()
    for one in (cloud, cut):
        found = neighbors_gpu._partial_squares(one, own).double() + cloud.norms[own, None]
        allowed = (cloud.norms[own].sqrt()[:, None] + cloud.norms.sqrt()).square()
        assert ((found - exact).abs() <= one.error * allowed).all()
    assert cut.error > cloud.error


# ---- Products in parts ----


@pytest.mark.parametrize(
    ("d", "sizes"),
    [(1, [1]), (255, [255]), (600, [300, 300]), (1025, [257, 257, 257, 254])],
)
def test_features_are_cut_into_parts_of_equal_sizes(d, sizes):
    parts = prepare(_points("normal", 5, d), torch.device("cpu"), torch.arange(5), 256).parts
    assert [part.stop - part.start for part in parts] == sizes
    assert [part.start for part in parts] == [sum(sizes[:i]) for i in range(len(sizes))]


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("d", [300, 1025])
def test_products_in_parts_are_within_their_bound(d, cut):
    """All coordinates are positive, so that nothing cancels and sums grow as large as they can."""
    X = np.abs(_points("normal", n=200, d=d))
    cloud = replace(
        prepare(X, torch.device("cpu"), torch.arange(200), 64),
        scaled=torch.from_numpy(X),
        norms=torch.from_numpy(np.square(X.astype(np.float64)).sum(1)),
    )
    assert len(cloud.parts) == d // 64
    exact = cloud.scaled.double() @ cloud.scaled.double().T
    allowed = cloud.error * (cloud.norms.sqrt()[:, None] + cloud.norms.sqrt()) ** 2
    kernels = neighbors_cpu._products(cloud.scaled, cloud.scaled, cloud.parts)
    assert ((2 * torch.from_numpy(kernels).double() - 2 * exact).abs() <= allowed).all()
    if cut:
        cloud = replace(cloud, halves=neighbors_gpu.tf32_halves(cloud.scaled))
        allowed = cloud.error * (cloud.norms.sqrt()[:, None] + cloud.norms.sqrt()) ** 2
    squares = neighbors_gpu._partial_squares(cloud, torch.arange(200)).double()
    assert ((squares - cloud.norms + 2 * exact).abs() <= allowed).all()


def test_parts_lower_the_bound_until_there_are_too_many():
    for bound in (rounding_error, rounding_error_of_halves):
        bounds = [bound(4096, n_parts) for n_parts in (1, 4, 16)]
        assert bounds == sorted(bounds, reverse=True) and bounds[0] > 4 * bounds[-1]
        assert bound(4096, 4096) > bounds[-1]


@pytest.mark.parametrize("kind", ["normal", "tight clusters far apart", "duplicated"])
def test_many_features_leave_the_neighbours_exact(kind, backend):
    X = _points(kind, n=300, d=1100)
    distances, order = _brute_force(X)
    found = nearest_neighbors(X, 20, 256, device="cpu")
    np.testing.assert_array_equal(found.indices, order[:, :21])
    np.testing.assert_allclose(found.rank_distances, distances[:, RANKS], rtol=1.2e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_finds_the_same_neighbours(kind, monkeypatch):
    X = _points(kind)
    here = nearest_neighbors(X, 20, 256, device="cpu")
    for product in ("float32", "halves"):
        monkeypatch.setattr(neighbors_gpu, "GPU_PRODUCT", product)
        for block in (97, None):
            there = nearest_neighbors(X, 20, 256, device="cuda", block=block)
            np.testing.assert_array_equal(here.indices, there.indices)
            np.testing.assert_allclose(here.rank_distances, there.rank_distances, rtol=1.2e-7)


def test_the_first_two_neighbours_alone_agree_with_the_long_search():
    X = _points("normal")
    two = nearest_neighbors(X, 2, 2, device="cpu")
    many = nearest_neighbors(X, 50, 256, device="cpu")
    np.testing.assert_array_equal(two.indices, many.indices[:, :3])
    np.testing.assert_array_equal(two.mus[:, 0], many.mus[:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_part_of_a_table_is_what_a_narrower_search_finds(kind, backend):
    X = _points(kind, n=400)
    wide = nearest_neighbors(X, 50, 256, device="cpu")
    for maxk, range_max in ((50, 2), (2, 256), (20, 64)):
        narrow = nearest_neighbors(X, maxk, range_max, device="cpu")
        _assert_same(wide.first(maxk, range_max), narrow)
    _assert_same(wide.first(30, 128).first(20, 64), wide.first(20, 64))


def test_the_first_part_of_saved_neighbours_stays_on_disk(tmp_path):
    found = nearest_neighbors(_points("normal"), 20, 64, device="cpu")
    save(found, tmp_path, "layer_03")
    part = load(tmp_path, "layer_03").first(5, 8)
    _assert_same(part, found.first(5, 8))
    assert isinstance(part.indices, np.memmap)
    save(part, tmp_path, "narrow")
    _assert_same(load(tmp_path, "narrow"), part)


def test_a_table_without_distances_at_ranks_has_a_first_part_without_them():
    found = nearest_neighbors(_points("normal"), 20, 64, device="cpu")
    without = Neighbors(found.distances, found.indices, found.mus, found.radii)
    assert without.first(5, 8).rank_distances is None
    np.testing.assert_array_equal(without.first(5, 8).mus, found.mus[:, :3])


@pytest.mark.parametrize(
    ("maxk", "range_max", "said"),
    [
        (21, 8, "maxk=21, but 20 neighbours are stored.*search again"),
        (0, 8, "maxk=0.*expected 1 to 20"),
        (5, 128, "range_max=128, but ratios up to rank 64 are stored.*search again"),
        (5, 12, "range_max=12.*power of two from 2 to 64"),
        (5, 1, "range_max=1,.*power of two from 2 to 64"),
    ],
)
def test_more_than_a_table_stores_is_refused_in_one_line(maxk, range_max, said):
    found = nearest_neighbors(_points("normal"), 20, 64, device="cpu")
    with pytest.raises(UserError, match=said) as error:
        found.first(maxk, range_max)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("n", "at_most", "expected"),
    [(3, 1024, 2), (1024, 1024, 512), (1025, 1024, 1024), (5000, 1024, 1024), (5000, 100, 64)],
)
def test_the_largest_range_is_a_power_of_two_below_the_number_of_points(n, at_most, expected):
    assert largest_range(n, at_most) == expected


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
    _assert_same(found, back)
    assert isinstance(back.distances, np.memmap)
    assert back.distances.dtype == np.float32
    assert back.indices.dtype == np.int32
    assert back.mus.dtype == np.float32
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "layer_03.mus.npy").unlink()
    with pytest.raises(UserError, match="layer_03.mus.npy is missing"):
        load(tmp_path, "layer_03")


def test_a_memory_mapped_array_serves_as_points(tmp_path):
    np.save(tmp_path / "X.npy", _points("normal"))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    mapped = nearest_neighbors(X, 5, 8, device="cpu")
    _assert_same(mapped, nearest_neighbors(np.array(X), 5, 8, device="cpu"))


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
        ({"device": "tpu"}, "device is 'tpu'.*auto"),
        ({"device": f"cuda:{torch.cuda.device_count()}"}, "device is 'cuda:.*CUDA GPU.*cpu"),
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
    little = type("Memory", (), {"available": 1 << 20})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    with pytest.raises(UserError, match="block=600 rows need .* GiB.*lower block"):
        nearest_neighbors(_points("normal"), 5, 8, device="cpu", block=600)
