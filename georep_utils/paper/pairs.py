"""Profiles of two clouds that may be put on one axis.

A dimension has a scale, and two profiles that were read at different scales differ for that reason
alone. So a run's table serves only where both clouds have one that was made by the same rule.
"""

from __future__ import annotations

import pandas as pd

from georep_utils import io
from georep_utils.io import RunPaths

COLUMNS = ["layer", "id", "id_err"]


def tabled(run: str, cloud: str) -> tuple[str, pd.DataFrame] | None:
    """The rule of scale and the ID profile of a run's cloud, from the tables that the run left.

    Parameters
    ----------
    run : name of a run; "" has no tables.
    cloud : "trained" is in id_profile.csv, by several rules, of which the run's own counts; the
        others are in id_controls.csv.

    Returns
    -------
    The rule, and a DataFrame with columns layer, id and id_err; None where there is no table.
    """
    if not run:
        return None
    folder = RunPaths(run).results
    name = "id_profile.csv" if cloud == "trained" else "id_controls.csv"
    made = {path.name for pattern in (name, "provenance.json") for path in io.find(folder, pattern)}
    if made != {name, "provenance.json"}:
        return None
    rule = io.read_object(folder / "provenance.json").get("scale_rule")
    table = io.read_table(folder / name)
    if cloud == "trained":
        table = table[table.rule == rule]
    else:
        table = table[table.control == cloud]
    if rule is None or table.empty:
        return None
    return rule, table[COLUMNS].reset_index(drop=True)


def common(
    first: tuple[str, pd.DataFrame] | None, second: tuple[str, pd.DataFrame] | None
) -> str | None:
    """The rule by which both tables were made, or None where they can't share an axis."""
    if first is None or second is None or first[0] != second[0]:
        return None
    return first[0]
