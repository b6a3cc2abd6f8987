"""The kernel of a notebook, which ends with the process that started it, and all its workers too.

A kernel is in a process group of its own. So a signal that ends a run, such as that of a machine
without memory, does not reach it, and one that ends the kernel does not reach the workers that it
started. Jupyter's kernels look once a second whether their parent lives, but not while they start;
Dask's workers notice when they have been imported. Here the operating system is asked to end the
kernel with its parent, and a small process waits for the end of the kernel, and ends its group.

Imports take most of the time in which a kernel starts. A run with several notebooks has a process
that has done them (`kernel_server`), and this program then asks it for a copy and waits.
"""

import ctypes
import logging
import os
import signal
import sys

SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in Linux's sys/prctl.h


def end_with_parent(parent: int) -> None:
    """Let the operating system end this process when its parent ends, however it does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that asked for this one has ended")


def end_with_me() -> None:
    """Let everything in this process's group end when this process does."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(reading)  # `writing` stays open as long as this process lives
        return
    os.close(writing)
    # An interruption of a cell is meant for the kernel.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.read(reading, 1)
    os.killpg(0, signal.SIGKILL)


def serve_notebook(arguments: list[str]) -> None:
    """Become a kernel, until it is told to stop."""
    from ipykernel import kernelapp

    # What a kernel says while it is being stopped is no news; errors of cells are in the notebook.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    kernelapp.launch_new_instance(argv=[*arguments, "--log-level=CRITICAL"])


def main() -> None:
    """Become a kernel, or wait for one that a process with all imports becomes."""
    # The parent may have ended before this process began; Jupyter tells its number.
    end_with_parent(int(os.environ.get("JPY_PARENT_PID", os.getppid())))
    from georep_utils.workflow import kernel_server

    status = kernel_server.ask(sys.argv[1:])
    if status is not None:
        sys.exit(status)
    if os.getpgrp() == os.getpid():
        end_with_me()
    serve_notebook(sys.argv[1:])


if __name__ == "__main__":
    main()
