"""The commands: python -m georep_utils new | run | list | book | clean | cost.

Exit status: 0 when all went well, 2 for input that can't be used, 1 for anything that failed on the
way, 130 when stopped from the keyboard.
"""

from __future__ import annotations

import argparse
import os
import sys

import yaml

from georep_utils.io import REPOSITORY, UserError


def assignment(text: str) -> tuple[str, object]:
    """`extract.n_per_class=100` as a name and a YAML value."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=VALUE, such as extract.n_per_class=100"
        )
    try:
        return name, yaml.safe_load(value)
    except (yaml.YAMLError, RecursionError):
        raise argparse.ArgumentTypeError(
            f"the value in {text!r} is not YAML; put it in quotes"
        ) from None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m georep_utils", description="Run the notebooks, build the book."
    )
    commands = top.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="write a run file for a model and a table")
    new.add_argument("name", help="name of the new run")
    new.add_argument("--model", required=True, help="a model of the hub, or a folder")
    new.add_argument(
        "--table",
        required=True,
        metavar="FILE",
        help="csv, tsv, jsonl, parquet, FASTA, texts one a line, or a folder of class folders",
    )
    new.add_argument("--input", default="", metavar="COLUMN", help="what the model reads")
    new.add_argument("--label", default="", metavar="COLUMN", help="the classes")
    run = commands.add_parser("run", help="run what changed of the notebooks of a run")
    run.add_argument("run", nargs="+", help="name of a run, or path of a run file; or several")
    run.add_argument(
        "-p",
        "--parameter",
        type=assignment,
        action="append",
        default=[],
        metavar="SECTION.NAME=VALUE",
        help="another value; may be repeated",
    )
    run.add_argument(
        "--as",
        dest="variant",
        metavar="VARIANT",
        help="keep what comes as a variant, with tables and pages of its own",
    )
    run.add_argument(
        "--from", dest="start", default="", metavar="NN", help="execute from here on in any case"
    )
    run.add_argument(
        "--only", action="append", metavar="NN", help="this notebook only; may be repeated"
    )
    run.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="execute up to N notebooks at a time, where they don't need each other",
    )
    run.add_argument("--book", action="store_true", help="build the html afterwards")
    commands.add_parser("list", help="runs, variants, pages and clouds, and what is out of date")
    book = commands.add_parser("book", help="build the html from the executed notebooks")
    book.add_argument("--pdf", action="store_true", help="print the whole book, with Chromium")
    clean = commands.add_parser("clean", help="remove what a run computed and no other run uses")
    clean.add_argument("run", help="name of a run, or path of a run file")
    cost = commands.add_parser("cost", help="what a run will download, store and take")
    cost.add_argument(
        "run", nargs="?", help="name of a run, or path of a run file; without one, all runs"
    )
    cost.add_argument("-p", "--parameter", type=assignment, action="append", default=[])
    return top


def command_new(given: argparse.Namespace) -> None:
    """Write a run file, and say how to go on."""
    from georep_utils import cost, io, new_run
    from georep_utils.workflow import runs

    name = io.safe_name(given.name, "name of the run")
    if name in runs.run_files():
        raise UserError(f"there is a run named {name}; take another name, or remove its file")
    wanted = new_run.Wanted(name, given.model, given.table, given.input, given.label)
    text = new_run.run_file(wanted)
    file = runs.new_file(name)
    with io.atomic(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    try:
        cost.check(runs.all_parameters(runs.read_run(name)))
    except UserError:
        file.unlink()
        raise
    print(f"wrote {file}\nnext: python -m georep_utils run {name}")
    print("then: python -m georep_utils book")


def command_run(given: argparse.Namespace) -> None:
    """Run the notebooks of a run, or of several."""
    from georep_utils import cost
    from georep_utils.workflow import runs, stages

    several = [runs.read_run(name) for name in given.run]
    if len(several) > 1:
        if given.parameter or given.variant is not None or given.only or given.start:
            raise UserError(
                f"-p, --as, --from and --only are for one run, but {len(several)} are named; name "
                "one of them"
            )
        executed = stages.run_several(several, before=cost.check, jobs=given.jobs)
    else:
        run, overrides = several[0], dict(given.parameter)
        if given.variant is not None:
            run, overrides = runs.variant_of(run, given.variant, overrides), {}
        options = {"before": cost.check, "jobs": given.jobs}
        several = [run]
        executed = [stages.run(run, overrides, given.only, given.start, **options)]
    for run, done in zip(several, executed, strict=True):
        print(f"{run['name']}: {', '.join(done) or 'nothing had changed'}")
    if given.book:
        build_book()


def command_list(given: argparse.Namespace) -> None:
    """Show what there is."""
    from georep_utils.workflow import inventory

    print(inventory.report())


def command_book(given: argparse.Namespace) -> None:
    """Build the html, or the PDF, unless a page is out of date."""
    build_book(given.pdf)


def build_book(as_pdf: bool = False) -> None:
    """Build the html, or the PDF, and say where it is."""
    from georep_utils.workflow import inventory, pages

    older = inventory.refuse_stale()
    if older:
        print(
            f"made by an earlier version of notebooks or code: {', '.join(older)}; run them again"
        )
    made = {"cost-table": pages.markdown_table(_cost_rows())}
    if as_pdf:
        from georep_utils.workflow import pdf

        print(f"wrote {pdf.build_pdf(made).relative_to(REPOSITORY)}")
        return
    html = pages.build_html(made)
    print(f"open {html.relative_to(REPOSITORY)}/index.html")


def command_clean(given: argparse.Namespace) -> None:
    """Remove what a run computed."""
    from georep_utils.workflow import inventory, runs

    run = runs.read_run(given.run)
    removed = inventory.clean(run)
    print(f"{run['name']}: removed {', '.join(removed) or 'nothing, for there was nothing'}")


def _cost_rows() -> list[list[str]]:
    """What the runs of the repository need: a head, and a row a run.

    They are kept until something that they are made from has changed: to make them takes a second,
    a fifth of what the book takes when nothing is new.
    """
    from georep_utils import io
    from georep_utils.workflow import runs

    read = {name: runs.read_run(name) for name in runs.repository_run_files()}
    reading = {name: run for name, run in read.items() if "02_extract" in run["notebooks"]}
    parameters = {name: runs.all_parameters(run) for name, run in reading.items()}
    code = io.code_digest(*io.imported_modules("import georep_utils.cost_table"))
    files = [io.state(short) for short in ("book/reference/runs.csv", "benchmarks/results/*.json")]
    made_from = io.digest(parameters, code, files)
    kept = io.read_object(io.root() / "data/runs/.cost-table.json")
    if kept.get("made_from") != made_from:
        from georep_utils import cost_table

        table = cost_table.table(parameters)
        kept = {"made_from": made_from, "rows": _as_rows(table)}
        io.write_json(io.root() / "data/runs/.cost-table.json", kept)
    return kept["rows"]


def command_cost(given: argparse.Namespace) -> None:
    """Say what a run, or each run of the repository, will download, store and take."""
    from georep_utils import cost, cost_table
    from georep_utils.workflow import runs

    if given.run is None:
        if given.parameter:
            raise UserError("-p changes the parameters of a run; name the run")
        print(_in_columns(_cost_rows()))
        return
    run = runs.read_run(given.run)
    parameters = runs.all_parameters(run, dict(given.parameter))
    told = cost.report(parameters)
    print(told)
    if cost.UNKNOWN in told and run["name"] in runs.repository_run_files():
        print("by what their owners state, and scaled from this book's benchmarks:")
        table = cost_table.table({run["name"]: parameters})
        print(_in_columns(_as_rows(table)))


def _as_rows(table) -> list[list[str]]:
    """A DataFrame as its head and its rows, in words."""
    return [list(table.columns), *table.astype(str).to_numpy().tolist()]


def _in_columns(rows: list[list[str]]) -> str:
    """Rows of cells as lines whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [map(str.ljust, row, widths) for row in rows]
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


COMMANDS = {
    "new": command_new,
    "run": command_run,
    "list": command_list,
    "book": command_book,
    "clean": command_clean,
    "cost": command_cost,
}


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    given = parser().parse_args(arguments)
    try:
        COMMANDS[given.command](given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, and the next run goes on there", file=sys.stderr)
        return 130
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        # Numpy raises errors without a number, such as "5 requested and 3 written" on a full disk.
        reason = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
        print(f"failed: {reason or type(error).__name__}{where}", file=sys.stderr)
        return 1
    except MemoryError:
        print("failed: out of memory; take fewer samples or close other programs", file=sys.stderr)
        return 1
    except RuntimeError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
