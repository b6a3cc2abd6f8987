"""Curves of a network as the paper describes them, for the tests of the comparison with it."""

import json

import numpy as np
import pandas as pd

N_BLOCKS = 20
LAYERS = np.arange(N_BLOCKS + 1)
HUNCHBACK = np.interp(LAYERS, [0, 5, 10, 14, 20], [10, 25, 12, 18, 8])
LABELS = np.interp(LAYERS, [0, 10, 20], [0.1, 0.6, 0.2])
DEPTH = LAYERS / N_BLOCKS
NEXT = np.interp(LAYERS, [0, 8, 17, 20], [0.4, 0.95, 0.95, 0.3])


def curve(values, quantity="intrinsic_dimension", k=np.nan, model="net", error=0.1):
    """One curve in the form of the published ones."""
    return pd.DataFrame(
        {
            "model": model,
            "quantity": quantity,
            "layer": np.arange(len(values)),
            "n_blocks": N_BLOCKS,
            "k": k,
            "value": values,
            "error": error,
            "source": "made up",
        }
    )


def network(ids=HUNCHBACK, labels=LABELS, following=NEXT):
    """All curves of one network."""
    return pd.concat(
        [
            curve(ids),
            curve(labels, "label_overlap", 10, error=0.005),
            curve(labels / 2, "label_overlap", 30, error=0.005),
            curve(following, "consecutive_overlap", 10),
        ]
    )


def replicates(values, error, quantity, k=np.nan, seed=0):
    """Rows of values with independent errors, as a run leaves them for its halves."""
    drawn = np.random.default_rng(seed).standard_normal((19, 2, len(values)))
    # half the difference of the halves is the error of the whole
    drawn = values + np.sqrt(2) * error * drawn
    division, half, layer = np.indices(drawn.shape)
    return pd.DataFrame(
        {
            "quantity": quantity,
            "k": k,
            "layer": layer.ravel(),
            "division": division.ravel(),
            "half": half.ravel(),
            "value": drawn.ravel(),
        }
    )


def write_run(folder, name, ids=HUNCHBACK, n_samples=1000, labels=LABELS, **about):
    """The tables of a run, as notebooks leave them."""
    folder = folder / name
    folder.mkdir()
    profiles = [
        pd.DataFrame({"layer": LAYERS, "depth": DEPTH, "id": ids + more, "id_err": 0.1})
        for more in (0, 5)
    ]
    rules = pd.concat(profiles, keys=["paper_text", "igpt_release"], names=["rule"])
    rules = rules.reset_index("rule").assign(scale=4.0)
    cases = [
        (labels, "labels", "trained"),
        (labels / 2, "labels", "untrained"),
        (NEXT, "next", "trained"),
        (NEXT, "first", "trained"),
    ]
    overlaps = [
        pd.DataFrame({"layer": LAYERS, "k": 10, "overlap": o, "other": other, "network": network})
        for o, other, network in cases
    ]
    halves = [
        replicates(labels, 0.005, "label_overlap", 10),
        replicates(NEXT, 0.005, "consecutive_overlap", 10),
    ]
    untrained = [
        pd.DataFrame({"control": control, "layer": LAYERS, "id": height, "id_err": 0.1})
        for control, height in (("untrained", 9.0), ("untrained-1", 9.5), ("pixels", 30.0))
    ]
    checkpoints = [
        pd.DataFrame({"checkpoint": checkpoint, "layer": LAYERS, "id_err": 0.1}).assign(
            id=ids.mean() + share * (ids - ids.mean())
        )
        for checkpoint, share in (("untrained", 0.0), ("1/8", 0.8), ("trained", 1.0))
    ]
    tables = {
        "id_profile": rules,
        "overlaps": pd.concat(overlaps).assign(error=0.005),
        "id_replicates": replicates(ids, 0.1, "intrinsic_dimension"),
        "overlap_replicates": pd.concat(halves),
        "id_controls": pd.concat(untrained),
        "training_dynamics": pd.concat(checkpoints),
    }
    for table, rows in tables.items():
        rows.to_csv(folder / f"{table}.csv", index=False)
    facts = {
        "n_blocks": N_BLOCKS,
        "n_samples": n_samples,
        "scale_rule": "paper_text",
        "family": "image",
        "generative": True,
        "weights": name,
    }
    (folder / "provenance.json").write_text(json.dumps(facts | about))


def make_older(folder, name):
    """Leave of a run what an earlier version left."""
    path = folder / name / "provenance.json"
    facts = json.loads(path.read_text())
    for key in ("family", "generative", "weights"):
        facts.pop(key)
    path.write_text(json.dumps(facts))
    for table in ("id_replicates", "overlap_replicates", "id_controls"):
        (folder / name / f"{table}.csv").unlink()
    overlaps = pd.read_csv(folder / name / "overlaps.csv")
    overlaps.drop(columns="error").to_csv(folder / name / "overlaps.csv", index=False)
