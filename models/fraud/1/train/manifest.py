"""model.json: what a server needs to know about the model."""

import hashlib

from decision import BANDS
from fields import FIELDS, STRING_FIELD

TOLERANCE = 1e-4


def manifest(artifact: bytes, example: dict, metrics: dict, seed: int, trained_at: str) -> dict:
    return {
        "schema_version": 1,
        "name": "fraud",
        "version": "1",
        "description": "Calibrated probability that a card payment will be reported as fraud, from the payment and what is "
        "known about its customer and terminal. Gradient-boosted trees, trained on simulated payments.",
        "kind": "tabular",
        "artifact": {"file": "model.onnx", "sha256": hashlib.sha256(artifact).hexdigest()},
        "inputs": [
            {"name": f["name"], "dtype": "string" if f["name"] == STRING_FIELD else "float32", "shape": [-1, 1]} for f in FIELDS
        ],
        "outputs": [{"name": "probability", "dtype": "float32", "shape": [-1, 1]}],
        "row": {"fields": FIELDS},
        "example": example,
        "preprocess": {"type": "columns"},
        "postprocess": {"type": "score", "output": "probability", "field": "probability"},
        "decision": {"score": "probability", "bands": BANDS},
        "batching": {"max_batch_size": 64, "max_queue_delay_ms": 0},
        "golden": {"file": "golden.jsonl", "tolerance": TOLERANCE},
        "baseline": "baseline.json",
        "card": "CARD.md",
        "training": {
            "script": "train/train.py",
            "data": "Simulated card payments: 2,500 customers and 1,400 terminals over 180 days, five fraud mechanisms, "
            "noisy labels that arrive after 7 days. No real payments.",
            "seed": seed,
            "trained_at": trained_at,
            "metrics": metrics,
        },
    }
