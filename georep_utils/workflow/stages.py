"""The notebooks of a run, executed as far as something changed, and the book that shows what they left. No science here."""

from __future__ import annotations

import ast
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import jupytext
import nbformat
import yaml

from georep_utils.workflow.pages import SHOWN, as_page, build_html, show
from georep_utils.io import REPOSITORY, RunPaths, UserError, digest, read_json, write_json
from georep_utils.workflow.runs import declared_parameters, notebook_file, parameters_of, read_run, run_files

LEFT_BY = {"02_extract": "representations", "03_distances": "neighbors"}


# ------------------------------------------------------------------------------------------ stages


def rooms(source: str) -> set[Path]:
    """The files of this package that `source` imports, and those that they import."""
    found, queue = set(), [source]
    while queue:
        for node in ast.walk(ast.parse(queue.pop())):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("georep_utils")):
                names = [(node.module or "").split(".")[-1], *(alias.name for alias in node.names)]
                files = {REPOSITORY / "georep_utils" / f"{name}.py" for name in names}
                for path in {path for path in files if path.is_file()} - found:
                    found.add(path)
                    queue.append(path.read_text())
    return found


def stage_key(notebook: str, parameters: Mapping, upstream: str) -> str:
    """What a stage depends on: its parameters, its notebook, the rooms it uses, the files its parameters name, the stage before."""
    code = jupytext.writes(jupytext.read(notebook_file(notebook)), "py:percent")
    given = declared_parameters(notebook) | dict(parameters)
    named = [REPOSITORY / value for value in given.values() if isinstance(value, str) and 0 < len(value) < 250]
    files = {path for path in named if path.is_file()}
    if "results" in given:  # tables of the other runs
        tables = (path for kind in ("csv", "json") for path in (REPOSITORY / given["results"]).rglob(f"*.{kind}"))
        files |= {path for path in tables if path.parent.name != given.get("run")}
    files = sorted(files)
    inputs = [
        path if path.stat().st_size < 2**28 else [str(path), path.stat().st_size, path.stat().st_mtime]
        for path in files
    ]
    return digest(code, given, upstream, *sorted(rooms(code)), *inputs)


def run(run_yaml: str | Path, overrides: Mapping | None = None, notebooks: Sequence[str] | None = None,
        start: str = "") -> list[str]:  # fmt: skip
    """Run the notebooks of a run, skipping stages whose key has not changed; the names of those that were executed.

    overrides: {"extract.n_per_class": 100, ...}. notebooks: only these, by number or name. start: run from this number
    on, changed or not. UserError before anything runs for bad input; RuntimeError, naming the notebook that was kept
    aside, where a cell fails.
    """
    run = read_run(run_yaml)
    given = parameters_of(run, overrides)
    chosen = [n for n in given if notebooks is None or any(n.startswith(str(prefix)) for prefix in notebooks)]
    for prefix in [*(notebooks or []), *([start] if start else [])]:
        if not any(n.startswith(str(prefix)) for n in given):
            raise UserError(f"run {run['name']} has no notebook {prefix}; it has {', '.join(given)}")
    paths, upstream, executed = RunPaths(run["name"]), "", []
    forced = bool(start) and next(i for i, n in enumerate(given) if n.startswith(start))
    for number, (notebook, parameters) in enumerate(given.items()):
        upstream = stage_key(notebook, parameters, upstream)
        manifest, page = paths.manifests / f"{notebook}.json", paths.pages / f"{notebook}.ipynb"
        left = getattr(paths, LEFT_BY[notebook]).exists() if notebook in LEFT_BY else True
        fresh = read_json(manifest, {}).get("key") == upstream and page.exists() and left
        if notebook not in chosen or (fresh and not (start and number >= forced)):
            continue
        began = time.time()
        print(f"{run['name']}: {notebook}", flush=True)
        manifest.unlink(missing_ok=True)
        execute(notebook, parameters, paths)
        write_json(manifest, {"key": upstream, "notebook": notebook, "parameters": parameters,
                              "seconds": round(time.time() - began, 1)})  # fmt: skip
        executed.append(notebook)
    return executed


def execute(notebook: str, parameters: Mapping, paths: RunPaths) -> None:
    """Execute one notebook and put it into the book when every cell succeeded; else keep it aside and say where."""
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    work = paths.manifests.parent / "executed"
    work.mkdir(parents=True, exist_ok=True)
    source, result = work / f".{notebook}.ipynb", work / f"{notebook}.ipynb"
    nbformat.write(jupytext.read(notebook_file(notebook)), source)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait stall a shared machine
    try:
        papermill.execute_notebook(source, result, dict(parameters), cwd=REPOSITORY, kernel_name="python3", language="python",
                                   progress_bar=False, stderr_file=sys.stderr,
                                   config=Config({"KernelManager": {"transport_encryption": "auto"}}))  # fmt: skip
    except DeadKernelError:
        raise RuntimeError(f"{notebook} of run {paths.run} failed: its kernel died, perhaps for want of memory; "
                           f"the notebook is kept at {os.path.relpath(result, REPOSITORY)}") from None  # fmt: skip
    except papermill.PapermillExecutionError as error:
        failed = result.with_name(f"{notebook}.failed.ipynb")
        result.replace(failed)
        raise RuntimeError(
            f"{notebook} of run {paths.run} failed in cell {error.exec_count}: {error.ename}: {error.evalue}; "
            f"the notebook is kept at {os.path.relpath(failed, REPOSITORY)}"
        ) from None
    finally:
        source.unlink(missing_ok=True)
    page = paths.pages / f"{notebook}.ipynb"
    page.parent.mkdir(parents=True, exist_ok=True)
    finished = result.with_suffix(".page")
    nbformat.write(as_page(nbformat.read(result, 4), paths.run), finished)
    finished.replace(page)


# ------------------------------------------------------------------------------------------ the book


def table_of_contents() -> dict:
    """`_toc.yml` with a part for every run that has pages and is not named there, in the order of the run files."""
    toc = yaml.safe_load((REPOSITORY / "_toc.yml").read_text())
    named = json.dumps(toc)
    for name in run_files():
        run = read_run(name)
        folder = RunPaths(run["name"]).pages
        pages = [n for n in run["notebooks"] if (folder / f"{n}.ipynb").exists()]
        if pages and f"book/runs/{run['name']}/" not in named:
            chapters = [{"file": f"book/runs/{run['name']}/{page}"} for page in pages]
            toc["parts"].insert(-1, {"caption": run["title"], "chapters": chapters})
    return toc


def build_book() -> Path:
    """Build the html strictly from the executed notebooks, where something changed; the folder it is in.

    UserError where a page of `_toc.yml` is missing; RuntimeError for any warning, unresolved reference or failed cell.
    """
    toc = table_of_contents()
    for entry in [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]:
        if entry.startswith(SHOWN) and notebook_file(Path(entry).name).is_file():
            show(entry)
        if not any((REPOSITORY / f"{entry}{suffix}").is_file() for suffix in (".md", ".ipynb")):
            raise UserError(f"the book names {entry}, which is missing; run its notebooks first (make book does)")
    return build_html(toc)


def provenance() -> dict:
    """Versions and machine that made a result."""
    import torch
    import transformers

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
            "machine": platform.machine(), "cores": os.cpu_count(), "gpu": gpu}  # fmt: skip
