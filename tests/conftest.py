"""Tests run without a display and never ask a model hub."""

import os

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder in the place of the repository's: clouds, runs and results go below it."""
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    return tmp_path
