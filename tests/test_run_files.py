"""Every run file runs: small files of the true formats, served under the true paths, become representations."""

import gzip
import hashlib
import json
import re
import shutil
import zipfile

import jupytext
import matplotlib
import numpy as np
import pytest
import torch
import transformers as tr
from loopback import serve_hub, serve_tree
from test_hf_models import WORDS, build, randomised, word_tokenizer
from tf_checkpoint_writer import write_tf_checkpoint

from georep_utils import clouds as extract
from georep_utils.data import datasets
from georep_utils.models import imagegpt as igpt
from georep_utils.workflow import runs, stages as pipeline
from georep_utils.data.download import SHARDS, STEPS, openai_checkpoint
from georep_utils.io import REPOSITORY, RunPaths, UserError

matplotlib.use("Agg")
DEPTH = {"s": (24, 8), "m": (36, 8), "l": (48, 16)}  # blocks and heads of OpenAI's models
RUNS = {"igpt-small": "s", "igpt-medium": "m", "igpt-large": "l", "igpt-small-cifar10": "s"}
ESM = {"esm2-35M": ("facebook/esm2_t12_35M_UR50D", 12), "esm2-650M": ("facebook/esm2_t33_650M_UR50D", 33),
       "esm2-3B": ("facebook/esm2_t36_3B_UR50D", 36)}  # fmt: skip
GPT2 = "openai-community/gpt2"
SCOPE = "astral-scopedom-seqres-gd-sel-gs-bib-40-2.08.fa"
PER_CLASS = 33


# ---------------------------------------------------------------------- a small internet


def imagegpt(size, causal=True, seed=0):
    """Arrays of an ImageGPT of the true depth, heads, vocabulary and positions, but 16 wide."""
    n_blocks, n_heads = DEPTH[size]
    return igpt.to_arrays(igpt.initialise(igpt.ImageGPT(n_blocks, 16, n_heads, 512, 1024, causal), seed))


def serve_checkpoint(root, size, step, bert=False):
    arrays = imagegpt(size, not bert, seed=step % 97)
    slots = {"model/wte/Adam": np.zeros((512, 16), np.float32), "global_step": np.array(step, np.int64)}
    prefix = openai_checkpoint(size, step, bert)[0].path.removesuffix(".index")
    write_tf_checkpoint(root / prefix, arrays | slots, SHARDS[size])


def serve_images(root, name, part, labels, n_classes):
    rng = np.random.default_rng(len(labels))
    np.save(root / f"datasets/{name}_{part}X.npy", rng.integers(0, 512, (len(labels), 1024)))
    np.save(root / f"datasets/{name}_{part}Y.npy", np.eye(n_classes, dtype=np.float32)[labels])


@pytest.fixture(scope="module")
def openai(tmp_path_factory):
    """OpenAI's storage: the checkpoints that the run files name, ImageNet with all 300 classes, CIFAR-10, the palette."""
    root = tmp_path_factory.mktemp("openai")
    (root / "datasets").mkdir()
    (root / "color-clusters").mkdir()
    np.save(root / "color-clusters/kmeans_centers.npy", np.random.default_rng(0).uniform(-1, 1, (512, 3)))
    classes = [int(c) for c in (REPOSITORY / "book/reference/imagenet_300_classes.txt").read_text().split()]
    serve_images(root, "imagenet", "tr", np.array([*classes, 0, *classes[:3] * (PER_CLASS - 1)]), 1000)
    serve_images(root, "cifar10", "te", np.arange(10 * 12) % 10, 10)
    for size, step in [("s", 1000000), ("m", 1000000), *(("l", step) for step in STEPS)]:
        serve_checkpoint(root, size, step)
    serve_checkpoint(root, "s", 131000, bert=True)
    return root


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Models of the true class and depth with random weights, as the hub offers them."""
    root, found = tmp_path_factory.mktemp("hub"), {}
    for name, n_blocks in ESM.values():
        (root / name).mkdir(parents=True)
        found[name] = build("esm2", root / name, num_hidden_layers=n_blocks)
    folder = root / GPT2
    folder.mkdir(parents=True)
    word_tokenizer(folder, special=False)
    config = tr.GPT2Config(
        vocab_size=len(WORDS), n_embd=32, n_layer=12, n_head=2, n_positions=40, bos_token_id=1, eos_token_id=2
    )
    randomised(tr.GPT2LMHeadModel(config)).save_pretrained(folder)
    return found | {GPT2: folder}


def put_own_files(data_dir, per_class=12):
    """What a user has to put in place: SCOPe sequences and SST-2."""
    rng = np.random.default_rng(0)
    (data_dir / "datasets/SST-2").mkdir(parents=True)
    sizes = {"a.1.1": per_class, "b.2.1": per_class, "c.2.1": per_class, "d.58.7": 9}
    lines = []
    for superfamily, n in sizes.items():
        for i in range(n):
            residues = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 1100 if lines == [] else 5 + i % 40)).lower()
            lines += [f">d{len(lines):06d}_ {superfamily}.{1 + i % 3} (A:) some protein", residues]
    (data_dir / "datasets" / SCOPE).write_bytes(gzip.compress("\n".join(lines).encode()))
    sentences = [f"{' '.join(rng.choice(WORDS[4:], 3 + i % 30))}\t{i % 2}" for i in range(2 * per_class)]
    (data_dir / "datasets/SST-2/train.tsv").write_text("\n".join(["sentence\tlabel", *sentences]) + "\n")


# ---------------------------------------------------------------------- running notebooks


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Everything that a run writes goes below `tmp_path`; notebooks start in the repository, as Papermill starts them."""
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return tmp_path


