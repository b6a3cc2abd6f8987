"""One `map` over independent tasks: in this process, or on a Dask scheduler.

It does not know what a task does. A task that fails on a worker is tried again there; one that is
lost with its worker is given to another. Results keep the order of the tasks, and are the same
wherever they were computed.
"""

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
    """Return `[function(task) for task in tasks]`, wherever the tasks run.

    Parameters
    ----------
    function, tasks
        Both must survive pickling where there is a scheduler.
    scheduler
        "" for this process; "local" for one single-threaded worker a core, or a GPU where
        `resources` ask for GPUs; the address of a Dask scheduler ("tcp://host:8786"); or the path
        of a scheduler file.
    resources
        What a task takes of its worker, such as {"GPU": 1}.
    retries
        How often a task that fails on a scheduler is tried again.
    progress
        The label of a progress bar; "" for none.
    shared
        A folder that every worker must see.

    Raises
    ------
    UserError
        For a scheduler that does not answer, workers without the resources or the folder, and a
        task that no worker survives. Whatever a task itself raises is raised here.
    """
    tasks = list(tasks)
    if not scheduler:
        bar = tqdm(tasks, desc=progress, disable=not progress, mininterval=1)
        return [function(task) for task in bar]
    with connect(scheduler, resources) as client:
        if shared is not None:
            check_shared(shared, client)
        return _map_on(client, function, tasks, resources, retries, progress)


def _map_on(client, function, tasks, resources, retries, progress) -> list:
    from dask.distributed import KilledWorker, as_completed

    futures = client.map(function, tasks, pure=False, retries=retries, resources=resources)
    finished = as_completed(futures)
    try:
        for future in tqdm(finished, total=len(futures), desc=progress, disable=not progress):
            if future.status == "error":
                future.result()
        return client.gather(futures)
    except KilledWorker as error:
        raise UserError(
            f"{error.task} lost every worker it ran on (last {error.last_worker.address}); "
            "expected a task to fit a worker's memory; give workers more memory or make the "
            "tasks smaller"
        ) from error


def once(make: Callable[[], Any]) -> Any:
    """`make()`, made once in each process for the same function and arguments.

    The last two results are remembered: a worker loads its model for the first task only.
    """
    return _made(pickle.dumps(make))


@functools.lru_cache(maxsize=2)
def _made(pickled: bytes) -> Any:
    return pickle.loads(pickled)()


# ----------------------------------------------------------------------------------- the scheduler


@contextlib.contextmanager
def connect(scheduler: str, resources: dict[str, float] | None = None) -> Iterator[Any]:
    """A Dask client of `scheduler` as in `map`, closed at the end.

    Raises
    ------
    UserError
        If nothing answers, or no worker has the resources.
    """
    from dask.distributed import Client

    if scheduler == "local":
        with _local_workers(resources) as workers:
            with Client(workers, security=workers.security) as client:
                yield client
        return
    address = address_of(scheduler)
    try:
        client = Client(address, timeout=ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise UserError(
            f"scheduler {scheduler} did not answer within {ANSWER_SECONDS} s; expected a running "
            'Dask scheduler; start one with `dask scheduler`, or use scheduler="local" or ""'
        ) from error
    with client:
        _check_workers(client, resources)
        yield client


def address_of(scheduler: str) -> str:
    """Where a Dask scheduler listens: its address, or what its scheduler file says.

    Raises
    ------
    UserError
        For a file that is missing or says nothing.
    """
    return scheduler if "://" in scheduler else _address_in(Path(scheduler))


def _local_workers(resources: dict[str, float] | None) -> Any:
    """A single-threaded worker a core, or a GPU that sees no other one.

    A Dask worker runs whatever it is sent. So every port is bound to the loopback address, and
    only processes that hold the certificate made for this cluster may speak to a worker. Dashboards
    have no such protection: their pages are left out, and what remains of them is on loopback too.

    The operating system alone limits the workers' memory, because Dask would count the arrays that
    they map from disk.
    """
    from dask.distributed import Nanny, Scheduler, Security, SpecCluster

    security = Security.temporary()
    here = {
        "host": LOOPBACK,
        "protocol": "tls",
        "security": security,
        "dashboard": False,
        "dashboard_address": f"{LOOPBACK}:0",
    }
    worker = here | {
        "nthreads": 1,
        "memory_limit": None,
        "resources": resources,
        "silence_logs": logging.WARNING,
    }
    environments = _worker_environments(resources)
    workers = {
        number: {"cls": Nanny, "options": worker | {"env": environment}}
        for number, environment in enumerate(environments)
    }
    scheduler = {"cls": Scheduler, "options": here}
    return SpecCluster(workers, scheduler, security=security, silence_logs=logging.WARNING)


def _worker_environments(resources: dict[str, float] | None) -> list[dict[str, str]]:
    """The environment variables of each local worker: one a core, or one a GPU."""
    if "GPU" not in (resources or {}):
        return [{}] * os.cpu_count()
    import torch

    every = ",".join(str(number) for number in range(torch.cuda.device_count()))
    seen = os.environ.get("CUDA_VISIBLE_DEVICES") or every
    gpus = [gpu for gpu in seen.split(",") if gpu]
    if not gpus:
        raise UserError(
            "resources ask for GPUs, but PyTorch sees none here; leave GPU out, or name a scheduler"
        )
    return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus]


def check_shared(folder: str | Path, client: Any) -> None:
    """Raise UserError unless every worker of `client` sees a file just written into `folder`."""
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / f".seen-{uuid.uuid4().hex}"
    marker.touch()
    try:
        seen_by = client.run(os.path.exists, str(marker))
    finally:
        marker.unlink()
    blind = sorted(worker for worker, seen in seen_by.items() if not seen)
    if blind:
        raise UserError(
            f"{folder} is not seen by {len(blind)} workers ({blind[0]}, ..); expected storage that "
            'all share; use a folder on a shared file system, or scheduler="local"'
        )


def _address_in(path: Path) -> str:
    try:
        return json.loads(path.read_text())["address"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'scheduler={str(path)!r} is not usable; expected "", "local", an address such as '
            "tcp://host:8786, or a scheduler file; write one with "
            "`dask scheduler --scheduler-file NAME`"
        ) from error


def _check_workers(client: Any, resources: dict[str, float] | None) -> None:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    offers = [worker.get("resources", {}) for worker in workers]
    if not offers:
        log = logging.getLogger("distributed")
        log.warning("the scheduler has no workers yet: tasks wait until one connects")
        return
    wanted = resources or {}
    for offer in offers:
        if all(offer.get(name, 0) >= amount for name, amount in wanted.items()):
            return
    raise UserError(
        f"none of {len(offers)} workers offers {wanted}; expected workers with these resources; "
        'start them with `dask worker --resources "NAME=AMOUNT"`'
    )
