"""Faults that `plant_faults.py` plants still find their place: code that moves takes them along."""

import csv

import plant_faults

from georep_utils.io import REPOSITORY


def test_every_fault_has_been_planted():
    """A new fault needs a row: `python tests/plant_faults.py` and a word of its name."""
    with open(REPOSITORY / plant_faults.RESULT, encoding="utf-8", newline="") as stream:
        planted = [row["fault"] for row in csv.DictReader(stream)]
    assert planted == [fault.name for fault in plant_faults.FAULTS]


def test_every_fault_stands_once_where_it_is_looked_for():
    assert plant_faults.misplaced(plant_faults.FAULTS) == []


def test_a_fault_whose_place_has_moved_is_named():
    lost = plant_faults.helper("moved", "io.py", "code that stands nowhere", "", "tests/test_io.py")
    assert plant_faults.misplaced([lost]) == ["moved: stands 0 times in georep_utils/io.py"]
