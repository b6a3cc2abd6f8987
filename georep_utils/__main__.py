"""Command line: python -m georep_utils run | list | book | clean."""

from __future__ import annotations

import argparse
import shutil
import sys

import yaml

from georep_utils.io import REPOSITORY, RunPaths, UserError


def assignment(text: str) -> tuple[str, object]:
    """`extract.n_per_class=100` as a name and a YAML value."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as extract.n_per_class=100")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise argparse.ArgumentTypeError(f"the value in {text!r} is not YAML; quote it") from None


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m georep_utils", description="Run the notebooks, build the book.")
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the notebooks of a run file, as far as something changed")
    run.add_argument("run", help="name of a file in notebooks/runs, or a path to one")
    run.add_argument("-p", "--parameter", type=assignment, action="append", default=[], metavar="SECTION.NAME=VALUE")
    run.add_argument("--from", dest="start", default="", metavar="NN", help="run from this notebook on, changed or not")
    run.add_argument("--only", action="append", metavar="NN", help="run this notebook only (may be repeated)")
    commands.add_parser("list", help="the run files, and which of them have pages")
    commands.add_parser("book", help="build the html from the executed notebooks")
    clean = commands.add_parser("clean", help="remove what a run computed (its run file stays)")
    clean.add_argument("run")
    return top


def main(arguments: list[str] | None = None) -> int:
    """0 when all went well, 2 for input that can't be used, 1 for anything that failed on the way."""
    from georep_utils.workflow import stages as pipeline

    given = parser().parse_args(arguments)
    try:
        if given.command == "run":
            done = pipeline.run(given.run, dict(given.parameter), given.only, given.start)
            print(f"{given.run}: {', '.join(done) if done else 'nothing had changed'}")
        elif given.command == "list":
            for name in pipeline.run_files():
                run = pipeline.read_run(name)
                pages = sum((RunPaths(run["name"]).pages / f"{n}.ipynb").exists() for n in run["notebooks"])
                print(f"{name:24} {pages} of {len(run['notebooks'])} chapters   {run['title']}")
        elif given.command == "book":
            print(f"open {pipeline.build_book().relative_to(REPOSITORY)}/index.html")
        else:
            name = pipeline.read_run(given.run)["name"]
            for folder in (RunPaths(name).manifests.parent, RunPaths(name).pages):
                shutil.rmtree(folder, ignore_errors=True)
            print(f"{name}: removed data/runs/{name} and book/runs/{name}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, KeyboardInterrupt) as error:
        print(f"failed: {error or 'stopped; what was finished is kept'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
