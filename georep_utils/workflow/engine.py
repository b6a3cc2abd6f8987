"""Papermill's engine, which leaves out cells that do not apply to the data of a run.

A cell tagged `only-labels` is executed if the fact `labels` is noted by then (`io.note_facts`), and
one tagged `not-labels` if it is not. A cell that is left out is tagged `left-out`; it has no place
on the page.
"""

from __future__ import annotations

import os

from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine
from papermill.utils import merge_kwargs, remove_args

from georep_utils import io

LEFT_OUT = "left-out"
KERNEL = "georep_utils.workflow.kernel"  # in place of ipykernel_launcher


def applies(cell, facts: dict[str, bool]) -> bool:
    """Whether a cell has a place where these facts hold."""
    for tag in cell.metadata.get("tags", []):
        kind, _, fact = tag.partition("-")
        if kind == "only" and not facts.get(fact, False):
            return False
        if kind == "not" and facts.get(fact, False):
            return False
    return True


def _not_yet(**_options) -> None:
    """In place of writing a notebook that is not finished."""


def with_own_kernel(manager):
    """A Jupyter kernel manager whose kernel ends with this process (`kernel.py`)."""
    spec = manager.kernel_spec
    spec.argv = [KERNEL if word == "ipykernel_launcher" else word for word in spec.argv]
    return manager


class _Client(PapermillNotebookClient):
    def create_kernel_manager(self):
        """The manager of a kernel that ends with this process."""
        return with_own_kernel(super().create_kernel_manager())

    def execute_cell(self, cell, cell_index, *args, **kwargs):
        _, _, facts = io.recorded(os.environ[io.RECORD])
        if not applies(cell, facts):
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), LEFT_OUT]
            return cell
        return super().execute_cell(cell, cell_index, *args, **kwargs)


class Engine(NBClientEngine):
    """Executes the cells that apply."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man,
        kernel_name,
        log_output=False,
        stdout_file=None,
        stderr_file=None,
        start_timeout=60,
        execution_timeout=None,
        **kwargs,
    ):
        """Execute a notebook as Papermill's own engine does, with another client."""
        # Papermill would write the whole notebook after each cell, with all its figures. It writes
        # it once more at the end, or when a cell has failed, and that is all that is needed.
        nb_man.save = _not_yet
        options = remove_args(["timeout", "startup_timeout", "input_path"], **kwargs)
        options = merge_kwargs(
            options,
            timeout=execution_timeout or kwargs.get("timeout"),
            startup_timeout=start_timeout,
            kernel_name=kernel_name,
            log_output=log_output,
            stdout_file=stdout_file,
            stderr_file=stderr_file,
        )
        return _Client(nb_man, **options).execute()
