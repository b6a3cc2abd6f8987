"""What there is: runs, variants, pages and clouds, their sizes, and who uses what."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from georep_utils import io
from georep_utils.io import RunPaths, UserError
from georep_utils.workflow.runs import read_run, run_files
from georep_utils.workflow.stages import OTHER_CODE, pages_of, stale_pages


def cloud_sizes() -> dict[str, int]:
    """Every cloud and how many bytes it takes; one that is not whole ends in " (unfinished)"."""
    sizes = {}
    for folder in sorted(io.clouds_folder().glob("[!.]*")):
        if folder.is_dir():
            sizes[folder.name] = _size(folder)
    for folder in sorted(io.clouds_folder().glob(".*.partial")):
        name = folder.name.removeprefix(".").removesuffix(".partial")
        sizes[f"{name} (unfinished)"] = _size(folder)
    return sizes


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def users() -> dict[str, set[str]]:
    """The runs that read each cloud, by their kept results."""
    found: dict[str, set[str]] = {}
    for path in (io.root() / "data/runs").glob("*/kept/*/*/result.json"):
        run = path.relative_to(io.root() / "data/runs").parts[0]
        for read in io.read_object(path).get("read") or {}:
            parts = Path(read).parts
            if parts[:2] == ("data", "clouds") and len(parts) > 2:
                found.setdefault(parts[2], set()).add(run)
    return found


def report() -> str:
    """All runs with their pages, and all clouds with their users, as lines of text."""
    lines = ["runs"]
    for name in run_files():
        try:
            run = read_run(name)
        except UserError as error:
            lines.append(f"  {name:28} can't be used: {error}")
            continue
        pages = len(pages_of(run))
        lines.append(f"  {name:28} {pages} of {len(run['notebooks'])} chapters   {run['title']}")
        for notebook, reason in stale_pages(run).items():
            lines.append(f"  {'':28} {notebook} is out of date: {reason}")
    used_by = users()
    lines.append("clouds")
    for name, size in cloud_sizes().items():
        runs = ", ".join(sorted(used_by.get(name.removesuffix(" (unfinished)"), ["nobody"])))
        lines.append(f"  {size / 1e6:10,.1f} MB  {name}   used by {runs}")
    if len(lines) == 2 + len(run_files()):
        lines.append("  none yet")
    return "\n".join(lines)


def refuse_stale() -> list[str]:
    """The pages of the book that other code would make anew.

    Raises
    ------
    UserError
        Where a page no longer agrees with its inputs.
    """
    by_other_code = []
    for name in run_files():
        for notebook, reason in stale_pages(read_run(name)).items():
            if reason == OTHER_CODE:
                by_other_code.append(f"{notebook} of {name}")
                continue
            raise UserError(
                f"{notebook} of run {name} is out of date ({reason}); run it again: "
                f"python -m georep_utils run {name}"
            )
    return by_other_code


def clean(run: Mapping) -> list[str]:
    """Remove what a run computed: pages, tables, measurements, and clouds that no other run uses.

    The run file stays, unless the run is a variant, whose file was made by the program. Tables that
    the repository carries are not touched.

    Returns
    -------
    What was removed, as paths for a reader.
    """
    paths = RunPaths(run["name"])
    removed = []
    for cloud, runs in users().items():
        folder = io.clouds_folder() / io.safe_name(cloud, "cloud")
        if runs == {run["name"]} and folder.is_dir():
            shutil.rmtree(folder)
            removed.append(folder)
    for folder in (paths.work, paths.pages, io.measurements_folder() / paths.run):
        if folder.is_dir():
            shutil.rmtree(folder)
            removed.append(folder)
    return [str(folder.relative_to(io.root())) for folder in removed]
