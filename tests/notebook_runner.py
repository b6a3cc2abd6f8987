"""Execute the cells of a run's notebooks in this process, as Papermill would, without kernels."""

import contextlib
import os
import traceback
from io import StringIO

import jupytext
import matplotlib
import matplotlib.pyplot
import nbformat
from papermill import engines

from georep_utils import io
from georep_utils.workflow import runs
from georep_utils.workflow.engine import LEFT_OUT, applies

matplotlib.use("Agg")


def execute(run, notebooks, record, monkeypatch, **overrides):
    """Execute the code cells of the notebooks of a run whose numbers are given, in order.

    Sections and names are parted by two underscores in `overrides`. Facts noted in `record` decide
    which cells apply, as they do in the book. Returns the variables of the last notebook.
    """
    small = {"device": "cpu"} | {key.replace("__", "."): value for key, value in overrides.items()}
    given = runs.parameters_of(runs.read_run(run), small)
    monkeypatch.setenv(io.RECORD, str(record))
    record.touch()
    scope = {}
    for notebook in [name for name in given if name[:2] in notebooks]:
        scope = {"__name__": "notebook", "get_ipython": lambda: None}
        for cell in jupytext.read(runs.notebook_file(notebook)).cells:
            facts = io.recorded(record)[2]
            if cell.cell_type != "code" or not applies(cell, facts):
                continue
            exec(compile(cell.source, notebook, "exec"), scope)
            if "parameters" in cell.metadata.get("tags", []):
                scope.update(given[notebook])
        matplotlib.pyplot.close("all")
    return scope


class EngineWithoutKernel(engines.Engine):
    """In the place of the engine that Papermill uses for a run: no kernel, which takes seconds.

    Printed text and errors are kept as a kernel's are.
    """

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
        nb_man.nb.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
        scope = {"__name__": "notebook"}
        for index, cell in enumerate(nb_man.nb.cells):
            if not applies(cell, io.recorded(os.environ[io.RECORD])[2]):
                cell.metadata["tags"] = [*cell.metadata.get("tags", []), LEFT_OUT]
            elif cell.cell_type == "code" and not cls.run(nb_man, cell, index, scope):
                break

    @classmethod
    def run(cls, nb_man, cell, index, scope) -> bool:
        """Execute one cell; whether it succeeded."""
        nb_man.cell_start(cell, index)
        printed = StringIO()
        cell.outputs = []
        cell.execution_count = index
        failed = None
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(cell.source, "cell", "exec"), scope)
        except Exception as error:
            failed = error
        if printed.getvalue():
            cell.outputs.append(nbformat.v4.new_output("stream", text=printed.getvalue()))
        if failed is not None:
            said = {"ename": type(failed).__name__, "evalue": str(failed)}
            said["traceback"] = traceback.format_exception(failed)
            cell.outputs.append(nbformat.v4.new_output("error", **said))
            nb_man.cell_exception(cell, index, exception=failed)
            return False
        nb_man.cell_complete(cell, index)
        return True
