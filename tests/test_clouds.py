"""One recipe, one cloud: found again by whoever asks, never overwritten, made at most once."""

import multiprocessing
import os
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_extraction import Toy, texts

from georep_utils import clouds, extraction, io
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import RunPaths, UserError


@dataclass(frozen=True)
class ToySource:
    """What a `ModelSource` offers, for the toy model; it counts how often the model is loaded."""

    log: str
    weights: str = "first"
    pooling: str = "mean"
    seed: int | None = None
    in_one_pass = False

    def recipe(self):
        return {
            "model": "toy",
            "files": {"toy.bin": self.weights},
            "place": "ln_1",
            "pooling": self.pooling,
            "precision": "float32",
            "random_init_seed": self.seed,
        }

    def load(self):
        with open(self.log, "a") as stream:
            stream.write(f"{self.weights}-{self.pooling}-{self.seed}\n")
        return Toy()


@pytest.fixture
def source(tmp_path):
    return ToySource(str(tmp_path / "loaded.txt"))


def loaded(source):
    with open(source.log) as stream:
        return len(stream.readlines())


def represent(source, data=None, **options):
    return clouds.represent(source, data or texts(), progress=False, **options)


# --------------------------------------------------------------------------- one recipe, one cloud


def test_the_same_recipe_finds_the_same_cloud_and_loads_no_model(root, source):
    first = represent(source)
    assert represent(source) == first and loaded(source) == 1
    for layer, array in enumerate(Toy().forward(texts().inputs)):
        assert np.array_equal(first[layer], array.numpy())
    assert first.side("labels").tolist() == texts().labels.tolist()


@pytest.mark.parametrize("change", ["weights", "pooling", "seed", "data", "labels", "layers"])
def test_another_recipe_is_another_cloud_beside_it(root, source, change):
    before = represent(source)
    data = texts()
    options = {}
    if change == "data":
        data = replace(data, inputs=[*data.inputs[:-1], "another"])
    elif change == "labels":
        data = replace(data, labels=data.labels[::-1].copy())
    elif change == "layers":
        options = {"layers": [0, 2]}
    else:
        source = replace(source, **{change: {"seed": 1}.get(change, "other")})
    after = represent(source, data, **options)
    assert after.folder != before.folder
    assert len(list((root / "data/clouds").glob("[!.]*"))) == 2
    assert represent(replace(source, weights="first", pooling="mean", seed=None)) == before


def test_the_size_of_a_batch_is_no_part_of_the_recipe(root, source):
    assert represent(source, batch_tokens=64) == represent(source, batch_size=3)


def test_other_code_makes_another_cloud(root, source, monkeypatch):
    before = represent(source)
    digest = io.code_digest
    monkeypatch.setattr(io, "code_digest", lambda *names: f"other {digest(*names)}")
    assert represent(source).folder != before.folder


def test_the_recipe_is_written_down_and_read_back(root, source):
    cloud = represent(source)
    recipe = io.read_json(cloud.folder / "recipe.json")
    assert recipe == clouds.recipe_of(source, texts())
    assert recipe["data"]["digest"] == texts().digest()


def test_a_damaged_or_missing_layer_is_named_and_made_anew(root, source):
    cloud = represent(source)
    file = cloud.folder / "layer_01.npy"
    whole = file.read_bytes()
    for damage in ("cut short", "removed"):
        if damage == "removed":
            file.unlink()
        else:
            file.write_bytes(whole[:-8])
        with pytest.raises(UserError, match="layer_01.npy.*run the notebook that made it again"):
            clouds.open_cloud(cloud.folder)
        assert represent(source).folder == cloud.folder and file.read_bytes() == whole


@pytest.mark.parametrize("content", ["[]", "{}", "5", "{", '{"layers": [0, 1, 2]}'])
def test_a_damaged_description_is_named_and_made_anew(root, source, content):
    cloud = represent(source)
    (cloud.folder / "cloud.json").write_text(content)
    with pytest.raises(UserError, match="run the notebook that made it again"):
        clouds.open_cloud(cloud.folder)
    assert represent(source).n_samples == cloud.n_samples


