"""What a run needs from elsewhere is named without a connection, and what it has is verified."""

import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from georep_utils.data import needs
from georep_utils.io import UserError

NAMES = st.sampled_from(["weights.bin", "sha256", "size", "../x"]) | st.text(max_size=5)
STEPS = {
    "untrained": "untrained",
    "131000": "checkpoints/igpt-s/131000/model.ckpt-131000",
    "1000000": "checkpoints/igpt-s/1000000/model.ckpt-1000000",
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one bundled file and its manifest."""
    monkeypatch.setattr(needs, "REPOSITORY", tmp_path)
    content = b"some weights"
    (tmp_path / "weights.bin").write_bytes(content)
    recorded = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (tmp_path / "manifest.json").write_text(json.dumps({"weights.bin": recorded}))
    return tmp_path


def paths_of(files):
    return [file.path for file in files]


def test_a_checkpoint_of_openai_is_an_index_and_its_shards():
    files = paths_of(needs.needed_files(checkpoint=STEPS["1000000"]))
    assert len(files) == 33
    assert all(path.startswith("checkpoints/igpt-s/1000000/") for path in files)


def test_the_variant_with_full_attention_is_another_checkpoint():
    name = "checkpoints/igpt-s-bert/131000/model.ckpt-131000"
    files = paths_of(needs.needed_files(checkpoint=name))
    assert all(path.startswith("checkpoints/igpt-s-bert/131000/") for path in files)


def test_checkpoints_of_the_training_are_needed_too_and_each_file_once():
    files = paths_of(needs.needed_files(checkpoint=STEPS["1000000"], checkpoints=STEPS))
    assert len(files) == len(set(files)) == 2 * 33


@pytest.mark.parametrize("name", ["", "assets/igpt-mini/trained.safetensors", "mine/model.ckpt-1"])
def test_a_checkpoint_that_is_not_openais_is_not_fetched(name):
    assert needs.needed_files(checkpoint=name, dataset="fashion-mnist-14") == []


def test_a_model_of_the_hub_needs_no_checkpoint_of_openai():
    assert needs.needed_files("gpt2", checkpoint=STEPS["1000000"], dataset="text") == []


@pytest.mark.parametrize(
    "dataset, split, expected",
    [
        ("imagenet32", "train", ["imagenet_trX.npy", "imagenet_trY.npy", "kmeans_centers.npy"]),
        ("cifar10-32", "test", ["cifar10_teX.npy", "cifar10_teY.npy", "kmeans_centers.npy"]),
        ("image-folder", "test", ["kmeans_centers.npy"]),
        ("fasta", "test", []),
    ],
)
def test_images_in_openais_colours_need_the_palette(dataset, split, expected):
    files = needs.needed_files(dataset=dataset, split=split)
    assert [file.name for file in files] == expected


def test_released_statistics_are_named_without_asking_anybody():
    files = needs.needed_files(released=True, offline=True)
    assert [file.name for file in files] == [
        "data_transf_repr_image.zip",
        "data_transf_repr_protein.zip",
    ]


def test_a_mirror_replaces_the_address_and_nothing_else():
    theirs = needs.needed_files(dataset="cifar10-32")
    ours = needs.needed_files(dataset="cifar10-32", openai_url="http://mirror/there/")
    assert paths_of(theirs) == paths_of(ours)
    assert all(file.url == f"http://mirror/there/{file.path}" for file in ours)


@pytest.mark.parametrize(
    "name, complaint",
    [
        ("checkpoints/igpt-s/131001/model.ckpt-131001", "131001"),
        ("checkpoints/igpt-xl/131000/model.ckpt-131000", "xl"),
    ],
)
def test_a_size_or_a_step_that_does_not_exist_is_named(name, complaint):
    with pytest.raises(UserError, match=complaint):
        needs.needed_files(checkpoint=name)


# ----------------------------------------------------------------------------------------- bundled


def test_a_bundled_file_is_verified(repository):
    table = needs.verify_bundled("manifest.json")
    assert table.values.tolist() == [["weights.bin", 12, "bundled, verified"]]


def test_the_files_of_this_repository_are_what_it_records():
    assert len(needs.verify_bundled("assets/manifest.json")) == 6


def test_a_bundled_file_with_one_other_byte_is_refused(repository):
    (repository / "weights.bin").write_bytes(b"some Weights")
    with pytest.raises(UserError, match="weights.bin is missing or altered.*git checkout"):
        needs.verify_bundled("manifest.json")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    )
)
def test_any_manifest_is_one_line_or_a_table(repository, value):
    (repository / "manifest.json").write_text(json.dumps(value))
    try:
        needs.verify_bundled("manifest.json")
    except UserError as error:
        assert "\n" not in str(error)


def test_a_bundled_file_that_is_gone_is_refused(repository):
    (repository / "weights.bin").unlink()
    with pytest.raises(UserError, match="weights.bin is missing"):
        needs.verify_bundled("manifest.json")


def test_no_manifest_means_no_file_and_a_wrong_one_is_named(repository):
    assert needs.verify_bundled("").empty
    (repository / "manifest.json").write_text("[]")
    with pytest.raises(UserError, match="manifest.json is missing or no JSON"):
        needs.verify_bundled("manifest.json")


# ------------------------------------------------------------------------------------------- yours


def test_a_file_of_yours_is_found_below_the_folder_of_downloads(repository):
    folder = repository / "data/datasets"
    folder.mkdir(parents=True)
    (folder / "mine.fa").write_text(">a\nGG\n")
    table = needs.own_files({"path": "mine.fa"}, "data")
    assert table.values.tolist() == [["mine.fa", 6, "yours, found"]]


def test_a_missing_file_of_yours_is_named_with_what_it_is(repository):
    with pytest.raises(UserError, match="mine.fa is missing.*It is a file from nowhere"):
        needs.own_files({"path": "mine.fa"}, "data", "a file from nowhere")


def test_a_folder_of_yours_and_no_path_at_all_are_no_file(repository):
    (repository / "data/datasets/pictures").mkdir(parents=True)
    assert needs.own_files({"path": "pictures"}, "data").empty
    assert needs.own_files({}, "data").empty


def test_a_fetched_file_is_listed_below_the_folder_of_downloads(repository):
    path = repository / "data/datasets/x.npy"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"123")
    table = needs.fetched_files([path], "data")
    assert table.values.tolist() == [["datasets/x.npy", 3, "fetched, verified"]]


def test_no_folder_of_this_machine_is_named_for_a_file_elsewhere(repository, tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "model.bin"
    path.write_bytes(b"1")
    assert needs.fetched_files([path], "data").file[0] == f"{path.parent.name}/model.bin"


def test_a_bundled_file_is_not_one_of_yours():
    bundled = {"path": "assets/wordnet/glosses.csv.gz"}
    assert needs.own_files(bundled, "data").empty
    verified = needs.verify_bundled("assets/wordnet/manifest.json")
    assert verified.file.tolist() == ["assets/wordnet/LICENSE", bundled["path"]]
    assert verified.bytes.sum() < 1e6
