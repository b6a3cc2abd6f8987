"""Kernels that are copies of a process with all imports are like kernels of their own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from jupyter_client.manager import KernelManager
from kill_at_random import ORPHAN_SECONDS

from georep_utils.io import REPOSITORY
from georep_utils.workflow import engine, kernel_server

SECONDS = 60


@pytest.fixture(scope="module")
def server():
    with kernel_server.Server() as one:
        one.start()
        yield one


@contextlib.contextmanager
def notebook(tmp_path, **environment):
    """A function that executes code in a kernel, and its manager."""
    manager = engine.with_own_kernel(KernelManager())
    given = os.environ | kernel_server.environment() | environment
    manager.start_kernel(cwd=str(tmp_path), env=given)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(SECONDS)

    def execute(code: str) -> str:
        said = []
        client.execute_interactive(code, timeout=SECONDS, output_hook=said.append)
        return "".join(message["content"].get("text", "") for message in said).strip()

    # What a kernel says before its listener is connected is lost; and it says this again and again.
    while execute("print('here')") != "here":
        pass
    try:
        yield execute, manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


# ---------------------------------------------------------------------------- like one of their own


def test_a_copy_has_the_imports_but_the_folder_and_environment_of_its_asker(server, tmp_path):
    with notebook(tmp_path, COLOUR="green") as (execute, _, _):
        assert execute("import sys; print('torch' in sys.modules)") == "True"
        assert execute("print('georep_utils.figures' in sys.modules)") == "False"
        assert execute("import os; print(os.environ['COLOUR'], os.getcwd())") == f"green {tmp_path}"
        assert execute(f"print({kernel_server.ADDRESS!r} in os.environ)") == "True"
        assert execute("import threading; print(threading.active_count() > 1)") == "True"


def test_two_copies_know_nothing_of_each_other(server, tmp_path):
    with notebook(tmp_path) as (one, _, _), notebook(tmp_path) as (other, _, _):
        assert one("import numpy; numpy.secret = 1; print(numpy.secret)") == "1"
        assert other("import numpy; print(hasattr(numpy, 'secret'))") == "False"


@pytest.mark.long
def test_products_on_several_threads_are_those_of_a_process_of_its_own(server, tmp_path):
    code = (
        "import torch, numpy as np; torch.set_num_threads(2); "
        "x = torch.arange(4e6).reshape(2000, 2000).sin(); "
        "y = np.sin(np.arange(4e6).reshape(2000, 2000)); "
        "print((x @ x.T).double().sum().item(), (y @ y.T).sum())"
    )
    with notebook(tmp_path) as (execute, _, _):
        told = execute(code)
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told == alone.stdout.strip()


def test_a_figure_is_shown_below_its_cell(server, tmp_path):
    with notebook(tmp_path) as (_, _, client):
        shown = []
        client.execute_interactive(
            "import matplotlib.pyplot as plt; plt.plot([1, 2]); None",
            timeout=SECONDS,
            output_hook=lambda message: shown.append(message["content"].get("data", {})),
        )
    assert any("image/png" in data or "image/svg+xml" in data for data in shown)


def test_an_interruption_reaches_the_cell_and_the_kernel_goes_on(server, tmp_path):
    with notebook(tmp_path) as (execute, manager, client):
        asked = client.execute("import time; print('asleep', flush=True); time.sleep(60)")
        while client.get_iopub_msg(SECONDS)["content"].get("text") != "asleep\n":
            pass
        manager.interrupt_kernel()
        reply = {"parent_header": {}}
        while reply["parent_header"].get("msg_id") != asked:
            reply = client.get_shell_msg(SECONDS)
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        # For a moment after an error, a kernel turns away what comes next.
        while (told := execute("print(1 + 1)")) == "":
            pass
        assert told == "2"


# ------------------------------------------------------------------------------- and how they end


@pytest.mark.parametrize(
    ("end", "status"), [("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", 128 + signal.SIGKILL)]
)
def test_the_asker_ends_as_the_kernel_did(server, tmp_path, end, status):
    with notebook(tmp_path) as (_, manager, client):
        client.execute(f"import os; {end}")
        assert manager.provisioner.process.wait(SECONDS) == status


def test_where_no_server_answers_a_kernel_does_its_own_imports(tmp_path, monkeypatch):
    with notebook(tmp_path, **{kernel_server.ADDRESS: "nobody"}) as (execute, _, _):
        assert execute("import sys; print('torch' in sys.modules)") == "False"


def test_another_user_gets_no_kernel(monkeypatch):
    here, there = socket.socketpair()
    with here, there:
        kernel_server._refuse_strangers(here)
        monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
        with pytest.raises(PermissionError, match="another user"):
            kernel_server._refuse_strangers(here)


def test_a_server_whose_run_has_ended_does_not_start():
    command = [sys.executable, "-m", kernel_server.__name__, "1", "0"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 1 and "has ended" in done.stderr


# The last of these ends the server, so that they stand behind all that need it.
@pytest.mark.parametrize("killed", ["asker", "kernel", "server"])
def test_nothing_lives_on(server, tmp_path, killed):
    """Neither the kernel nor a child of it, whichever of the processes is killed."""
    child = "import os, subprocess; child = subprocess.Popen(['sleep', '60'])"
    with notebook(tmp_path) as (execute, manager, _):
        told = execute(f"{child}; print(os.getpid(), child.pid)")
        kernel, child = (psutil.Process(int(number)) for number in told.split())
        asker = manager.provisioner.process
        pids = {"asker": asker.pid, "kernel": kernel.pid, "server": server.process.pid}
        os.kill(pids[killed], signal.SIGKILL)
        asker.wait(SECONDS)
        _, left = psutil.wait_procs([kernel, child], timeout=ORPHAN_SECONDS)
        assert left == []