def test_work_that_stopped_just_before_the_end_is_ended(root, source, monkeypatch):
    """A kill between any two steps of the promotion leaves arrays that the next attempt keeps."""
    for step in ("finish", "promote", "rename"):
        with monkeypatch.context() as patch:
            if step == "finish":
                patch.setattr(extraction, "finish", _stop)
            elif step == "promote":
                patch.setattr(clouds, "promote", _stop)
            else:
                patch.setattr("pathlib.Path.rename", _stop)
            with pytest.raises(KeyboardInterrupt):
                represent(source)
    model = Toy()
    again = replace(source)
    object.__setattr__(again, "load", lambda: model)
    assert len(represent(source)) == 3
    assert not list((root / "data/clouds").glob(".*.partial"))


def _stop(*_, **__):
    raise KeyboardInterrupt


def _slow_source(log):
    source = ToySource(log)
    model = Toy()
    quick = model.forward

    def slow(inputs):
        time.sleep(0.02)
        return quick(inputs)

    model.forward = slow
    object.__setattr__(source, "load", lambda: open(log, "a").write("x\n") and model)
    return source


def _represent_slowly(log, queue):
    queue.put(str(clouds.represent(_slow_source(log), texts(), batch_size=4).folder))


def test_two_processes_make_one_cloud_and_the_second_waits(root, tmp_path, capfd):
    log = str(tmp_path / "loaded.txt")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    both = [context.Process(target=_represent_slowly, args=(log, queue)) for _ in range(2)]
    for process in both:
        process.start()
    folders = {queue.get(timeout=60) for _ in both}
    for process in both:
        process.join()
    assert len(folders) == 1
    with open(log) as stream:
        assert len(stream.readlines()) == 1
    assert "waiting for process" in capfd.readouterr().err


def test_a_reader_of_a_cloud_is_noted(root, source, tmp_path, monkeypatch):
    cloud = represent(source)
    record = tmp_path / "record.jsonl"
    record.touch()
    monkeypatch.setenv(io.RECORD, str(record))
    clouds.open_cloud(cloud.folder)
    read, _, _ = io.recorded(record)
    assert read == [f"data/clouds/{cloud.folder.name}"]
    before = io.state(read[0])
    (cloud.folder / "layer_00.npy").write_bytes(b"")
    assert io.state(read[0]) != before


# -------------------------------------------------------------------------------------- neighbours


def test_neighbours_are_searched_once_and_a_wider_search_serves_a_narrower_one(
    root, source, monkeypatch
):
    cloud = represent(source)
    wide = clouds.find_neighbors(cloud, 8, 32, "cpu", progress=False)
    calls = []
    monkeypatch.setattr(clouds.search, "nearest_neighbors", lambda *_, **__: calls.append(1))
    narrow = clouds.find_neighbors(cloud, 5, 16, "cpu", progress=False)
    assert calls == []
    for layer in cloud.layers:
        direct = nearest_neighbors(cloud[layer], 5, 16, "cpu")
        for name in ("distances", "indices", "mus", "radii", "rank_distances"):
            assert np.array_equal(getattr(narrow.neighbors(layer), name), getattr(direct, name))
        assert wide.neighbors(layer).indices.shape == (60, 9)


def test_blocks_of_rows_give_the_same_neighbours_and_a_search_goes_on(root, source, monkeypatch):
    cloud = represent(source)
    whole = clouds.find_neighbors(cloud, 5, 16, "cpu", progress=False)
    expected = {layer: np.array(whole.neighbors(layer).indices) for layer in cloud.layers}
    with monkeypatch.context() as patch:
        patch.setattr(clouds, "SEARCH_CODE", (*clouds.SEARCH_CODE, "georep_utils.io"))
        searched = []
        real = clouds.search.nearest_neighbors

        def search(points, *arguments, rows):
            if len(searched) == 4:
                searched.append(None)
                raise KeyboardInterrupt
            searched.append((id(points), rows.start))
            return real(points, *arguments, rows=rows)

        patch.setattr(clouds.search, "nearest_neighbors", search)
        with pytest.raises(KeyboardInterrupt):
            clouds.find_neighbors(cloud, 5, 16, "cpu", rows_per_task=25, progress=False)
        found = clouds.find_neighbors(cloud, 5, 16, "cpu", rows_per_task=25, progress=False)
        assert len(searched) == 3 * 3 + 1
        for layer in cloud.layers:
            assert np.array_equal(found.neighbors(layer).indices, expected[layer])


