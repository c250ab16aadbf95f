"""Figures for a rare positive class, measured on held-out rows."""

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve, roc_auc_score

FIXED_PRECISIONS = (0.5, 0.8, 0.9)
RELIABILITY_EDGES = (0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.82, 1.0)


def measure(label: np.ndarray, score: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """`score` orders the rows and may have any scale; the Brier score needs a probability."""
    figures = {
        "pr_auc": average_precision_score(label, score),
        "roc_auc": roc_auc_score(label, score),
        "brier": brier_score_loss(label, probability),
    }
    for precision in FIXED_PRECISIONS:
        figures[f"recall_at_precision_{round(precision * 100)}"] = recall_at_precision(label, score, precision)
    return {name: round(float(value), 5) for name, value in figures.items()}


def recall_at_precision(label: np.ndarray, score: np.ndarray, at_least: float) -> float:
    """The largest recall of any threshold whose precision is `at_least`; 0 if there is none."""
    precision, recall, _ = precision_recall_curve(label, score)
    return float(recall[:-1][precision[:-1] >= at_least].max(initial=0.0))


def reliability_table(label: np.ndarray, probability: np.ndarray) -> list[dict]:
    bins = np.clip(np.searchsorted(RELIABILITY_EDGES, probability, side="left") - 1, 0, len(RELIABILITY_EDGES) - 2)
    rows = []
    for k in range(len(RELIABILITY_EDGES) - 1):
        inside = bins == k
        if inside.any():
            rows.append(
                {
                    "above": RELIABILITY_EDGES[k],
                    "to": RELIABILITY_EDGES[k + 1],
                    "rows": int(inside.sum()),
                    "predicted": float(probability[inside].mean()),
                    "observed": float(label[inside].mean()),
                }
            )
    return rows


def expected_calibration_error(label: np.ndarray, probability: np.ndarray) -> float:
    table = reliability_table(label, probability)
    return round(sum(r["rows"] * abs(r["predicted"] - r["observed"]) for r in table) / len(label), 5)
