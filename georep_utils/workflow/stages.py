"""The notebooks of a run, executed as far as something changed. No science here.

A stage is one notebook with its parameters. Its result, a page and some tables, depends on

- its key: the notebook's text, its parameters, and the syntax of the modules that it imports;
- what it read: files, tables and clouds, noted while it ran, each with its content.

Every result is kept beside its key and its notes. A stage whose key was met before, and whose
inputs all have the content that they had then, is not executed: its result is put back if need be.
So going back to earlier parameters costs nothing, and a changed row of a table, or other weights
under an old name, are noticed. Clouds are found by their own recipes: a notebook that is executed
again makes none that exists.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import jupytext
import nbformat

from georep_utils import io
from georep_utils.io import REPOSITORY, RunPaths, UserError
from georep_utils.workflow import kernel_server
from georep_utils.workflow.pages import as_page
from georep_utils.workflow.runs import (
    all_parameters,
    declared_parameters,
    notebook_file,
    parameters_of,
    read_notebook,
    register,
)

KEPT_RESULTS = 8  # of each stage; the oldest go first
MANY = 6  # notebooks; with fewer, imports that are done once for all of them save nothing
OTHER_CODE = "its notebook, or code that it imports, has changed"
FETCHES = "01_download"  # after it more is known of the samples than before
BLAS_THREADS = "OPENBLAS_NUM_THREADS"
WATCH_SECONDS = 0.5  # between two looks at whether the process that gave the work still lives


# ------------------------------------------------------------------------------------------- keys


def stage_key(notebook: str, parameters: Mapping) -> str:
    """What a stage's result depends on besides what it reads."""
    cells = read_notebook(notebook).cells
    told = [[cell.cell_type, cell.source, dict(cell.metadata)] for cell in cells]
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    defaults = {name: known.default for name, known in declared_parameters(notebook).items()}
    return io.digest(told, defaults | dict(parameters), io.code_digest(*io.imported_modules(code)))


# ---------------------------------------------------------------------------------------- results


@dataclass(frozen=True)
class Result:
    """What one execution of a notebook read, wrote and found out; its folder holds the files.

    read: noted path -> its content then. written: noted path -> the file's name in the folder.
    given_facts, facts: what was known of the data before, and what is known after it.
    """

    folder: Path
    key: str
    parameters: dict
    read: dict[str, str | None]
    written: dict[str, str]
    given_facts: dict[str, bool]
    facts: dict[str, bool]
    seconds: float

    def changed_inputs(self) -> list[str]:
        """Noted paths whose content is another than it was."""
        return [path for path, before in self.read.items() if io.state(path) != before]

    def put_back(self, page: Path) -> None:
        """Put page and tables in their places, where others are."""
        for short, name in self.written.items():
            _copy_if_other(self.folder / name, io.root() / short)
        _copy_if_other(self.folder / "page.ipynb", page)

    def in_place(self, page: Path) -> bool:
        """Whether page and tables in their places are those of this result."""
        if not page.is_file() or page.read_bytes() != (self.folder / "page.ipynb").read_bytes():
            return False
        kept = [(io.root() / short, self.folder / name) for short, name in self.written.items()]
        return all(_same(place, copy) for place, copy in kept)


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def _copy_if_other(source: Path, target: Path) -> None:
    if not _same(source, target):
        with io.atomic(target) as temporary:
            shutil.copyfile(source, temporary)


class Shelf:
    """The kept results of one stage, newest first."""

    def __init__(self, paths: RunPaths, notebook: str):
        self.folder = paths.work / "kept" / notebook

    def results(self) -> list[Result]:
        found = []
        for folder in sorted(self.folder.glob("[0-9]*"), reverse=True):
            entry = io.read_json(folder / "result.json")
            with contextlib.suppress(TypeError):  # a result of another version of this program
                found.append(Result(folder=folder, **entry))
        return [result for result in found if (result.folder / "page.ipynb").is_file()]

    def find(self, key: str, facts: Mapping) -> Result | None:
        """A result of this key and these facts whose inputs have not changed."""
        for result in self.results():
            if (result.key, result.given_facts) == (key, facts) and not result.changed_inputs():
                return result
        return None

    def current(self, page: Path) -> Result | None:
        """The result whose page is in place."""
        for result in self.results():
            if page.is_file() and _same(page, result.folder / "page.ipynb"):
                return result
        return None

    def add(self, page: Path, written: Sequence[str], entry: dict) -> Result:
        """Keep a page and the files that its notebook wrote; drop the oldest results."""
        folder = self.folder / f"{time.time_ns():020d}"
        growing = self.folder / f".{folder.name}"
        growing.mkdir(parents=True)
        names = {}
        for number, short in enumerate(written):
            if io.found(short).is_file():
                names[short] = f"{number:02d}-{Path(short).name}"
                shutil.copyfile(io.found(short), growing / names[short])
        shutil.copyfile(page, growing / "page.ipynb")
        entry = entry | {"written": names}
        io.write_json(growing / "result.json", entry)
        growing.rename(folder)
        for old in sorted(self.folder.glob("[0-9]*"))[:-KEPT_RESULTS]:
            shutil.rmtree(old, ignore_errors=True)
        return Result(folder=folder, **entry)


