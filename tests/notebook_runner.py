"""Execute the cells of a run's notebooks in this process, as Papermill would, without kernels."""

import jupytext
import matplotlib
import matplotlib.pyplot

from georep_utils import io
from georep_utils.workflow import runs
from georep_utils.workflow.engine import applies

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