LOST = [
    torch.AcceleratorError("CUDA error: device lost\nCUDA kernel errors .."),
    RuntimeError("CUDA error: device lost when calling `cublasSgemm(..)`"),
]


@pytest.mark.parametrize("error", LOST)
def test_a_device_that_disappears_during_a_search_costs_one_block(root, source, monkeypatch, error):
    cloud = represent(source)
    real = clouds.search.nearest_neighbors
    done = []

    def search(points, *arguments, rows):
        if len(done) == 4:
            done.append("lost")
            raise error
        done.append(rows.start)
        return real(points, *arguments, rows=rows)

    monkeypatch.setattr(clouds.search, "nearest_neighbors", search)
    blocks = {"rows_per_task": 25, "progress": False}
    with pytest.raises(UserError, match="layer 1 of .*CUDA error: device lost.*; what is done is"):
        clouds.find_neighbors(cloud, 5, 16, "cpu", **blocks)
    found = clouds.find_neighbors(cloud, 5, 16, "cpu", **blocks)
    assert len(done) == 3 * 3 + 1, "nothing is searched twice"
    monkeypatch.undo()
    for layer in cloud.layers:
        direct = nearest_neighbors(cloud[layer], 5, 16, "cpu")
        assert np.array_equal(found.neighbors(layer).indices, direct.indices)


def test_a_search_without_memory_says_what_to_do(root, source, monkeypatch):
    cloud = represent(source)

    def search(points, *arguments, rows):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    monkeypatch.setattr(clouds.search, "nearest_neighbors", search)
    with pytest.raises(
        UserError, match="layer 0 of .* no memory left .*, or set device to cpu"
    ) as found:
        clouds.find_neighbors(cloud, 5, 16, "cpu", progress=False)
    assert "\n" not in str(found.value)


def test_neighbours_that_were_never_searched_are_an_error(root, source):
    cloud = represent(source)
    with pytest.raises(UserError, match="run 03_distances first"):
        cloud.neighbors(0)
    with pytest.raises(UserError, match="no search of 5 neighbours"):
        cloud.neighbors(0, 5, 16)
    with pytest.raises(UserError, match="layer 0 of .*maxk=60"):
        clouds.find_neighbors(cloud, 60, 16, "cpu", progress=False)


def test_a_run_remembers_its_clouds_and_how_many_neighbours_it_keeps(root, source):
    paths = RunPaths("mine")
    with pytest.raises(UserError, match="run mine has no representations yet"):
        clouds.of_run(paths)
    trained = represent(source)
    untrained = represent(replace(source, seed=0))
    clouds.assign(paths, trained=trained, untrained=untrained)
    assert clouds.of_run(paths) == {"trained": trained, "untrained": untrained}
    for cloud in (trained, untrained):
        clouds.find_neighbors(cloud, 6, 16, "cpu", progress=False)
    clouds.keep_neighbors(paths, 5, 8)
    near = clouds.of_run(paths)["trained"].neighbors(0)
    assert near.indices.shape == (60, 6) and near.mus.shape == (60, 3)
    clouds.assign(paths, trained=trained)
    assert set(clouds.of_run(paths)) == {"trained"}, "a control that is not assigned is not read"


# ---------------------------------------------------------------------------------- brought clouds


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {f"layer{i}": rng.standard_normal((40, 3 + i)).astype(np.float32) for i in (0, 2, 10)}