# -------------------------------------------------------------------------------------- execution


def run(
    run: Mapping,
    overrides: Mapping | None = None,
    notebooks: Sequence[str] | None = None,
    start: str = "",
    before: Callable[[Mapping], None] | None = None,
    jobs: int = 1,
) -> list[str]:
    """Run the notebooks of a run as far as something changed; the names of those executed.

    Parameters
    ----------
    run : what `read_run` returns.
    overrides : {"extract.n_per_class": 100}; kept until the next time.
    notebooks : only these, by number or name.
    start : execute from this number on, changed or not.
    before
        Called with all parameters of each notebook before the first is executed, and once more
        when files were fetched.
    jobs
        How many notebooks may be executed at the same time, as far as they don't need each other.

    Raises
    ------
    UserError
        For bad input, before anything runs.
    RuntimeError
        If a cell fails; it names the notebook, which is kept aside.
    """
    return _run_all([_stages(run, overrides, notebooks, start, before)], jobs)[0]


def run_several(
    several: Sequence[Mapping], before: Callable[[Mapping], None] | None = None, jobs: int = 1
) -> list[list[str]]:
    """Run some runs, side by side where one does not read what another one makes.

    A notebook that reads what others made of other runs names these in its header (`reads:
    [03_distances]`), and waits for them in all runs before its own. The other parameters, the
    result for each run, and what is raised are those of `run`.
    """
    return _run_all([_stages(run, before=before) for run in several], jobs)


def _stages(run: Mapping, overrides=None, notebooks=None, start="", before=None) -> _Stages:
    """The notebooks of a run before the first of them is executed. UserError for bad input."""
    given = parameters_of(run, overrides)
    complete = all_parameters(run, overrides)
    for prefix in [*(notebooks or []), *([start] if start else [])]:
        if not any(notebook.startswith(str(prefix)) for notebook in given):
            known = ", ".join(given)
            raise UserError(f"run {run['name']} has no notebook {prefix}; it has {known}")
    return _Stages(
        run=run,
        paths=RunPaths(run["name"]),
        given=given,
        overrides=dict(overrides or {}),
        notebooks=notebooks,
        start=start,
        before=None if before is None else partial(before, complete),
        before_of={notebook: needs(notebook, list(given)) for notebook in given},
        reads_of={notebook: _header(notebook).get("reads", []) for notebook in given},
    )


def _run_all(several: Sequence[_Stages], jobs: int) -> list[list[str]]:
    """Settle the notebooks of all runs, up to `jobs` of them at a time."""
    if jobs < 1:
        raise UserError(f"jobs is {jobs}; expected at least 1 notebook at a time")
    with contextlib.ExitStack() as stack:
        for stages in several:
            name = stages.paths.run
            register(stages.run)
            stack.enter_context(io.lock(stages.paths.work / ".lock", f"running {name}"))
            _remove_half_done(stages.paths.work)
            io.write_json(stages.paths.work / "overrides.json", stages.overrides)
        stack.enter_context(_shared_cores(jobs))
        many = sum(len(stages.given) for stages in several) >= MANY
        kernels = stack.enter_context(kernel_server.Server())
        pool = stack.enter_context(_executor(jobs))

        def submit(*task) -> Future:
            if many:
                kernels.start()
            return pool.submit(execute, *task)

        _settle_all(several, jobs, submit)
    return [stages.in_order() for stages in several]


