"""The authors' released statistics, on synthetic archives with their member names and shapes."""

from pathlib import Path

import numpy as np
import pytest

from georep_utils.io import UserError
from georep_utils.paper import published

REFERENCE = np.load(Path(__file__).parent / "data/reference_numbers.npz")
RELEASED = "released by the authors"
READ = "read off the authors' figures"


def write_images(folder: Path, n: int = 60) -> Path:
    """A stand-in for the image archive: three classes; at layer 0, neighbours of one class."""
    rng = np.random.default_rng(0)
    data = folder / "data"
    data.mkdir(parents=True)
    labels = np.repeat(np.arange(3), n // 3)
    np.save(data / "imagenet_train_labels.npy", labels)
    for size, blocks, step in (("small", 24, 6), ("medium", 36, 6), ("large", 48, 8)):
        mus = rng.uniform(size=(blocks + 2, 4, 400)) ** -0.125
        np.save(data / f"imagenet_train_mus_{size}_dec32_cpt1000_rep4.npy", mus)
        for layer in range(0, blocks + 1, step):
            table = class_neighbors(labels) if layer == 0 else every_third(n)
            np.save(
                data / f"imagenet_train_nb_index_{size}_layer{layer}_k10_cpt1000.npy",
                table.astype(np.int32),
            )
    return folder


def class_neighbors(labels):
    """Ten neighbours of each point, all of its class."""
    rows = []
    for i, label in enumerate(labels):
        others = np.flatnonzero(labels == label)
        rows.append(np.r_[i, others[others != i][:10]])
    return np.stack(rows)


def every_third(n):
    """Ten neighbours of each point, whatever their class."""
    return (np.arange(n)[:, None] + np.arange(11) * 3) % n


def write_proteins(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, overlap, n in (("35M", "35M", 13), ("650M", "650M", 34), ("3B", "3BM", 37)):
        np.save(folder / f"data/id-esm2-{name}.npy", np.linspace(20, 5, n))
        np.save(folder / f"data/no-gt-esm2-{overlap}.npy", np.linspace(0.1, 0.8, n))
    return folder


def test_id_from_ratios_equals_the_authors_script():
    estimate, error = published.id_from_mus(REFERENCE["released_style_mus"])
    np.testing.assert_allclose(estimate, REFERENCE["id_from_mus"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(error, REFERENCE["id_from_mus_err"], rtol=0, atol=1e-6)


def test_ratios_of_a_pareto_law_give_its_exponent_as_id():
    mus = (
        np.random.default_rng(1).uniform(size=(2, 4, 20000))
        ** (-1 / np.array([4.0, 20.0]))[:, None, None]
    )
    np.testing.assert_allclose(published.id_from_mus(mus)[0], [4, 20], rtol=0.03)


@pytest.mark.parametrize(
    "mus",
    [np.ones((3, 4)), np.full((1, 2, 50), 0.5), np.full((1, 2, 50), np.nan), np.ones((1, 2, 2))],
)
def test_what_is_no_ratio_gives_no_id(mus):
    with pytest.raises(UserError, match="expected"):
        published.id_from_mus(mus)


@pytest.mark.parametrize("k", [10, 30])
def test_label_overlap_from_a_table_equals_the_authors_function(k):
    ours = published.label_overlap_from_table(REFERENCE["indices"], REFERENCE["labels"], k)
    assert ours == pytest.approx(float(REFERENCE[f"label_overlap_k{k}"]), abs=1e-6)


@pytest.mark.parametrize("k, shift", [(51, 0), (0, 0), (10, 1), (10, -1)])
def test_overlap_needs_enough_columns_and_indices_of_the_data(k, shift):
    with pytest.raises(UserError):
        published.label_overlap_from_table(REFERENCE["indices"] + shift, REFERENCE["labels"], k)


def test_a_table_has_the_shape_of_its_layer_and_every_point_of_a_pure_class_overlaps_one(tmp_path):
    statistics = published.load_image_statistics(write_images(tmp_path))
    assert [statistics.mus[m].shape[0] for m in ("igpt-small", "igpt-medium", "igpt-large")] == [
        26,
        38,
        50,
    ]
    assert list(statistics.tables["igpt-large"]) == [0, 8, 16, 24, 32, 40, 48]
    assert (
        published.label_overlap_from_table(
            statistics.tables["igpt-small"][0], statistics.labels, 10
        )
        == 1
    )
    assert (
        published.label_overlap_from_table(
            statistics.tables["igpt-small"][6], statistics.labels, 10
        )
        < 1
    )


def test_a_missing_file_is_named(tmp_path):
    name = "imagenet_train_nb_index_medium_layer12_k10_cpt1000.npy"
    (write_images(tmp_path) / "data" / name).unlink()
    for read in (published.load_image_statistics, published.published_curves):
        with pytest.raises(UserError, match=f"{name} is missing"):
            read(tmp_path)
    with pytest.raises(UserError, match="id-esm2-35M.npy is missing"):
        published.load_protein_statistics(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [np.ones((25, 4, 100)), np.ones((26, 3, 100)), np.full((26, 4, 9), 0.9), np.ones(3, object)],
)
def test_an_array_that_is_not_as_described_is_named(tmp_path, wrong):
    name = "imagenet_train_mus_small_dec32_cpt1000_rep4.npy"
    np.save(write_images(tmp_path) / "data" / name, wrong, allow_pickle=True)
    with pytest.raises(UserError, match=name):
        published.load_image_statistics(tmp_path)


def test_a_truncated_array_is_named(tmp_path):
    path = write_proteins(tmp_path) / "data/id-esm2-3B.npy"
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(UserError, match="id-esm2-3B.npy"):
        published.load_protein_statistics(tmp_path)


def test_readings_hold_301_values_for_six_models_with_their_error():
    readings = published.published_curves()
    assert len(readings) == 301 and readings.model.nunique() == 6
    assert set(readings.source) == {READ} and readings.error.notna().all()


def test_released_values_replace_the_readings_of_their_models_only_and_say_so(tmp_path):
    curves = published.published_curves(write_proteins(tmp_path))
    sources = curves.groupby("model").source.unique()
    assert all(list(s) == [RELEASED if m.startswith("esm2") else READ] for m, s in sources.items())
    esm = curves[(curves.model == "esm2-3B") & (curves.quantity == "intrinsic_dimension")]
    np.testing.assert_allclose(esm.value, np.linspace(20, 5, 37))
    assert len(curves) == 301


def test_both_archives_give_every_curve_of_the_readings_at_the_same_layers(tmp_path):
    curves = published.published_curves(write_proteins(write_images(tmp_path)))
    keys = ["model", "quantity", "layer", "n_blocks"]
    same = curves[keys].merge(published.published_readings()[keys], how="outer", indicator=True)
    assert set(curves.source) == {RELEASED} and set(same._merge) == {"both"}
    ids = curves[curves.model.str.startswith("igpt") & (curves.quantity == "intrinsic_dimension")]
    assert ids.value.between(7, 9).all() and (ids.error > 0).all()


def test_a_folder_without_archives_leaves_the_readings(tmp_path):
    assert set(published.published_curves(tmp_path).source) == {READ}


def test_missing_readings_are_named(tmp_path):
    with pytest.raises(UserError, match="published_curves"):
        published.published_readings(tmp_path / "published_curves.csv")
