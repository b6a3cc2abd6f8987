"""Tables with a sample in each row: csv, tsv, jsonl or parquet, plain or gzip.

A table of texts, of protein sequences or of image files is read in the same way. Two promises
make the result trustworthy:

*A cell is a string, exactly as written.* "NA", "null", "007" and "1e5" are texts or labels, not
missing values or numbers. Numbers of a jsonl file keep their digits as well.

*A record of the file is a row of the result.* A csv cell may hold commas and line ends between
double quotes. A tsv file has no quoting, as the GLUE benchmark and most tools write it: a quote is
a letter there, and two stray ones must not merge the rows between them. A record with another
number of cells than the header is refused with its line. (That is why csv and tsv files are taken
apart by the standard library's `csv` and not by `pandas.read_csv`, which fills short rows with
empty cells without a word.)

Only cells that a run asks for have to be filled in: `columns` says which one is not.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from georep_utils.data.files import one_line, read_bytes, read_text
from georep_utils.io import UserError

FORMATS = ("csv", "tsv", "jsonl", "parquet")


def table_format(path: Path) -> str | None:
    """One of `FORMATS`, by the name of the file with or without ".gz"; None for any other file."""
    name = path.name.lower().removesuffix(".gz")
    ending = name.rpartition(".")[2]
    return ending if ending in FORMATS else None


def read_cells(path: Path) -> pd.DataFrame:
    """The cells of a table, each a string as it was written, "" where there is none.

    Raises
    ------
    UserError
        If the file is none of `FORMATS`, can't be read, or has records that do not fit its header.
    """
    kind = table_format(path)
    if kind == "csv":
        return _read_separated(path, ",", csv.QUOTE_MINIMAL)
    if kind == "tsv":
        return _read_separated(path, "\t", csv.QUOTE_NONE)
    if kind == "jsonl":
        return _read_jsonl(path)
    if kind == "parquet":
        return _read_parquet(path)
    raise UserError(
        f"{path} is not a table; expected a name that ends in .{', .'.join(FORMATS)}, "
        "or in one of them and .gz; rename or convert the file"
    )


def columns(cells: pd.DataFrame, wanted: dict[str, str | None], path: Path) -> dict[str, list[str]]:
    """The columns of a table that a run asks for, each with every cell filled in.

    Parameters
    ----------
    cells
        A table from `read_cells`.
    wanted
        What each column is for, and its name in the table; None where it is not asked for.
    path
        The file that a message names.

    Returns
    -------
    What each column is for, and its cells (N,).

    Raises
    ------
    UserError
        If there is no such column, and for the first cell that is empty or no text.
    """
    return {
        purpose: _column(cells, name, path) for purpose, name in wanted.items() if name is not None
    }


def _column(cells: pd.DataFrame, name: str, path: Path) -> list[str]:
    if not isinstance(name, str) or name not in cells.columns:
        known = ", ".join(map(str, cells.columns))
        raise UserError(f"{path}: row 1 has no {name!r}; its columns are {known}: name one of them")
    values = cells[name].tolist()
    for row, value in enumerate(values, 1):
        if not value.strip():
            raise UserError(
                f"{path}: row {row} has no {name!r}; expected a cell that is not empty; "
                "fill it in or remove the row"
            )
        if not _is_unicode(value):
            raise UserError(
                f"{path}: row {row} has half a character in {name!r}; expected text in Unicode; "
                "correct it or remove the row"
            )
    return values


def _is_unicode(text: str) -> bool:
    """False for text with half of a surrogate pair, which JSON can spell and no tokenizer reads."""
    try:
        text.encode()
        return True
    except UnicodeEncodeError:
        return False


def _check_header(names: list[str], path: Path) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise UserError(f"{path} has two columns {name!r}; give each a name of its own")
        seen.add(name)


# -------------------------------------------------------------------------------------- csv and tsv


def _read_separated(path: Path, delimiter: str, quoting: int) -> pd.DataFrame:
    # Line ends inside quotes belong to the cell, so they must not be translated.
    content = read_text(path, newline="")
    # A lone "\r" ends a line only where nothing else does. In any other file it belongs to a cell,
    # and `csv` refuses it outside quotes instead of making two rows of one.
    lines = io.StringIO(content, newline="\n" if "\n" in content else "")
    with _cells_up_to(len(content)):
        # Strict: a quote that nothing closes would otherwise swallow the rest of the file.
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
        try:
            return _fill(reader, path)
        except csv.Error as error:
            raise UserError(
                f"{path}: line {reader.line_num} can't be read ({error}); "
                "correct its quotes or line ends"
            ) from None


def _fill(reader, path: Path) -> pd.DataFrame:
    header = next(reader, None)
    if not header:
        raise UserError(f"{path} has no first line; expected the names of its columns there")
    _check_header(header, path)
    rows = []
    for cells in reader:
        if not cells:  # an empty line
            continue
        if len(cells) != len(header):
            raise UserError(
                f"{path}: line {reader.line_num} has another number of cells than the header, "
                f"{len(cells)} instead of {len(header)}; correct it"
            )
        rows.append(cells)
    return pd.DataFrame(rows, columns=header, dtype=object)


@contextlib.contextmanager
def _cells_up_to(n_characters: int) -> Iterator[None]:
    """Lift the limit of 131,072 characters a cell, which `csv` keeps for the whole process."""
    before = csv.field_size_limit(max(n_characters, csv.field_size_limit()))
    try:
        yield
    finally:
        csv.field_size_limit(before)


# -------------------------------------------------------------------------------------------- jsonl


def _read_jsonl(path: Path) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            rows.append(_json_record(line, number, path))
    names = dict.fromkeys(name for row in rows for name in row)
    cells = [[row.get(name, "") for name in names] for row in rows]
    return pd.DataFrame(cells, columns=list(names), dtype=object)


def _json_record(line: str, number: int, path: Path) -> dict[str, str]:
    def with_distinct_names(pairs: list[tuple[str, object]]) -> dict:
        _check_header([name for name, _ in pairs], path)
        return dict(pairs)

    # Numbers stay the strings that they are written as.
    as_written = {"parse_int": str, "parse_float": str, "parse_constant": str}
    try:
        record = json.loads(line, object_pairs_hook=with_distinct_names, **as_written)
        if isinstance(record, dict):
            return {name: _json_cell(value) for name, value in record.items()}
    except (json.JSONDecodeError, RecursionError):
        pass
    raise UserError(
        f"{path}: line {number} is no JSON object; expected {{...}} on each line; correct it"
    )


def _json_cell(value) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)


# ------------------------------------------------------------------------------------------ parquet


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow  # noqa: F401  only to see whether it is there: it is no requirement
    except ImportError as error:
        raise UserError(
            f"{path} can't be read ({one_line(error)}); convert it to csv or jsonl, "
            "or install a pyarrow that goes with the numpy of requirements.txt"
        ) from None
    content = read_bytes(path)
    try:
        # Nullable: a missing value must not turn the whole numbers of its column into fractions.
        frame = pd.read_parquet(
            io.BytesIO(content), engine="pyarrow", dtype_backend="numpy_nullable"
        )
        names = list(map(str, frame.columns))
        columns_of_cells = [list(map(_parquet_cell, values)) for _, values in frame.items()]
    except Exception as error:  # pyarrow has errors of its own
        raise UserError(
            f"{path} can't be read as parquet ({one_line(error)}); bring it again"
        ) from None
    _check_header(names, path)
    rows = zip(*columns_of_cells, strict=True)
    return pd.DataFrame(list(rows), columns=names, dtype=object)


def _parquet_cell(value) -> str:
    if isinstance(value, str):
        return value
    missing = pd.api.types.is_scalar(value) and pd.isna(value)
    return "" if missing else str(value)
