"""Measurements of a run, kept and not taken twice.

A page is made again when a colour or a word of it has changed. Its measurements have not changed
with it, and they are what takes the time. So a slow function of the geometry that is marked
`@kept` looks, while a notebook of a run executes, whether it was called before with arguments of
the same content, and returns what it returned then. Outside of runs it is a plain function.

What a measurement depends on is in the name of its file, as a digest:

- the content of the arguments, arrays included: no file is trusted to hold what it held;
- the syntax of the function's module, and of the modules of this package that it imports;
- the versions of the libraries that compute.

The values are JSON, in which floating-point numbers come back to the last bit. They lie in
`data/measurements/RUN/`, and `clean RUN` removes them; a run finds those of all other runs.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import cache, wraps
from importlib.metadata import version
from typing import Any

import joblib
import numpy as np
import pandas as pd

from georep_utils import io

LIBRARIES = ("numpy", "scipy", "pandas", "scikit-learn", "numba", "torch", "dadapy", "joblib")


def kept(function: Callable) -> Callable:
    """Keep what a function returns in a run, and return it when the run asks the same again.

    The function must depend on its arguments alone, and return numbers, arrays, DataFrames with a
    plain index, or tuples of these. Errors are not kept.
    """

    @wraps(function)
    def measure(*arguments, **options):
        run = io.running()
        if run is None:
            return function(*arguments, **options)
        name = f"{function.__name__}-{_digest(function, arguments, options)}.json"
        known = (io.read_json(file) for file in io.measurements_folder().glob(f"*/{name}"))
        found = next(known, None)
        if found is None:
            found = _packed(function(*arguments, **options))
            with io.atomic(io.measurements_folder() / run / name) as temporary:
                temporary.write_text(json.dumps(found), encoding="utf-8")
        return _unpacked(found)

    return measure


def _digest(function: Callable, arguments: tuple, options: dict) -> str:
    given = inspect.signature(function).bind(*arguments, **options)
    given.apply_defaults()
    content = joblib.hash(list(given.arguments.items()), coerce_mmap=True)
    return io.digest(function.__qualname__, content, _code(function.__module__), _versions())[:16]


@cache
def _code(module: str) -> str:
    file = io.REPOSITORY / f"{module.replace('.', '/')}.py"
    source = file.read_text(encoding="utf-8")
    return io.code_digest(module, *io.imported_modules(source))


@cache
def _versions() -> list[str]:
    return [version(library) for library in LIBRARIES]


def _packed(value: Any) -> Any:
    """`value` as JSON can hold it."""
    if isinstance(value, tuple):
        return {"tuple": [_packed(part) for part in value]}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "type": str(value.dtype)}
    if isinstance(value, pd.DataFrame):
        columns = {name: _packed(value[name].to_numpy()) for name in value}
        return {"table": columns}
    return value.item() if isinstance(value, np.generic) else value


def _unpacked(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(_unpacked(part) for part in value["tuple"])
    if "table" in value:
        columns = {name: _unpacked(part) for name, part in value["table"].items()}
        return pd.DataFrame(columns)
    return np.array(value["array"], dtype=value["type"])
