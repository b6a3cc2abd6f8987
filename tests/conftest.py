"""Tests run without a display and never ask a model hub."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["HF_HUB_OFFLINE"] = "1"
