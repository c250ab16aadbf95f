"""Distributions of inputs and scores on held-out rows, to compare live traffic with."""

import numpy as np

from fields import STRING_FIELD, Columns

QUANTILES = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
EDGE_QUANTILES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)


def drift_baseline(columns: Columns, probability: np.ndarray, decision: np.ndarray) -> dict:
    return {
        "schema_version": 1,
        "rows": len(probability),
        "inputs": {n: (counts(v) if n == STRING_FIELD else summary(v)) for n, v in columns.items()},
        "scores": {"probability": summary(probability), "decision": counts(decision)},
    }


def summary(values: np.ndarray) -> dict:
    values = values.astype(np.float64)
    edges = _edges(values)
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


def counts(values: np.ndarray) -> dict:
    names, number = np.unique(values.astype(str), return_counts=True)
    return {"type": "string", "counts": {str(n): int(c) for n, c in zip(names, number)}}


def _edges(values: np.ndarray) -> np.ndarray:
    """Bins of about equal content: equal widths would put a skewed field into one bin."""
    edges = np.unique(np.quantile(values, EDGE_QUANTILES, method="lower"))
    return edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1])


def _short(value) -> float:
    return round(float(value), 8)
