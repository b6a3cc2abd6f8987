"""A process that has imported what chapters import, and becomes each kernel of a run by a copy.

A kernel needs about four seconds for its imports: more than most pages need to be drawn. So a run
starts one process that does them once. `fork` then makes a kernel in a few milliseconds, with
nothing in it but third-party modules: those of this project are imported by each kernel itself, so
that no notebook sees what another one has done.

Three processes stand for a kernel:

    asker    started by Jupyter, which knows no other: `kernel.py`; it waits, and passes on signals
    keeper   a copy of the server, which ends the kernel when the asker has gone
    kernel   a copy of the keeper, in a process group of its own

Linux only, where a copy of a process that has not used its threads is safe. Elsewhere, and
wherever no server answers, a kernel does its own imports.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import uuid

from georep_utils.io import REPOSITORY
from georep_utils.workflow import kernel

ADDRESS = "GEOREP_KERNELS"  # the environment variable that tells where the server listens
# What most chapters import. Not DADApy: it brings jax, which warns of every copy.
IMPORTED = (
    "numpy pandas scipy.stats scipy.optimize sklearn.neighbors numba torch "
    "matplotlib.pyplot matplotlib.backends.backend_svg seaborn myst_nb ipykernel.kernelapp"
).split()
INLINE = "module://matplotlib_inline.backend_inline"  # what kernels draw with
MOST_COLUMNS = 20  # of a table, pandas' default in a notebook
INTERRUPT = b"i"
STATUS = struct.Struct("i")
N_STREAMS = 3  # standard input, output and error
HIGHEST_SIGNAL = 128  # a process ended by signal n has status 128 + n in a shell


# ------------------------------------------------------------------------------------ of the run


def environment() -> dict[str, str]:
    """What every kernel, or the process that it is a copy of, has to be started with."""
    folders = [str(REPOSITORY), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    given = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, folders)))}
    # Threads that spin while they wait would stall the other cores of a shared machine.
    # Progress is shown as text; that there are no widgets to show it in is no news to anybody.
    defaults = {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONWARNINGS": "ignore:IProgress not found"}
    return given | {name: os.environ.get(name, value) for name, value in defaults.items()}


class Server(contextlib.AbstractContextManager):
    """The server of a run, from its start to the end of the context."""

    process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it, unless it runs or can't. Kernels that are started from then on ask it."""
        if self.process is not None or sys.platform != "linux" or ADDRESS in os.environ:
            return
        # A name without a file, known to the children of this process only.
        os.environ[ADDRESS] = f"georep-kernels-{uuid.uuid4().hex}"
        # It listens before the server is there: who asks early waits.
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"\0{os.environ[ADDRESS]}")
            listening.listen()
            number = listening.fileno()
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(os.getpid()), str(number)],
                env=os.environ | environment(),
                pass_fds=[number],
            )

    def __exit__(self, *_) -> None:
        if self.process is not None:
            del os.environ[ADDRESS]
            self.process.kill()
            self.process.wait()


# ---------------------------------------------------------------------------------- of the asker


def ask(arguments: list[str]) -> int | None:
    """Have a kernel made and wait for its end; its exit status, or None if no server answers."""
    name = os.environ.get(ADDRESS)
    if name is None:
        return None
    environment = {key: value for key, value in os.environ.items() if key != "JPY_PARENT_PID"}
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": environment}
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(f"\0{name}")
        _refuse_strangers(connection)
        line = json.dumps(request).encode() + b"\n"
        # The streams travel with the first byte.
        socket.send_fds(connection, [line[:1]], [0, 1, 2])
        connection.sendall(line[1:])
    except OSError:
        return None
    signal.signal(signal.SIGINT, lambda *_: connection.sendall(INTERRUPT))
    answer = connection.recv(STATUS.size)
    # Without an answer, the server was ended with the kernel in it.
    return STATUS.unpack(answer)[0] if answer else HIGHEST_SIGNAL + signal.SIGKILL


def _refuse_strangers(connection: socket.socket) -> None:
    """OSError if the process at the other end belongs to another user."""
    layout = struct.Struct("3i")  # process, user, group
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
    if layout.unpack(peer)[1] != os.getuid():
        raise PermissionError("the process at the other end belongs to another user")


# --------------------------------------------------------------------------------- of the server


def serve(parent: int, number: int) -> socket.socket:
    """Import, and wait for askers at the socket of that number until the process `parent` ends.

    Returns in a copy of this process for each asker, with the connection to it.
    """
    kernel.end_with_parent(parent)
    # An interruption of the run is answered by the run, which then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system forgets keepers that have ended
    listening = socket.socket(fileno=number)
    os.environ["MPLBACKEND"] = INLINE
    for module in IMPORTED:
        importlib.import_module(module)
    # Imported outside of a notebook, pandas would show fewer columns as text.
    sys.modules["pandas"].set_option("display.max_columns", MOST_COLUMNS)
    server = os.getpid()
    while True:
        connection, _ = listening.accept()
        if not os.fork():
            kernel.end_with_parent(server)
            listening.close()
            return connection
        connection.close()


def keep(connection: socket.socket) -> list[str]:
    """Make one kernel, pass interruptions on to it, and end it when its asker has gone.

    Returns in the kernel only, with its arguments.
    """
    _refuse_strangers(connection)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, streams = _request(connection)
    keeper = os.getpid()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        kernel.end_with_parent(keeper)
        connection.close()
        _look_like_started(request, streams)
        return request["arguments"]
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(child)
    while ended not in select.select([connection, ended], [], [])[0]:
        interrupted = connection.recv(1)
        os.kill(child, signal.SIGINT if interrupted else signal.SIGKILL)
        if not interrupted:
            break
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):  # the asker may have gone
        connection.sendall(STATUS.pack(status if status >= 0 else HIGHEST_SIGNAL - status))
    os._exit(0)


def _request(connection: socket.socket) -> tuple[dict, list[int]]:
    """What an asker wants, and its streams."""
    first, streams, _, _ = socket.recv_fds(connection, 1, N_STREAMS)
    with connection.makefile("rb", buffering=0) as rest:
        return json.loads(first + rest.readline()), streams


def _look_like_started(request: dict, streams: list[int]) -> None:
    """Have the streams, the environment and the folder that the asker has."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])


def main() -> None:
    """Serve; in a copy, keep a kernel; in a copy of that, be the kernel."""
    arguments = keep(serve(int(sys.argv[1]), int(sys.argv[2])))
    kernel.end_with_me()
    kernel.serve_notebook(arguments)


if __name__ == "__main__":
    main()