def execute(run, notebooks, **overrides):
    """Execute the code cells of a run's notebooks in this process, in order, with the parameters of its run file.
    Returns the variables of the last one. Sections and names are parted by two underscores in `overrides`."""
    small = {"device": "cpu"} | {key.replace("__", "."): value for key, value in overrides.items()}
    given = pipeline.parameters_of(pipeline.read_run(run), small)
    scope = {}
    for notebook in [name for name in given if name[:2] in notebooks]:
        scope = {"__name__": "notebook"}
        for cell in jupytext.read(pipeline.notebook_file(notebook)).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, notebook, "exec"), scope)  # noqa: S102
                scope.update(given[notebook] if "parameters" in cell.metadata.get("tags", []) else {})
        matplotlib.pyplot.close("all")
    return scope


def small_images(here):
    return {"data_dir": str(here / "data"), "extract__n_completions": 0}


CLASSES = {"classes": [1, 4, 17]}


# ---------------------------------------------------------------------- the files themselves


@pytest.mark.parametrize("run", pipeline.run_files())
def test_a_run_file_is_valid(run):
    content = pipeline.read_run(run)
    given = pipeline.parameters_of(content)
    assert given and content["title"] != run
    if run in [*RUNS, *ESM, "hf-text", "igpt-mini"]:
        assert list(given)[:5] == runs.PIPELINE and f"({run})" in content["title"]
        assert all(parameters["run"] == run for parameters in given.values())


def test_the_papers_models_and_the_ways_beyond_are_there():
    assert set(pipeline.run_files()) >= {"igpt-mini", "hf-text", *RUNS, *ESM}


def test_the_dynamics_of_igpt_large_name_every_step_and_the_untrained_network():
    given = pipeline.parameters_of(pipeline.read_run("igpt-large"))
    steps = {str(step): f"checkpoints/igpt-l/{step}/model.ckpt-{step}" for step in STEPS}
    assert given["06_training_dynamics"]["checkpoints"] == {"untrained": "untrained"} | steps
    assert given["01_download"]["checkpoints"] == given["06_training_dynamics"]["checkpoints"]


def test_the_page_of_parameters_names_only_what_exists():
    """Every switch of the authors' command lines has a row, and every parameter in the tables is one."""
    text = (REPOSITORY / "book/parameters.md").read_text()
    switches = ["--target_dir", "--distance_mat_folder", "--compute_id_from_distances", "--model", "--ckpt", "--bert", "--clusters",
                "--dataset", "--download_dir", "--data_dir", "--ckpt_dir", "--ckpt_iter", "--results_dir", "--nimg_cat",
                "--n_sub_batch", "--n_gpu", "--maxk", "--working_memory", "--activations", "--valset", "--testset",
                "--not_trained", "--seed", "--n_px", "--n_vocab"]  # fmt: skip
    assert [s for s in switches if f"`{s}`" not in text] == []
    assert [run for run in [*RUNS, *ESM, "hf-text", "igpt-mini"] if f"`{run}`" not in text] == []
    declared = {
        n.partition("_")[2]: pipeline.declared_parameters(n)
        for n in [*runs.PIPELINE, "06_training_dynamics", "11_listening_places"]
    }
    named = re.findall(r"`(\w+)\.(\w+)`", text)
    assert named and [f"{a}.{b}" for a, b in named if a in declared and b not in [*declared[a], "py"]] == []


