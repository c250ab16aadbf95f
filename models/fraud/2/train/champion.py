"""What fraud 1, as it is served, says to the same payments, and how sure the difference is."""

import json

import numpy as np
import onnxruntime as ort

import version_1
from fields import Columns, feeds_of
from metrics import measure

RESAMPLES = 1_000
CONFIDENCE = 0.95
COMPARED = ("pr_auc", "recall_at_precision_80", "brier")


def champion_scores(columns: Columns) -> np.ndarray:
    """From the artifact in the folder of fraud 1, not from a model that is trained again."""
    artifact = json.loads((version_1.MODEL_FOLDER / "model.json").read_text())["artifact"]["file"]
    session = ort.InferenceSession(version_1.MODEL_FOLDER / artifact, providers=["CPUExecutionProvider"])
    return session.run(["probability"], feeds_of(columns))[0].ravel()


def compare(label: np.ndarray, customer: np.ndarray, challenger: np.ndarray, champion: np.ndarray, seed: int) -> dict:
    """
    For each figure the difference, challenger less champion, and the interval that holds it in CONFIDENCE of the resamples.
    Whole customers are drawn, since the frauds of one card are no independent witnesses; both models see the same draw.
    """
    rng = np.random.default_rng(seed)
    rows_of = _rows_by(customer)
    draws: dict[str, list[float]] = {name: [] for name in COMPARED}
    for _ in range(RESAMPLES):
        rows = np.concatenate([rows_of[i] for i in rng.integers(0, len(rows_of), len(rows_of))])
        for name, value in _difference(label[rows], challenger[rows], champion[rows]).items():
            draws[name].append(value)
    tail = (1 - CONFIDENCE) / 2
    return {
        name: {
            "difference": round(value, 5),
            "low": round(float(np.quantile(draws[name], tail)), 5),
            "high": round(float(np.quantile(draws[name], 1 - tail)), 5),
        }
        for name, value in _difference(label, challenger, champion).items()
    }


def _difference(label, challenger, champion) -> dict[str, float]:
    new, old = measure(label, challenger, challenger), measure(label, champion, champion)
    return {name: new[name] - old[name] for name in COMPARED}


def _rows_by(customer: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(customer, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(customer[order])) + 1)
