"""Several places of one network from one pass: the same arrays, made once, shared out whole."""

import numpy as np
import pytest
from safetensors.numpy import save_file
from test_clouds import ToySource, texts

from georep_utils import clouds, extraction, io, places
from georep_utils.data.samples import Dataset
from georep_utils.models import imagegpt, load

CASES = [("ln_1", "mean"), ("input", "mean"), ("mlp", "mean"), ("ln_1", "last")]


@pytest.fixture
def sources(root):
    net = imagegpt.initialise(imagegpt.ImageGPT(3, 16, 2, 8, 16), 0)
    save_file(imagegpt.to_arrays(net), root / "small.safetensors")
    file = str(root / "small.safetensors")
    return [load.source("igpt", file, site=site, pool=pool) for site, pool in CASES]


def images():
    tokens = np.random.default_rng(0).integers(0, 8, (300, 16)).astype(np.uint8)
    return Dataset("some", "tokens", tokens, np.arange(300) % 3)


@pytest.fixture
def passes(monkeypatch):
    """The numbers of samples that the network was given, call by call."""
    counted = []
    place = imagegpt.ImageGPTModel.place

    def counting(model, tokens):
        counted.append(len(tokens))
        return place(model, tokens)

    monkeypatch.setattr(imagegpt.ImageGPTModel, "place", counting)
    return counted


def find(sources):
    return places.represent_places(sources, images(), progress=False)


def test_each_place_gets_the_arrays_it_would_get_alone_from_one_pass(sources, passes, root):
    together = find(sources)
    assert sum(passes) == 300 + 1  # one sample to begin with, which tells the widths
    arrays = [[np.array(cloud[layer]) for layer in cloud.layers] for cloud in together]
    (root / "data").rename(root / "before")
    for source, cloud, found in zip(sources, together, arrays, strict=True):
        alone = clouds.represent(source, images(), progress=False)
        assert alone.folder == cloud.folder and alone.layer_names == cloud.layer_names
        for layer in alone.layers:
            assert np.array_equal(alone[layer], found[layer])
        assert (alone.side("labels") == images().labels).all()


def test_what_is_there_is_found_and_nothing_else_is_left(sources, passes):
    find(sources)
    passes.clear()
    assert len(find(sources)) == 4 and passes == []
    kept = [path.name for path in io.clouds_folder().iterdir() if not path.name.endswith(".lock")]
    assert len(kept) == 4 and not any("together" in name or "partial" in name for name in kept)


def test_one_that_is_missing_is_made_alone(sources, passes):
    find(sources[:3])
    passes.clear()
    assert find(sources)[3].layer_names[0] == "h0.ln_1" and sum(passes) == 301


def test_no_sample_is_read_again_when_sharing_out_was_interrupted(sources, passes, monkeypatch):
    real = places.clouds.promote
    done = []

    def stops(folder, recipe):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(folder)
        real(folder, recipe)

    monkeypatch.setattr(places.clouds, "promote", stops)
    with pytest.raises(KeyboardInterrupt):
        find(sources)
    monkeypatch.setattr(places.clouds, "promote", real)
    passes.clear()
    assert len({cloud.folder for cloud in find(sources)}) == 4
    assert sum(passes) <= 1


def test_a_model_that_is_read_at_one_place_at_a_time_is_read_so(root):
    source = ToySource(str(root / "loaded.txt"))
    other = ToySource(str(root / "loaded.txt"), pooling="last")
    found = places.represent_places([source, other], texts(), progress=False)
    assert [len(cloud) for cloud in found] == [3, 3]
    assert not extraction.partial_of(found[0].folder).exists()