# ---------------------------------------------------------------------- from the server to the arrays


@pytest.mark.parametrize("run, fault, ranges", [
    ("igpt-small", "drop", True), ("igpt-small-cifar10", "drop", False),
    *(pytest.param(run, "", True, marks=pytest.mark.slow) for run in ("igpt-medium", "igpt-large")),
])  # fmt: skip
def test_an_image_run_gives_the_activations_of_the_served_checkpoint(run, fault, ranges, openai, here):
    size, cifar = RUNS[run], "cifar" in run
    with serve_tree(openai, fault=fault, times=1, ranges=ranges) as server:
        downloaded = execute(run, ["01"], download__openai_url=server.url, **small_images(here))
    assert len(downloaded["data"]) == (120 if cifar else 300 + 3 * (PER_CLASS - 1))
    n_files = (SHARDS[size] + 1) * (4 if size == "l" else 1) + 3
    assert len(downloaded["files"]) == n_files
    served = {p.relative_to(openai) for p in openai.rglob("*") if p.is_file()}
    fetched = {
        p.relative_to(here / "data") for p in (here / "data").rglob("*") if p.suffix != ".sha256" and p.is_file()
    }
    assert fetched <= served and len(fetched) == n_files
    options = {"dataset_options": {"classes": [3, 0] if cifar else [1, 4]}, "n_per_class": 2}
    execute(run, ["02"], **small_images(here), **options)
    found, data = extract.load(RunPaths(run).representations), datasets.load(
        "cifar10-32" if cifar else "imagenet32", "test" if cifar else "train", 2, str(here / "data"), **options["dataset_options"])  # fmt: skip
    n_blocks = DEPTH[size][0]
    assert found.n_samples == len(data) == 4 and found.layers == tuple(range(n_blocks + 2))
    assert found.side("labels").tolist() == ([3, 3, 0, 0] if cifar else [1, 1, 4, 4])
    assert (here / f"data/runs/{run}/representations-untrained").exists() == (run != "igpt-large")
    net = igpt.from_arrays(imagegpt(size, seed=1000000 % 97))
    with torch.inference_mode():
        states = [x.mean(1).numpy() for site, _, x in net.states(torch.from_numpy(data.inputs[:2]))
                  if site in ("ln_1", "ln_f", "logits")]  # fmt: skip
    assert max(np.abs(found[layer][:2] - state).max() for layer, state in enumerate(states)) < 1e-5


@pytest.mark.parametrize("run", ["esm2-35M", *(pytest.param(run, marks=pytest.mark.slow) for run in [*ESM][1:])])
def test_a_protein_run_gives_the_hidden_states_of_the_served_model(run, hub, here):
    name, n_blocks = ESM[run]
    put_own_files(here / "data")
    with serve_hub(hub) as server:
        scope = execute(run, ["01"], download__hub_endpoint=server.url, data_dir=str(here / "data"))
    assert {f"hub/{name}/config.json", f"hub/{name}/model.safetensors", SCOPE} <= set(scope["files"].file)
    execute(run, ["02"], data_dir=str(here / "data"))
    found = extract.load(RunPaths(run).representations)
    assert (found.model, found.n_blocks, len(found), found.n_samples) == (name, n_blocks, n_blocks + 1, 24)
    assert np.bincount(found.side("labels")).tolist() == [12, 12] and len(set(found.side("families"))) == 6
    data = scope["data"]
    assert len(data.inputs[0]) == 1022
    tokenizer, net = tr.AutoTokenizer.from_pretrained(hub[name]), tr.EsmModel.from_pretrained(hub[name]).eval()
    with torch.inference_mode():
        last = net(**tokenizer(data.inputs[5], return_tensors="pt")).last_hidden_state[0, 1:-1].mean(0).numpy()
    assert np.abs(found[n_blocks][5] - last).max() < 1e-5


