"""What the workers of `test_parallel.py` are sent.

A worker imports the module of its task. So this one imports little: PyTorch takes two seconds, in
each worker and each time that one is started again after a death.
"""

import os
import signal
import time

import numpy as np
import psutil

from georep_utils import parallel
from georep_utils.io import UserError


def square(x):
    return x * x


def block(path, start):
    from georep_utils.geometry.neighbors import nearest_neighbors

    return nearest_neighbors(
        np.load(path, mmap_mode="r"), 10, 64, device="cpu", rows=slice(start, start + 150)
    )


def die_once(folder, task):
    marker = folder / f"{task}.tried"
    if task == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task, os.getpid()


def fail_twice(folder, task):
    tries = len(list(folder.glob(f"{task}-*")))
    (folder / f"{task}-{tries}").touch()
    if tries < 2:
        raise OSError("a passing fault")
    return task


def extract(load_model, load_data, target, folder, numbers):
    """Do some batches once two processes are at it; one dies, in the middle of a task."""
    from georep_utils import extraction

    (folder / f"seen-{os.getpid()}").touch()
    deadline = time.monotonic() + 60
    while len(list(folder.glob("seen-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    model, data = parallel.once(load_model), parallel.once(load_data)
    middle, marker = len(numbers) // 2, folder / "died"
    extraction.work(model, data, target, numbers[:middle])
    if 2 in numbers and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    extraction.work(model, data, target, numbers[middle:])
    return os.getpid()


def fail(task):
    raise UserError(f"task {task} can't be done")


def listening_addresses(_):
    """Local addresses that any process of this test listens on."""
    family = psutil.Process(os.getpid()).parents()
    top = next(parent for parent in family if parent.pid == int(os.environ["TEST_PROCESS"]))
    connections = [
        c
        for process in [top, *top.children(recursive=True)]
        for c in process.net_connections("inet")
    ]
    return sorted({c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN})


def visible_gpu(seconds):
    time.sleep(seconds)
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS")