@contextlib.contextmanager
def _shared_cores(jobs: int) -> Iterator[None]:
    """Kernels that run beside each other get a share of the cores for numpy's products.

    The threads of its OpenBLAS spin while they wait for each other. On cores that are busy with
    another notebook that takes a quarter more time. Torch and numba wait without spinning.
    """
    if jobs == 1 or BLAS_THREADS in os.environ:
        yield
        return
    os.environ[BLAS_THREADS] = str(max(1, (os.cpu_count() or 1) // jobs))
    try:
        yield
    finally:
        del os.environ[BLAS_THREADS]


def _settle_all(several: Sequence[_Stages], jobs: int, submit: Callable[..., Future]) -> None:
    running: dict[Future, tuple[_Stages, str]] = {}
    failure = None
    while True:
        begun = failure is None and len(running) < jobs and _begin_one(several, submit, running)
        if begun:
            continue
        if not running:
            break
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            stages, notebook = running.pop(future)
            # What runs beside a notebook that failed is let finish: it is kept.
            if future.exception() is None:
                stages.settle(notebook, future.result())
            else:
                failure = failure or future.exception()
    if failure is not None:
        raise failure


def _begin_one(several: Sequence[_Stages], submit: Callable[..., Future], running: dict) -> bool:
    """Begin the first notebook that need not wait; whether there was one."""
    for number, stages in enumerate(several):
        for notebook in stages.waiting:
            reads = stages.reads_of[notebook]
            others_ready = all(earlier.has_settled(reads) for earlier in several[:number])
            if others_ready and stages.is_ready(notebook):
                stages.waiting.remove(notebook)
                stages.begin(notebook, submit, running)
                return True
    return False


def _remove_half_done(work: Path) -> None:
    """Remove what a run left that was killed; the caller holds the lock of the run."""
    for left in [*work.glob(".executing-*"), *work.glob("kept/*/.[0-9]*")]:
        shutil.rmtree(left, ignore_errors=True)


@dataclass
class _Stages:
    """The notebooks of one run on their way.

    before_of: notebook -> those that have to be settled before it (`needs`).
    reads_of: notebook -> those whose results it reads in other runs.
    waiting: those not begun, in order.
    known: notebook -> facts that it and those before it found out, once it is settled.
    """

    run: Mapping
    paths: RunPaths
    given: Mapping[str, Mapping]
    overrides: Mapping
    notebooks: Sequence[str] | None
    start: str
    before: Callable[[], None] | None
    before_of: Mapping[str, list[str]]
    reads_of: Mapping[str, Sequence[str]]
    waiting: list[str] = field(init=False)
    known: dict[str, dict[str, bool]] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.waiting = list(self.given)

    def in_order(self) -> list[str]:
        """The names of the notebooks that were executed."""
        return [notebook for notebook in self.given if notebook in self.executed]

    def is_ready(self, notebook: str) -> bool:
        return all(other in self.known for other in self.before_of[notebook])

    def has_settled(self, notebooks: Sequence[str]) -> bool:
        """Whether none of these notebooks, as far as this run has them, is still to be settled."""
        return all(name in self.known for name in notebooks if name in self.given)

    def begin(self, notebook: str, submit: Callable[..., Future], running: dict) -> None:
        """Find the result of a notebook, or start its execution."""
        shelf = Shelf(self.paths, notebook)
        if not self._is_chosen(notebook):
            self.settle(notebook, shelf.current(self._page(notebook)))
            return
        facts = self._facts_before(notebook)
        key = stage_key(notebook, self.given[notebook])
        result = None if self._is_forced(notebook) else shelf.find(key, facts)
        if result is not None:
            self.settle(notebook, result)
            return
        if self.before is not None and self.executed in ([], [FETCHES]):
            self.before()
        print(f"{self.paths.run}: {notebook}", flush=True)
        self.executed.append(notebook)
        work = submit(notebook, self.given[notebook], self.paths, key, facts)
        running[work] = (self, notebook)

    def settle(self, notebook: str, result: Result | None) -> None:
        """Put page and tables of a result in their places, and remember its facts."""
        found: Mapping[str, bool] = {}
        if result is not None:
            found = result.facts
            if self._is_chosen(notebook):
                result.put_back(self._page(notebook))
        self.known[notebook] = self._facts_before(notebook) | found

    def _facts_before(self, notebook: str) -> dict[str, bool]:
        facts: dict[str, bool] = {}
        for other in self.before_of[notebook]:
            facts |= self.known[other]
        return facts

    def _page(self, notebook: str) -> Path:
        return self.paths.pages / f"{notebook}.ipynb"

    def _is_chosen(self, notebook: str) -> bool:
        if self.notebooks is None:
            return True
        return any(notebook.startswith(str(name)) for name in self.notebooks)

    def _is_forced(self, notebook: str) -> bool:
        """Whether the notebook stands at or behind the one to start from."""
        order = list(self.given)
        first = [i for i, name in enumerate(order) if self.start and name.startswith(self.start)]
        return bool(first) and order.index(notebook) >= first[0]


def needs(notebook: str, listed: Sequence[str]) -> list[str]:
    """The notebooks of a run that have to come before one of them.

    A notebook says in its header which ones it comes after:

        # jupyter:
        #   georep:
        #     after: [02_extract]

    One that says nothing comes after all that stand before it in the list.
    """
    earlier = list(listed[: listed.index(notebook)])
    about = _header(notebook)
    if "after" not in about:
        return earlier
    return [other for other in earlier if other in about["after"]]


def _header(notebook: str) -> dict:
    """What a notebook says of itself in its header, under `georep`."""
    return read_notebook(notebook).metadata.get("georep", {})


class _Here(Executor):
    """Does each task at once, in this process."""

    def submit(self, function, /, *arguments) -> Future:
        done: Future = Future()
        try:
            done.set_result(function(*arguments))
        except Exception as error:
            done.set_exception(error)
        return done


def _executor(jobs: int) -> Executor:
    """Where notebooks are executed: here, or in `jobs` processes that end with this one."""
    if jobs == 1:
        return _Here()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, initializer=_end_with_parent, initargs=(os.getpid(),))


def _end_with_parent(parent: int) -> None:
    """Watch the process `parent`, which started this one, and end when it does, however it does."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def execute(
    notebook: str, parameters: Mapping, paths: RunPaths, key: str, facts: Mapping[str, bool]
) -> Result:
    """Execute one notebook and keep its result if every cell succeeds.

    Raises
    ------
    RuntimeError
        If a cell fails or the kernel dies. The notebook is kept aside, and named.
    """
    aside = paths.work / "failed" / f"{notebook}.ipynb"
    aside.unlink(missing_ok=True)
    began = time.time()
    with tempfile.TemporaryDirectory(prefix=".executing-", dir=_made(paths.work)) as folder:
        record = Path(folder) / "record.jsonl"
        record.write_text(io.facts_line(facts), encoding="utf-8")
        source = Path(folder) / "source.ipynb"
        executed = Path(folder) / "executed.ipynb"
        nbformat.write(_numbered(jupytext.read(notebook_file(notebook))), source)
        try:
            _papermill(source, executed, parameters, record, paths.run)
        except Exception as error:
            failure = _failure(notebook, paths, error, executed, aside)
            if failure is None:
                raise
            raise failure from None
        page = Path(folder) / "page.ipynb"
        declared = declared_parameters(notebook)
        nbformat.write(as_page(nbformat.read(executed, 4), paths.run, declared), page)
        read, written, known = io.recorded(record)
        entry = {
            "key": key,
            "parameters": dict(parameters),
            "read": {short: io.state(short) for short in read},
            "given_facts": dict(facts),
            "facts": known,
            "seconds": round(time.time() - began, 1),
        }
        return Shelf(paths, notebook).add(page, written, entry)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _numbered(notebook):
    """The notebook with cell names that are the same each time (Jupytext's are random)."""
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def _papermill(source: Path, target: Path, parameters: Mapping, record: Path, run: str) -> None:
    import papermill
    from papermill.engines import papermill_engines
    from traitlets.config import Config

    from georep_utils.workflow.engine import Engine

    papermill_engines.register("georep", Engine)
    told = {io.RECORD: str(record), io.RUN: run}
    os.environ.update(kernel_server.environment() | told)
    try:
        papermill.execute_notebook(
            source,
            target,
            dict(parameters),
            engine_name="georep",
            cwd=REPOSITORY,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            stderr_file=sys.stderr,
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),
        )
    finally:
        for name in told:
            del os.environ[name]


def _failure(
    notebook: str, paths: RunPaths, error: Exception, executed: Path, aside: Path
) -> RuntimeError | None:
    """The error of a notebook that failed, in one line; the notebook is put aside."""
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError

    if isinstance(error, DeadKernelError):
        reason = "its kernel died, perhaps for want of memory"
    elif isinstance(error, PapermillExecutionError):
        said = " ".join(error.evalue.split())
        reason = f"cell {error.exec_count}: {error.ename}: {said}"
    else:
        return None
    kept = "it left no notebook"
    if executed.is_file():
        _made(aside.parent)
        shutil.copyfile(executed, aside)
        kept = f"the notebook is kept at {os.path.relpath(aside, REPOSITORY)}"
    return RuntimeError(f"{notebook} of run {paths.run} failed: {reason}; {kept}")


# ------------------------------------------------------------------------------------- up to date?


def stale_pages(run: Mapping) -> dict[str, str]:
    """Pages of a run that no longer agree with their inputs: notebook -> why, in a few words."""
    paths = RunPaths(run["name"])
    overrides = io.read_object(paths.work / "overrides.json")
    try:
        given = parameters_of(run, overrides)
    except UserError as error:
        return dict.fromkeys(pages_of(run), str(error))
    stale = {}
    for notebook in pages_of(run):
        page = paths.pages / f"{notebook}.ipynb"
        result = Shelf(paths, notebook).current(page)
        if result is None:
            stale[notebook] = "nothing is known of how it was made"
        elif result.parameters != given[notebook]:
            stale[notebook] = "other parameters than the run's"
        else:
            changed = result.changed_inputs()
            if changed:
                stale[notebook] = f"{changed[0]} has changed"
            elif result.key != stage_key(notebook, given[notebook]):
                stale[notebook] = OTHER_CODE
    return stale


def pages_of(run: Mapping) -> list[str]:
    """The notebooks of a run that have a page."""
    folder = RunPaths(run["name"]).pages
    return [notebook for notebook in run["notebooks"] if (folder / f"{notebook}.ipynb").is_file()]
