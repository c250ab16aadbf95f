"""Distributions of inputs and answers on held-out rows, to compare live traffic with."""

import numpy as np

from classification import softmax
from corpus import Text

QUANTILES = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
EDGE_QUANTILES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)


def drift_baseline(texts: list[Text], ids: list[list[int]], logits: np.ndarray, labels: list[str]) -> dict:
    probabilities = softmax(logits)
    counts = np.bincount(probabilities.argmax(axis=1), minlength=len(labels))
    return {
        "schema_version": 1,
        "rows": len(ids),
        "inputs": {
            "characters": _summary(np.array([len(t.text) for t in texts])),
            "tokens": _summary(np.array([len(row) for row in ids])),
        },
        "scores": {
            "label": {"type": "string", "counts": {name: int(c) for name, c in zip(labels, counts)}},
            "probability": _summary(probabilities.max(axis=1)),
        },
    }


def _summary(values: np.ndarray) -> dict:
    values = values.astype(np.float64)
    # Bins of about equal content: equal widths would put a skewed value into one bin.
    edges = np.unique(np.quantile(values, EDGE_QUANTILES, method="lower"))
    return {
        "type": "number",
        "mean": _short(values.mean()),
        "std": _short(values.std()),
        "min": _short(values.min()),
        "max": _short(values.max()),
        "quantiles": {f"p{round(q * 100):02d}": _short(np.quantile(values, q)) for q in QUANTILES},
        # numpy's convention: a bin holds its left edge; the last bin holds both.
        "histogram": {"edges": edges.tolist(), "counts": np.histogram(values, edges)[0].tolist()},
    }


def _short(value) -> float:
    return round(float(value), 8)
