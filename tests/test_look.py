"""A model is looked at through its small files: what it reads, and whether it can read the data."""

import shutil

import pytest
from model_builders import PROTEINS, TEXTS, build
from PIL import Image

from georep_utils.data.samples import Dataset
from georep_utils.io import UserError
from georep_utils.models import load, look


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    families = ("esm2", "gpt2", "bert", "vit")
    return {family: build(family, tmp_path_factory.mktemp(family)) for family in families}


@pytest.mark.parametrize(
    "family, kind, limit",
    [
        ("esm2", "protein", None),
        ("gpt2", "text", 40),
        ("bert", "text", 512),
        ("vit", "image", None),
    ],
)
def test_kind_blocks_and_limits_are_known_without_weights(family, kind, limit, saved, tmp_path):
    folder = shutil.copytree(saved[family], tmp_path / "model")
    (folder / "model.safetensors").unlink()
    seen = look.look(folder, family)
    assert (seen.kind, seen.n_blocks, seen.width, seen.max_tokens) == (kind, 3, 32, limit)


def test_the_reader_counts_the_tokens_that_the_model_reads(saved):
    source = load.source(str(saved["bert"]), special_tokens=True, device="cpu")
    reader = look.reader_of(source)
    assert reader.lengths(TEXTS).tolist() == source.load().lengths(TEXTS).tolist() == [6, 3, 13, 4]


@pytest.mark.parametrize("family, inputs", [("esm2", PROTEINS), ("gpt2", TEXTS)])
def test_a_missing_tokenizer_is_said_before_the_weights_are_read(family, inputs, saved, tmp_path):
    folder = shutil.copytree(saved[family], tmp_path / "model")
    for file in folder.iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            file.unlink()
    kind = "protein" if family == "esm2" else "text"
    with pytest.raises(UserError, match="has no tokenizer") as refusal:
        look.check(load.source(str(folder)), Dataset("some", kind, list(inputs)))
    assert "\n" not in str(refusal.value)


def test_a_missing_image_processor_is_said(saved, tmp_path):
    folder = shutil.copytree(saved["vit"], tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    picture = tmp_path / "a.png"
    Image.new("RGB", (9, 9)).save(picture)
    with pytest.raises(UserError, match="has no image processor"):
        look.check(load.source(str(folder)), Dataset("some", "image", [picture]))


def test_every_image_is_decoded_and_not_the_first_one_only(saved, tmp_path):
    pictures = []
    for i in range(3):
        pictures.append(tmp_path / f"{i}.png")
        Image.effect_noise((50, 40), 80).convert("RGB").save(pictures[-1])
    data = Dataset("some", "image", pictures)
    source = load.source(str(saved["vit"]))
    look.check(source, data)
    whole = pictures[2].read_bytes()
    pictures[2].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="2.png can't be read as an image"):
        look.check(source, data)


def test_a_text_that_is_too_long_and_data_of_another_kind_are_named(saved):
    source = load.source(str(saved["gpt2"]))
    with pytest.raises(UserError, match="sample 1 has 50 tokens, above the limit of 40"):
        look.check(source, Dataset("some", "text", ["a film", "a film " * 25]))
    with pytest.raises(UserError, match="reads text, but some holds protein"):
        look.check(source, Dataset("some", "protein", PROTEINS))


def test_an_imagegpt_has_run_files_of_its_own(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "imagegpt"}')
    with pytest.raises(UserError, match="igpt-small.yml"):
        look.look(tmp_path, "some")
    look.check(load.source(str(tmp_path)), None)