def test_a_text_run_reads_sentences_and_labels(hub, here):
    put_own_files(here / "data")
    with serve_hub(hub) as server:
        execute("hf-text", ["01", "02"], download__hub_endpoint=server.url, data_dir=str(here / "data"))
    found = extract.load(RunPaths("hf-text").representations)
    assert (found.model, found.n_blocks, len(found), found.n_samples) == (GPT2, 12, 13, 24)
    assert np.bincount(found.side("labels")).tolist() == [12, 12]
    assert not np.array_equal(found[6], np.load(here / "data/runs/hf-text/representations-untrained/layer_06.npy"))


def test_the_bundled_run_needs_no_server(here):
    scope = execute("igpt-mini", ["01", "02"], n_per_class=2, extract__n_completions=0)
    assert set(scope["learned"]) > set("nats") and extract.load(RunPaths("igpt-mini").representations).n_samples == 20


def test_a_run_on_local_workers_leaves_the_bits_of_a_run_in_one_process(here):
    given = {"n_per_class": 5, "extract__n_completions": 0, "distances__rows_per_task": 20, "distances__maxk": 20}
    left = {}
    for scheduler in ("", "local"):
        execute("igpt-mini", ["02", "03"], scheduler=scheduler, extract__samples_per_task=20, **given)
        files = [*(here / "data/runs/igpt-mini").rglob("*.npy")]
        left[scheduler] = {path.relative_to(here): path.read_bytes() for path in files}
        shutil.rmtree(here / "data/runs")
    assert left[""] == left["local"] and len(left[""]) == 2 * (26 + 2 + 26 * 5)


def test_a_model_in_a_local_folder_needs_no_server(hub, here):
    put_own_files(here / "data")
    folder = str(hub[GPT2])
    execute("hf-text", ["01", "02"], model=folder, data_dir=str(here / "data"), extract__untrained_control=False)
    assert extract.load(RunPaths("hf-text").representations).model == folder


def test_copies_of_a_sample_are_counted_or_dropped_as_asked(hub, here):
    """90 texts, 30 of them copies: in a layer a copy has distance 0 to its original, and neither has a ratio."""
    rng = np.random.default_rng(0)
    texts = [f"{' '.join(rng.choice(WORDS[4:], 12))}\t{i % 2}" for i in range(60)]
    (here / "data/datasets/SST-2").mkdir(parents=True)
    (here / "data/datasets/SST-2/train.tsv").write_text("\n".join(["sentence\tlabel", *texts, *texts[:30]]) + "\n")
    given = {"model": str(hub[GPT2]), "data_dir": str(here / "data"), "n_per_class": 0,
             "extract__untrained_control": False, "distances__maxk": 20, "intrinsic_dimension__decimations": [1],
             "intrinsic_dimension__scale_rule": "gride_small_k"}  # fmt: skip
    execute("hf-text", ["02", "03"], **given)
    counted = execute("hf-text", ["04"], **given)["curves"]
    dropped = execute("hf-text", ["04"], **given, intrinsic_dimension__drop_duplicates=True)["curves"]
    for curves, n, excluded in ((counted, 90, 60), (dropped, 60, 0)):
        first = curves[curves.scale == 1]
        assert (first.n_points == n).all() and (first.n_excluded == excluded).all() and np.isfinite(first.id).all()


def test_every_place_is_read_and_a_layer_of_copies_is_left_out(here):
    scope = execute("igpt-mini", ["11"], listening_places__n_per_class=8, listening_places__decimation=1)
    places = scope["places"]
    assert places.groupby(["site", "pool"]).size().to_dict() == dict.fromkeys(scope["cases"], 25)
    blank = places[places.id.isna()]
    assert blank[["site", "pool", "layer"]].values.tolist() == [["ln_1", "last", 0]]
    same = places[(places.pool == "mean") & (places.layer == 24)]
    assert np.ptp(same.id) < 1e-6 * same.id.mean() and len(same) == 4  # the final norm is the same place for all
    table = here / "book/results/igpt-mini/listening_places.csv"
    assert len(table.read_text().splitlines()) == 1 + len(places)


