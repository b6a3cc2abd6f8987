"""The reference of parameters, written from what the notebooks declare."""

from __future__ import annotations

from georep_utils.io import REPOSITORY
from georep_utils.workflow.runs import Parameter, declared_parameters, notebook_file

PLACE = "<!-- parameter-reference -->"
TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "list": "list",
    "dict": "mapping",
    "NoneType": "anything",
}


def parameter_reference() -> str:
    """A section a notebook: parameter, type, default, allowed values and meaning, as MyST."""
    parts = []
    for file in sorted((REPOSITORY / "notebooks").glob("[0-9]*.py")):
        declared = declared_parameters(file.stem)
        rows = [_row(parameter) for parameter in declared.values() if parameter.name != "run"]
        if rows:
            section = file.stem.partition("_")[2]
            parts += [f"### `{section}`", "", f"{_title(file.stem)} (`notebooks/{file.name}`).", ""]
            parts += [
                "```{list-table}",
                ":header-rows: 1",
                ":widths: 22 14 18 46",
                "",
                "* - parameter",
                "  - type",
                "  - default",
                "  - meaning",
                *rows,
                "```",
                "",
            ]
    return "\n".join(parts)


def _title(notebook: str) -> str:
    """The title of a chapter."""
    for line in notebook_file(notebook).read_text(encoding="utf-8").splitlines():
        if line.startswith("# # "):
            return line.removeprefix("# # ")
    return notebook


def _row(parameter: Parameter) -> str:
    kind = TYPES[type(parameter.default).__name__]
    default = repr(parameter.default).replace("`", "'")
    allowed = ""
    if parameter.choices:
        allowed = f" One of {', '.join(f'`{choice}`' for choice in parameter.choices)}."
    elif parameter.least is not None and parameter.most is not None:
        allowed = f" Between {parameter.least:g} and {parameter.most:g}."
    elif parameter.least is not None:
        allowed = f" At least {parameter.least:g}."
    meaning = f"{parameter.meaning}{allowed}".strip() or "–"
    return f"* - `{parameter.name}`\n  - {kind}\n  - `{default}`\n  - {meaning}"
