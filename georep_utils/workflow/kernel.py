"""The kernel of a notebook, which ends with the process that started it, and all its workers too.

A kernel is in a process group of its own. So a signal that ends a run, such as that of a machine
without memory, does not reach it, and one that ends the kernel does not reach the workers that it
started. Jupyter's kernels look once a second whether their parent lives, but not while they start;
Dask's workers notice when they have been imported. Here the operating system is asked to end the
kernel with its parent, and a small process waits for the end of the kernel, and ends its group.
"""

import ctypes
import logging
import os
import signal
import sys

SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in Linux's sys/prctl.h


def end_with_parent() -> None:
    """Let the operating system end this process when its parent ends, however it does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
    # The parent may have ended before; Jupyter tells its number.
    if int(os.environ.get("JPY_PARENT_PID", os.getppid())) != os.getppid():
        sys.exit("the process that asked for this kernel has ended")


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


def main() -> None:
    """Become a kernel."""
    end_with_parent()
    if os.getpgrp() == os.getpid():
        end_with_me()
    from ipykernel import kernelapp

    # What a kernel says while it is being stopped is no news; errors of cells are in the notebook.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    kernelapp.launch_new_instance(argv=[*sys.argv[1:], "--log-level=CRITICAL"])


if __name__ == "__main__":
    main()
