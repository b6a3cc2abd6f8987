"""Measurements are taken once: the same values come back, and no change is overlooked."""

import numpy as np
import pandas as pd
import pytest

from georep_utils import io, measurements
from georep_utils.geometry import checks, overlap_errors, profiles, resampling, scaling
from georep_utils.geometry.neighbors import nearest_neighbors

N = 400
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 6)).astype(np.float32)
LABELS = RNG.integers(0, 4, N)
FAMILIES = LABELS * 5 + RNG.integers(0, 5, N)
GROUPS = resampling.groups(N, LABELS)


@pytest.fixture
def in_run(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    monkeypatch.setenv(io.RUN, "first")
    return tmp_path / "data/measurements"


def of_the_package(function):
    """`function`, kept as if it stood in a module of the package."""
    function.__module__ = "georep_utils.geometry.scaling"
    return measurements.kept(function)


@pytest.fixture
def counted():
    """A function that is kept, and the arguments of every time that it was computed."""
    calls = []

    @of_the_package
    def total(points, factor=2.0):
        calls.append(factor)
        return points.sum() * factor

    return total, calls


@pytest.fixture(scope="module")
def near():
    return nearest_neighbors(X, maxk=60, range_max=64)


def files(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*.json"))


CALLS = {
    "twonn_scaling": lambda near: scaling.twonn_scaling(X, (1, 4), neighbors=near),
    "gride_scaling": lambda near: scaling.gride_scaling(near),
    "label_overlap": lambda near: resampling.label_overlap_replicates(near, LABELS, GROUPS, 5),
    "data_overlap": lambda near: resampling.data_overlap_replicates(near, near, GROUPS, 5),
    "twonn": lambda near: resampling.twonn_replicates(X, GROUPS, 2),
    "gride": lambda near: resampling.gride_replicates(near, GROUPS),
    "homology": lambda near: overlap_errors.remote_homology_replicates(
        near, LABELS, FAMILIES, GROUPS, 3
    ),
    "abide": lambda near: checks._abide(X[:200].astype(float), 0),
    "probe": lambda near: profiles.linear_probe(X, LABELS),
}


def same(one, other):
    """Whether two results are of one kind and equal to the last bit."""
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
        return True
    return np.asarray(one).dtype == np.asarray(other).dtype and np.array_equal(
        one, other, equal_nan=True
    )


@pytest.mark.parametrize("name", CALLS)
def test_what_comes_back_is_what_was_measured(name, near, in_run, monkeypatch):
    first = CALLS[name](near)
    kept = files(in_run)
    assert kept
    again = CALLS[name](near)
    assert files(in_run) == kept
    monkeypatch.delenv(io.RUN)
    plain = CALLS[name](near)
    assert same(plain, first) and same(plain, again)


def test_a_measurement_is_taken_once(counted, in_run):
    total, calls = counted
    assert total(X) == total(X, 2.0) == total(points=X, factor=2.0)
    assert calls == [2.0]


def test_outside_of_runs_nothing_is_kept(counted, in_run, monkeypatch):
    monkeypatch.delenv(io.RUN)
    total, calls = counted
    total(X), total(X)
    assert calls == [2.0, 2.0] and not in_run.exists()


def test_the_content_of_an_array_counts_and_not_where_it_lies(counted, in_run, tmp_path):
    total, calls = counted
    np.save(tmp_path / "points.npy", X)
    total(X)
    total(np.load(tmp_path / "points.npy", mmap_mode="r"))
    assert len(calls) == 1
    other = X.copy()
    other[-1, -1] += 1
    np.save(tmp_path / "points.npy", other)
    total(np.load(tmp_path / "points.npy", mmap_mode="r"))
    total(X, 3.0)
    assert calls == [2.0, 2.0, 3.0]


def test_other_code_and_other_libraries_measure_anew(counted, in_run, monkeypatch):
    total, calls = counted
    total(X)
    monkeypatch.setattr(measurements, "_code", lambda module: "other code")
    total(X)
    monkeypatch.setattr(measurements, "_versions", lambda: ["another version"])
    total(X)
    assert len(calls) == 3


def test_the_code_of_what_a_module_imports_counts(tmp_path, monkeypatch):
    package = tmp_path / "georep_utils"
    package.mkdir()
    (package / "outer.py").write_text("from georep_utils.inner import one\n")
    (package / "inner.py").write_text("one = 1\n")
    monkeypatch.setattr(io, "REPOSITORY", tmp_path)
    measurements._code.cache_clear()
    before = measurements._code("georep_utils.outer")
    (package / "inner.py").write_text("one = 1  # a remark\n")
    measurements._code.cache_clear()
    assert measurements._code("georep_utils.outer") == before
    (package / "inner.py").write_text("one = 1.5\n")
    measurements._code.cache_clear()
    assert measurements._code("georep_utils.outer") != before
    measurements._code.cache_clear()


def test_a_file_that_was_cut_short_is_measured_anew(counted, in_run):
    total, calls = counted
    value = total(X)
    (file,) = in_run.rglob("*.json")
    text = file.read_text()
    file.write_text(text[: len(text) // 2 - 1] + "[")
    assert total(X) == value and len(calls) == 2
    assert file.read_text() == text


def test_another_run_finds_it(counted, in_run, monkeypatch):
    total, calls = counted
    total(X)
    monkeypatch.setenv(io.RUN, "second")
    total(X)
    assert len(calls) == 1
    assert [name.split("/")[0] for name in files(in_run)] == ["first"]


def test_errors_are_raised_each_time(in_run):
    for _ in range(2):
        with pytest.raises(io.UserError, match="at least"):
            resampling.twonn_replicates(X, GROUPS, 100)
    assert files(in_run) == []


def test_equal_words_are_equal_whatever_holds_them(in_run):
    """Labels are often read anew: the same words, as other objects."""
    calls = []

    @of_the_package
    def count(labels):
        calls.append(1)
        return len(set(labels))

    words = np.array(["a cat", "a dog", "a cat"], dtype=object)
    read_anew = np.array(["".join(list(word)) for word in words], dtype=object)
    assert count(words) == count(read_anew) == 2
    assert len(calls) == 1