def save_as(kind, arrays, folder):
    folder.mkdir(exist_ok=True)
    if kind == "folder":
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        return folder
    path = folder / f"arrays.{kind}"
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind == "safetensors":
        save_file({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    else:
        zarr = pytest.importorskip("zarr")
        group = zarr.open_group(path, mode="w")
        for name, array in arrays.items():
            group.create_array(name, data=array)
    return path


@pytest.mark.parametrize("kind", ["folder", "npz", "safetensors", "zarr"])
def test_a_cloud_of_another_tool_is_read_in_place(root, arrays, tmp_path, kind):
    path = save_as(kind, arrays, tmp_path / "theirs")
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n" * 20)
    cloud = clouds.bring(path, labels)
    assert cloud.layer_names == ("layer0", "layer2", "layer10") and cloud.n_blocks == 2
    for layer, array in enumerate(arrays.values()):
        assert np.array_equal(cloud[layer], array) and cloud[layer].dtype == np.float32
    assert cloud.side("labels").tolist() == [0, 1] * 20
    assert clouds.bring(path, labels) == cloud
    assert not list(cloud.folder.glob("layer_*"))
    searched = clouds.find_neighbors(cloud, 5, 16, "cpu", progress=False)
    direct = nearest_neighbors(arrays["layer2"], 5, 16, "cpu")
    assert np.array_equal(searched.neighbors(1).indices, direct.indices)


def test_other_bytes_under_the_same_name_are_another_cloud(root, arrays, tmp_path):
    path = save_as("npz", arrays, tmp_path / "theirs")
    before = clouds.bring(path)
    arrays["layer2"] = arrays["layer2"] + 1
    save_as("npz", arrays, tmp_path / "theirs")
    assert clouds.bring(path).folder != before.folder


def test_half_precision_is_read_as_float32_and_chosen_arrays_in_their_order(root, tmp_path):
    tensors = {name: torch.randn(40, 3).to(torch.bfloat16) for name in "ab"}
    path = tmp_path / "x.safetensors"
    save_file(tensors, path)
    cloud = clouds.bring(path, arrays=["b", "a"], n_blocks=8, name="theirs")
    assert np.array_equal(cloud[0], tensors["b"].float().numpy())
    assert (cloud.model, cloud.n_blocks, cloud.layers) == ("theirs", 8, (0, 1))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda a: a | {"layer2": a["layer2"][:-1]}, "layer2 .* has 39 rows, but layer0 has 40"),
        (lambda a: a | {"layer2": a["layer2"] * np.nan}, "layer2 .* has NaN or infinity in 40 of"),
        (lambda a: a | {"layer2": a["layer2"].astype(int)}, "layer2 .* has type int64"),
        (lambda a: a | {"layer2": a["layer2"].astype(float)}, "has type float64.*astype"),
        (lambda a: a | {"layer2": a["layer2"][:, 0]}, r"layer2 .* shape \(40,\)"),
        (lambda a: {}, "holds no array"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_arrays_that_are_no_cloud_are_named(root, arrays, tmp_path, kind, spoil, expected):
    path = save_as(kind, spoil(arrays), tmp_path / "theirs")
    with pytest.raises(UserError, match=expected):
        clouds.bring(path)
    assert not (root / "data/clouds").exists()


def test_missing_or_unequal_labels_and_unreadable_files_are_named(root, arrays, tmp_path):
    path = save_as("npz", arrays, tmp_path / "theirs")
    with pytest.raises(UserError, match="labels.npy is missing"):
        clouds.bring(path, tmp_path / "labels.npy")
    np.save(tmp_path / "labels.npy", np.arange(39))
    with pytest.raises(UserError, match=r"labels of shape \(39,\); expected one for each of 40"):
        clouds.bring(path, tmp_path / "labels.npy")
    with pytest.raises(UserError, match="nowhere is missing"):
        clouds.bring(tmp_path / "nowhere")
    (tmp_path / "text.txt").write_text("no array")
    with pytest.raises(UserError, match="is no folder of .npy files"):
        clouds.bring(tmp_path / "text.txt")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="arrays.npz"):
        clouds.bring(path)
    folder = save_as("folder", arrays, tmp_path / "folder")
    np.save(folder / "layer2.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="array layer2 .* can't be read"):
        clouds.bring(folder)


def test_names_of_clouds_stay_inside_their_folder(root):
    paths = RunPaths("mine")
    io.write_json(paths.clouds, {"trained": f"..{os.sep}..{os.sep}elsewhere"})
    with pytest.raises(UserError, match="can't be a folder's name"):
        clouds.of_run(paths)


# ------------------------------------------------------------------------------ untrained networks


def test_untrained_networks_have_names_by_number_and_come_in_the_order_of_their_seeds(root, source):
    trained = represent(source)
    seeds = {clouds.untrained_name(i): represent(replace(source, seed=i)) for i in range(12)}
    assert [*seeds][:3] == ["untrained", "untrained-1", "untrained-2"]
    paths = RunPaths("mine")
    clouds.assign(paths, trained=trained, input=trained, **seeds)
    found = clouds.untrained_of(clouds.of_run(paths))
    assert [cloud.folder for cloud in found] == [cloud.folder for cloud in seeds.values()]
    assert len({cloud.folder for cloud in found}) == 12
    assert clouds.untrained_of({"trained": trained}) == []
