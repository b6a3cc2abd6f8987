"""A fault in a chapter changes its results: tables, numbers in sentences, printed lines.

The chapters are executed on 120 images of the bundled model, and one of them on 60 proteins, and
compared with `tests/data/golden`, which `golden_runs.py` wrote.

Tolerance: another processor rounds differently in the seventh digit. That moves a dimension by far
less than two in a thousand, but it can let two neighbours that are equally near change places, each
of which is one in 600 of an overlap at k = 5.
"""

import json
import re

import golden_runs
import pandas as pd
import pytest
from golden_runs import IMAGES, KEPT, PROTEINS

RELATIVE = 2e-3
ABSOLUTE = 4e-3
NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")


# ------------------------------------------------------------------------------------ comparison


def near(one: float, other: float) -> bool:
    return one == pytest.approx(other, rel=RELATIVE, abs=ABSOLUTE, nan_ok=True)


def alike(one, other) -> bool:
    """Whether two values are the same, numbers within the tolerance, in texts too."""
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return near(one, other)
    one, other = str(one), str(other)
    if NUMBER.sub("#", one) != NUMBER.sub("#", other):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(near(as_number(a), as_number(b)) for a, b in pairs)


def as_number(text: str) -> float:
    return float(text.replace(",", "")) if text.count(".") < 2 else 0.0


def differing_columns(kept: str, found: str) -> list[str]:
    """The columns in which two csv tables differ, or what else does."""
    before = pd.read_csv(pd.io.common.StringIO(kept))
    after = pd.read_csv(pd.io.common.StringIO(found))
    if list(before.columns) != list(after.columns):
        return [f"columns {list(after.columns)}"]
    if len(before) != len(after):
        return [f"{len(after)} rows, not {len(before)}"]
    faults = []
    for column in before.columns:
        for row, (one, other) in enumerate(zip(before[column], after[column], strict=True)):
            if not alike(one, other):
                faults.append(f"{column}, row {row}: {other}, not {one}")
                break
    return faults


def faults_of(case: str, found: dict) -> list[str]:
    """Everything in which a notebook's results are not those that are kept."""
    folder = KEPT / case
    kept = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.csv")}
    said = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    faults = [f"table {name}" for name in sorted(kept.keys() ^ found["tables"].keys())]
    for name in sorted(kept.keys() & found["tables"].keys()):
        faults += [f"{name}: {x}" for x in differing_columns(kept[name], found["tables"][name])]
    for name in sorted(said["glued"].keys() | found["glued"].keys()):
        pair = [values.get(name, "absent") for values in (said["glued"], found["glued"])]
        if not alike(*pair):
            faults.append(f"number {name}: {pair[1]}, not {pair[0]}")
    before, after = said["printed"], found["printed"]
    if len(before) != len(after):
        faults.append(f"{len(after)} lines printed, not {len(before)}")
    for one, other in zip(before, after, strict=False):
        if not alike(one, other):
            faults.append(f"printed {other!r}, not {one!r}")
    return faults


def test_the_comparison_sees_a_changed_number_a_changed_word_and_a_lost_row():
    table = "layer,kind,id\n0,a,3.5\n1,b,4.0\n"
    assert differing_columns(table, table) == []
    assert differing_columns(table, table.replace("4.0", "4.001")) == []
    for one, other in [("4.0", "4.02"), ("b", "c"), ("1,b,4.0\n", ""), ("kind", "sort")]:
        assert len(differing_columns(table, table.replace(one, other))) == 1
    assert alike("a: 5.14 ± 0.46", "a: 5.141 ± 0.46")
    assert not alike("a: 5.14 ± 0.46", "a: 5.24 ± 0.46") and not alike("yes", "no")
    assert not alike(None, 3.0) and not alike(True, 1) and alike(float("nan"), float("nan"))


# ------------------------------------------------------------------------------------- the chapters


@pytest.fixture(scope="module")
def found_so_far(tmp_path_factory):
    """Gives what each notebook leaves, executing those before it once."""
    root = tmp_path_factory.mktemp("golden")
    results = {}
    steps = golden_runs.measure_images(root)

    def of(notebook):
        while notebook not in results:
            number, found = next(steps)
            results[number] = found
        return results[notebook]

    return of


@pytest.mark.parametrize("notebook", IMAGES)
def test_a_chapter_gives_what_it_gave(found_so_far, notebook):
    assert faults_of(notebook, found_so_far(notebook)) == []


@pytest.mark.parametrize("exclude", PROTEINS)
def test_overlaps_of_proteins_leave_their_own_family_out(tmp_path, exclude):
    found = golden_runs.measure_proteins(tmp_path, exclude)
    assert faults_of(f"proteins-{exclude}", found) == []


def test_leaving_a_family_out_before_or_after_makes_a_difference():
    before, after = (
        (KEPT / f"proteins-{exclude}/overlaps.csv").read_text(encoding="utf-8")
        for exclude in PROTEINS
    )
    assert differing_columns(before, after)
