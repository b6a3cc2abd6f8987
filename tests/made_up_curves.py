"""Curves of a network as the paper describes them, for the tests of the comparison with it."""

import numpy as np
import pandas as pd

N_BLOCKS = 20
LAYERS = np.arange(N_BLOCKS + 1)
HUNCHBACK = np.interp(LAYERS, [0, 5, 10, 14, 20], [10, 25, 12, 18, 8])
LABELS = np.interp(LAYERS, [0, 10, 20], [0.1, 0.6, 0.2])
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
