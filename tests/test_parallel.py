"""Tasks give the same results wherever they run, and a lost worker loses nothing."""

import functools
import os
import socket
import ssl
import time

import numpy as np
import pytest
import worker_tasks as tasks
from dask.distributed import Client, LocalCluster

from georep_utils import clouds, extraction, parallel
from georep_utils.data import datasets
from georep_utils.geometry.neighbors import concatenate, nearest_neighbors
from georep_utils.io import UserError
from georep_utils.models import load


@pytest.fixture(scope="module")
def two_workers():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", resources={"GPU": 1}
    ) as running:
        yield running.scheduler_address


def test_in_process_keeps_order():
    assert parallel.map(tasks.square, range(5)) == [0, 1, 4, 9, 16]


def test_two_workers_give_the_bits_of_one_process(two_workers, tmp_path):
    X = np.random.default_rng(0).standard_normal((600, 12)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    parts = parallel.map(
        functools.partial(tasks.block, tmp_path / "X.npy"),
        range(0, 600, 150),
        scheduler=two_workers,
        shared=tmp_path,
    )
    together, here = concatenate(parts), nearest_neighbors(X, 10, 64, device="cpu")
    for name in ("distances", "indices", "mus", "radii"):
        np.testing.assert_array_equal(getattr(together, name), getattr(here, name))


def test_a_killed_worker_loses_nothing(two_workers, tmp_path):
    results = parallel.map(
        functools.partial(tasks.die_once, tmp_path), range(8), scheduler=two_workers
    )
    assert [task for task, _ in results] == list(range(8))
    assert (tmp_path / "3.tried").exists()


@pytest.mark.long
def test_extraction_on_two_workers_gives_the_bits_of_one_process_and_survives_a_death(
    two_workers, tmp_path
):
    load_model = functools.partial(load.load, "igpt", "assets/igpt-mini/trained.safetensors", "cpu")
    load_data = functools.partial(datasets.load, "fashion-mnist-14", "test", 7)
    model, data = load_model(), load_data()
    alone = clouds.extract(model, data, tmp_path / "alone", batch_tokens=4 * 196, progress=False)
    todo = extraction.prepare(model, data, tmp_path / "out", batch_tokens=4 * 196)
    assert todo.tolist() == list(range(18))
    work = functools.partial(tasks.extract, load_model, load_data, tmp_path / "out", tmp_path)
    with pytest.raises(UserError, match="18 of 18 batches of .* are not done"):
        extraction.finish(model, data, tmp_path / "out")
    workers = parallel.map(work, np.array_split(todo, 9), two_workers, shared=tmp_path)
    seen = {int(path.name.partition("-")[2]) for path in tmp_path.glob("seen-*")}
    assert len(seen) >= 2 and set(workers) <= seen - {os.getpid()}
    assert (tmp_path / "died").exists()
    assert extraction.prepare(model, data, tmp_path / "out", batch_tokens=4 * 196).size == 0
    together = clouds.extract(model, data, tmp_path / "out", progress=False)
    for layer in model.layers:
        np.testing.assert_array_equal(together[layer], alone[layer])
    assert (
        not list(tmp_path.glob(".out*"))
        and together.side("labels").tolist() == alone.side("labels").tolist()
    )


def test_what_is_made_once_is_made_again_for_other_arguments():
    first = parallel.once(functools.partial(dict, a=[1]))
    assert parallel.once(functools.partial(dict, a=[1])) is first == {"a": [1]}
    assert parallel.once(functools.partial(dict, a=[2])) == {"a": [2]}


def test_a_passing_fault_is_tried_again(two_workers, tmp_path):
    assert parallel.map(
        functools.partial(tasks.fail_twice, tmp_path), [7], scheduler=two_workers
    ) == [7]


def test_an_error_of_a_task_arrives_as_it_was(two_workers):
    with pytest.raises(UserError, match="task 1 can't be done"):
        parallel.map(tasks.fail, [1], scheduler=two_workers, retries=0)


def test_resources_that_no_worker_offers_are_named(two_workers):
    assert parallel.map(tasks.square, [3], scheduler=two_workers, resources={"GPU": 1}) == [9]
    with pytest.raises(UserError, match="TPU"):
        parallel.map(tasks.square, [3], scheduler=two_workers, resources={"TPU": 1})


def test_a_folder_that_workers_cannot_see_is_named(two_workers, tmp_path, monkeypatch):
    with Client(two_workers) as client:
        parallel.check_shared(tmp_path, client)
        monkeypatch.setattr(client, "run", lambda *_: {"tcp://far:1": False})
        with pytest.raises(UserError, match="tcp://far:1.*shared file system"):
            parallel.check_shared(tmp_path, client)
    assert not list(tmp_path.iterdir())


def test_a_scheduler_file_and_local_workers_serve(two_workers, tmp_path):
    (tmp_path / "scheduler.json").write_text(f'{{"address": "{two_workers}"}}')
    assert parallel.map(abs, [-2, 3], scheduler=str(tmp_path / "scheduler.json")) == [2, 3]
    assert parallel.map(abs, [-2, 3], scheduler="local") == [2, 3]


def test_local_workers_listen_on_the_loopback_address_only(monkeypatch):
    monkeypatch.setenv("TEST_PROCESS", str(os.getpid()))
    assert parallel.map(tasks.listening_addresses, [0], "local") == [["127.0.0.1"]]


def _answers(port, certificate=None):
    """Whether what listens on `port` speaks over TLS to a caller with or without certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain) as stream,
        ):
            return stream.recv(1) != b""
    except OSError:
        return False


def test_local_workers_refuse_a_stranger(tmp_path):
    with parallel.connect("local") as client:
        address, workers = client.scheduler.address, list(client.scheduler_info()["workers"])
        own = tmp_path / "own.pem"
        own.write_text(client.security.tls_client_key + client.security.tls_client_cert)
        for place in [address, *workers]:
            assert place.startswith("tls://127.0.0.1:")
            port = int(place.rpartition(":")[2])
            assert _answers(port, own) and not _answers(port)


def test_local_workers_see_one_gpu_each(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    found = parallel.map(tasks.visible_gpu, [0.3] * 6, "local", {"GPU": 1})
    assert set(found) == {("3", "1"), ("5", "1")}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(UserError, match="PyTorch sees none here"):
        parallel.map(tasks.visible_gpu, [0], "local", {"GPU": 1})


@pytest.mark.parametrize("text", ["", "{}", "[]"])
def test_a_file_that_is_no_scheduler_file_is_refused(tmp_path, text):
    (tmp_path / "wrong.json").write_text(text)
    with pytest.raises(UserError, match="expected.*scheduler file"):
        parallel.map(tasks.square, [1], scheduler=str(tmp_path / "wrong.json"))


def test_a_scheduler_that_does_not_answer_is_refused_in_seconds(monkeypatch):
    monkeypatch.setattr(parallel, "ANSWER_SECONDS", 1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(UserError, match="did not answer"):
        parallel.map(tasks.square, [1], scheduler=f"tcp://127.0.0.1:{port}")
    assert time.monotonic() - start < 20
    with pytest.raises(UserError, match="expected"):
        parallel.map(tasks.square, [1], scheduler="nowhere.json")