def test_the_last_place_can_be_read_though_its_first_layer_is_a_handful_of_points(here, capsys):
    given = {"n_per_class": 30, "extract__pool": "last", "extract__n_completions": 0, "extract__untrained_control": False,
             "overlaps__probe_samples": 100}  # fmt: skip
    profile = execute("igpt-mini", ["02", "03", "04"], **given)["p"]
    assert profile.layer.tolist() == list(range(1, 26)) and np.isfinite(profile.id).all()
    assert re.search(r"layer 0 has \d+ different points of 300: left out", capsys.readouterr().out)
    execute("igpt-mini", ["05"], **given)


@pytest.mark.slow
def test_papermill_runs_a_run_file_and_only_what_changed(openai, here):
    """The command of the book: `run igpt-small-cifar10 --only 01 --only 02`, then once more, then with a new site."""
    with serve_tree(openai) as server:
        given = {"download.openai_url": server.url, "data_dir": str(here / "data"), "n_per_class": 2, "extract.n_completions": 0,
                 "extract.untrained_control": False}  # fmt: skip
        assert pipeline.run("igpt-small-cifar10", given, ["01", "02"]) == ["01_download", "02_extract"]
    assert pipeline.run("igpt-small-cifar10", given, ["01", "02"]) == []
    page = json.loads((here / "book/runs/igpt-small-cifar10/02_extract.ipynb").read_text())
    assert not [out for cell in page["cells"] for out in cell.get("outputs", []) if out["output_type"] == "error"]
    assert np.load(here / "data/runs/igpt-small-cifar10/representations/layer_12.npy", mmap_mode="r").shape == (20, 16)


# ---------------------------------------------------------------------- servers and users that get it wrong


def test_offline_says_which_file_is_missing_and_where_it_goes(here):
    with pytest.raises(
        UserError,
        match=r"offline, and files are needed: .*data/checkpoints/igpt-s/1000000/model.ckpt-1000000.index is missing",
    ):
        execute("igpt-small", ["01"], download__offline=True, **small_images(here))
    put_own_files(here / "data")
    with pytest.raises(UserError, match="offline, and hub model 'facebook/esm2_t12_35M_UR50D' is not whole in"):
        execute("esm2-35M", ["01"], download__offline=True, data_dir=str(here / "data"))


@pytest.mark.parametrize(
    "run, name, hint",
    [("esm2-650M", SCOPE, "It is Astral SCOPe 2.08"), ("hf-text", "SST-2/train.tsv", "It is a file of yours")],
)
def test_a_file_that_the_user_must_bring_is_named_before_anything_is_fetched(run, name, hint, here):
    with pytest.raises(UserError, match=f"{name} is missing; put it at .*{here}/data/datasets/{name}.*{hint}"):
        execute(run, ["01"], download__hub_endpoint="http://127.0.0.1:9", data_dir=str(here / "data"))


@pytest.mark.parametrize("checkpoint, complaint", [
    ("checkpoints/igpt-s/131001/model.ckpt-131001", "there is no checkpoint step 131001"),
    ("checkpoints/igpt-xl/131000/model.ckpt-131000", "there is no ImageGPT size 'xl'"),
])  # fmt: skip
def test_steps_and_sizes_that_do_not_exist_are_named(checkpoint, complaint, here):
    with pytest.raises(UserError, match=complaint):
        execute(
            "igpt-small", ["01"], checkpoint=checkpoint, download__openai_url="http://127.0.0.1:9", **small_images(here)
        )


def test_wrong_bytes_are_noticed_before_a_number_is_computed(openai, hub, here):
    """Nobody published checksums of OpenAI's files, but a shard carries its own; the hub's weights have one."""
    bundled = {"dataset": "fashion-mnist-14", "split": "test", "dataset_options": {}, "n_per_class": 1}
    with serve_tree(openai, fault="wrong") as server:
        with pytest.raises(UserError, match="imagenet_tr|kmeans_centers"):
            execute("igpt-small", ["01"], download__openai_url=server.url, **small_images(here))
        execute("igpt-medium", ["01"], download__openai_url=server.url, **small_images(here) | bundled)
    with pytest.raises(UserError, match="model.ckpt-1000000"):
        execute("igpt-medium", ["02"], **small_images(here) | bundled)
    assert not RunPaths("igpt-medium").representations.exists()
    put_own_files(here / "data")
    with serve_hub(hub, fault="wrong") as server, pytest.raises(UserError, match="hub model 'openai-community/gpt2'"):
        execute("hf-text", ["01"], download__hub_endpoint=server.url, data_dir=str(here / "data"))


