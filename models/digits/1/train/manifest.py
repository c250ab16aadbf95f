"""model.json: what a server needs to know about the model."""

import hashlib

from classification import LABELS
from preprocess import PIXEL_SCALE, SIDE

TOLERANCE = 1e-4


def manifest(artifact: bytes, example: dict, metrics: dict, seed: int, trained_at: str) -> dict:
    return {
        "schema_version": 1,
        "name": "digits",
        "version": "1",
        "description": "Which handwritten digit a picture shows. A small convolutional network on 8x8 grey pixels, trained on "
        "scikit-learn's digits and on pictures rendered from them.",
        "kind": "image",
        "artifact": {"file": "model.onnx", "sha256": hashlib.sha256(artifact).hexdigest()},
        "inputs": [{"name": "image", "dtype": "float32", "shape": [-1, 1, SIDE, SIDE]}],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": [-1, len(LABELS)]}],
        "row": {
            "pixels": {"length": SIDE * SIDE, "minimum": 0, "maximum": PIXEL_SCALE},
            "image": {"formats": ["png", "jpeg"], "max_bytes": 8_388_608, "max_pixels": 16_777_216},
        },
        "example": example,
        "preprocess": {
            "type": "image",
            "width": SIDE,
            "height": SIDE,
            "color": "grayscale",
            "polarity": "auto",
            "fit": "contain",
            "resample": "area",
            "pixel_scale": PIXEL_SCALE,
        },
        "postprocess": {"type": "classify", "output": "logits", "activation": "softmax", "labels": LABELS},
        "batching": {"max_batch_size": 64, "max_queue_delay_ms": 0},
        "golden": {"file": "golden.jsonl", "tolerance": TOLERANCE},
        "baseline": "baseline.json",
        "card": "CARD.md",
        "training": {
            "script": "train/train.py",
            "data": "scikit-learn load_digits (UCI Optical Recognition of Handwritten Digits, 1,797 digits of 8x8), 80% of it, "
            "as pixels and rendered as pictures.",
            "seed": seed,
            "trained_at": trained_at,
            "metrics": metrics,
        },
    }
