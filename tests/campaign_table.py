"""The committed table of a campaign: a row a kind of work, in a fixed order."""

import csv
from collections.abc import Iterable
from io import StringIO
from pathlib import Path


def keep_row(path: Path, row: dict, key: str, order: Iterable[str]) -> None:
    """Put a row into the table, in the place of an earlier one of the same `key`."""
    rows = {}
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as stream:
            rows = {before[key]: before for before in csv.DictReader(stream)}
    rows[row[key]] = row
    write(path, [rows[name] for name in order if name in rows], list(row))


def write(path: Path, rows: list[dict], columns: list[str]) -> None:
    """Write the whole table."""
    text = StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue(), encoding="utf-8")