def test_a_missing_shard_is_named(openai, here):
    shutil.copytree(openai, here / "data")
    lost = here / "data/checkpoints/igpt-s/1000000/model.ckpt-1000000.data-00007-of-00032"
    lost.unlink()
    with pytest.raises(UserError, match="model.ckpt-1000000.data-00007-of-00032"):
        execute("igpt-small", ["02"], **small_images(here), dataset_options=CLASSES, n_per_class=1)


# ---------------------------------------------------------------------- other switches of the authors


def test_bert_untrained_and_another_step_are_one_parameter_each(openai, here):
    shutil.copytree(openai, here / "data")
    few = small_images(here) | {
        "dataset_options": {"classes": [1, 4]},
        "n_per_class": 1,
        "extract__untrained_control": False,
    }
    prefix = "checkpoints/igpt-s-bert/131000/model.ckpt-131000"
    bert = execute("igpt-small", ["02"], checkpoint=prefix, **few)
    assert not bert["net"].net.causal and bert["held_out"] is None and bert["net"].name == prefix
    new = execute("igpt-small", ["02"], extract__model_options={"random_init_seed": 0}, **few)
    assert new["held_out"] == pytest.approx(np.log(512), abs=0.1) and "untrained" in new["net"].name


def test_released_archives_are_fetched_and_unpacked(here, tmp_path_factory):
    root = tmp_path_factory.mktemp("figshare")
    (root / "files").mkdir()
    for path, member in [("files/40694132", "data/a.npy"), ("files/1", "data/b.npy")]:
        with zipfile.ZipFile(root / path, "w") as archive:
            archive.writestr(member, b"some statistics")
    article, protein = {}, root / "files/1"
    with serve_tree(root, pages=article) as server:
        article["/v2/articles/23137958/versions/1"] = {"files": [{
            "name": "data_transf_repr_protein.zip", "download_url": f"{server.url}/files/1", "size": protein.stat().st_size,
            "computed_md5": hashlib.md5(protein.read_bytes()).hexdigest()}]}  # fmt: skip
        execute("igpt-mini", ["01"], data_dir=str(here / "data"), download__released=True, download__figshare_url=server.url,
                download__figshare_api=server.url)  # fmt: skip
    for kind, name in (("image", "a"), ("protein", "b")):
        assert (here / f"data/released/data_transf_repr_{kind}/data/{name}.npy").read_bytes() == b"some statistics"


@pytest.mark.slow
def test_training_dynamics_go_over_every_step(openai, here):
    shutil.copytree(openai, here / "data")
    scope = execute("igpt-large", ["06"], data_dir=str(here / "data"), dataset_options=CLASSES, n_per_class=8,
                    training_dynamics__decimation=1, training_dynamics__label_k=5)  # fmt: skip
    assert scope["summary"].index.tolist() == ["untrained", *map(str, STEPS)]
    assert scope["dynamics"].groupby("checkpoint").size().tolist() == [50] * 5
    assert scope["summary"]["highest_id"].nunique() == 5


# ---------------------------------------------------------------------- all notebooks


@pytest.mark.slow
@pytest.mark.parametrize("run", [*ESM, "hf-text"])
def test_all_five_notebooks_run_on_a_model_of_the_true_class_and_depth(run, hub, here):
    put_own_files(here / "data", per_class=330)
    with serve_hub(hub) as server:
        execute(run, ["01", "02", "03", "04", "05"], data_dir=str(here / "data"), download__hub_endpoint=server.url)
    left = {path.name for path in (here / "book/results" / run).iterdir()}
    assert left >= {"id_scaling.csv", "id_profile.csv", "overlaps.csv", "provenance.json"}


@pytest.mark.slow
@pytest.mark.parametrize("run", list(RUNS))
def test_all_five_notebooks_run_on_an_image_model_of_the_true_depth(run, openai, here):
    with serve_tree(openai) as server:
        execute(run, ["01", "02", "03", "04", "05"], download__openai_url=server.url,
                intrinsic_dimension__scale_rule="paper_text", **small_images(here))  # fmt: skip
    left = {path.name for path in (here / "book/results" / run).iterdir()}
    assert left >= {"id_scaling.csv", "id_profile.csv", "overlaps.csv", "provenance.json"}
