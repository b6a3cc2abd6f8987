"""One `map` over independent tasks: in this process, or on a Dask scheduler. It does not know what a task does."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import pickle
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from georep_utils.io import UserError

ANSWER_SECONDS = 5
LOOPBACK = "127.0.0.1"


def map(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    scheduler: str = "",
    resources: dict[str, float] | None = None,
    retries: int = 3,
    progress: str = "",
    shared: str | Path | None = None,
) -> list:
    """`[function(task) for task in tasks]`, wherever the tasks run; results keep the order of the tasks.

    scheduler: "" for this process, "local" for one single-threaded worker a core (or a GPU, where `resources` ask for
    GPUs), the address of a Dask scheduler ("tcp://host:8786") or the path of a scheduler file.
    resources: what a task takes of its worker, e.g. {"GPU": 1}.
    retries: how often a task that fails is tried again on a scheduler; one lost with its worker is always run again.
    progress: the label of a progress bar ("" for none). shared: a folder that every worker must see.
    Raises UserError for a scheduler that does not answer, workers without the resources or the folder, and a task that
    its workers do not survive; whatever a task itself raises is raised here.
    """
    tasks = list(tasks)
    if not scheduler:
        return [function(task) for task in tqdm(tasks, desc=progress, disable=not progress)]
    from dask.distributed import KilledWorker, as_completed

    with connect(scheduler, resources) as client:
        if shared is not None:
            check_shared(shared, client)
        futures = client.map(function, tasks, pure=False, retries=retries, resources=resources)
        try:
            for future in tqdm(as_completed(futures), total=len(futures), desc=progress, disable=not progress):
                if future.status == "error":
                    future.result()
            return client.gather(futures)
        except KilledWorker as error:
            raise UserError(
                f"{error.task} lost every worker it ran on (last {error.last_worker.address}); expected a task to fit "
                "a worker's memory; give workers more memory or make blocks smaller"
            ) from error


def once(make: Callable[[], Any]) -> Any:
    """`make()`, made once in each process for the same function and arguments; the last two are remembered."""
    return _made(pickle.dumps(make))


@functools.lru_cache(maxsize=2)
def _made(recipe: bytes) -> Any:
    return pickle.loads(recipe)()


@contextlib.contextmanager
def connect(scheduler: str, resources: dict[str, float] | None = None) -> Iterator[Any]:
    """A Dask client of `scheduler` as in `map`, closed at the end. Raises UserError where nothing answers."""
    from dask.distributed import Client

    if scheduler == "local":
        with _local_workers(resources) as workers, Client(workers, security=workers.security) as client:
            yield client
        return
    address = scheduler if "://" in scheduler else _address_in(Path(scheduler))
    try:
        client = Client(address, timeout=ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise UserError(
            f"scheduler {scheduler} did not answer within {ANSWER_SECONDS} s; expected a running Dask scheduler; start "
            'one with `dask scheduler`, or use scheduler="local" or ""'
        ) from error
    with client:
        _check_workers(client, resources)
        yield client


def _local_workers(resources: dict[str, float] | None) -> Any:
    """A single-threaded worker a core, or a GPU that sees no other one. The system alone limits their memory: what they
    map from disk would count as theirs.

    A Dask worker runs whatever it is sent. So every port is bound to the loopback address, and only processes that hold
    the certificate made for this cluster may speak to it. Dashboards have no such protection and are left out (their server remains, on loopback, without pages).
    """
    from dask.distributed import Nanny, Scheduler, Security, SpecCluster

    own = [{}] * os.cpu_count()
    if "GPU" in (resources or {}):
        import torch

        seen = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(str(i) for i in range(torch.cuda.device_count()))
        own = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in seen.split(",") if gpu]
        if not own:
            raise UserError("resources ask for GPUs, but PyTorch sees none here; leave GPU out, or name a scheduler")
    quiet = {"silence_logs": logging.WARNING}
    security = Security.temporary()
    here = {"host": LOOPBACK, "protocol": "tls", "security": security, "dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
    worker = {"nthreads": 1, "memory_limit": None, "resources": resources}
    return SpecCluster(
        {i: {"cls": Nanny, "options": here | worker | quiet | {"env": env}} for i, env in enumerate(own)},
        {"cls": Scheduler, "options": here},
        security=security,
        **quiet,
    )


def check_shared(folder: str | Path, client: Any) -> None:
    """Raise UserError unless every worker of `client` sees a file just written into `folder`."""
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / f".seen-{uuid.uuid4().hex}"
    marker.touch()
    try:
        blind = sorted(worker for worker, seen in client.run(os.path.exists, str(marker)).items() if not seen)
    finally:
        marker.unlink()
    if blind:
        raise UserError(
            f"{folder} is not seen by {len(blind)} workers ({blind[0]}, ..); expected storage that all share; use a "
            'folder on a shared file system, or scheduler="local"'
        )


def _address_in(path: Path) -> str:
    try:
        return json.loads(path.read_text())["address"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'scheduler={str(path)!r} is not usable; expected "", "local", an address such as tcp://host:8786, or a '
            "scheduler file; write one with `dask scheduler --scheduler-file NAME`"
        ) from error


def _check_workers(client: Any, resources: dict[str, float] | None) -> None:
    offers = [worker.get("resources", {}) for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
    if not offers:
        logging.getLogger("distributed").warning("the scheduler has no workers yet: tasks wait until one connects")
    wanted = resources or {}
    if offers and not any(all(offer.get(name, 0) >= amount for name, amount in wanted.items()) for offer in offers):
        raise UserError(
            f"none of {len(offers)} workers offers {wanted}; expected workers with these resources; start them with "
            '`dask worker --resources "NAME=AMOUNT"`'
        )
