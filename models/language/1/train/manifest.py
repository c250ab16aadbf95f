"""model.json: what a server needs to know about the model."""

import hashlib

from tokenization import MAX_LENGTH, PAD_ID

TOLERANCE = 1e-4
MAX_CHARACTERS = 10_000


def manifest(
    artifact: bytes, tokenizer: bytes, labels: list[str], bytes_per_token: float, metrics: dict, seed: int, trained_at: str
) -> dict:
    return {
        "schema_version": 1,
        "name": "language",
        "version": "1",
        "description": f"Which of {len(labels)} languages a text is written in, as ISO 639 codes. The mean of token embeddings and a linear "
        "layer, trained on the translations of open-source software.",
        "kind": "text",
        "artifact": {"file": "model.onnx", "sha256": hashlib.sha256(artifact).hexdigest()},
        "inputs": [{"name": name, "dtype": "int64", "shape": [-1, -1]} for name in ("input_ids", "attention_mask")],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": [-1, len(labels)]}],
        "row": {"max_characters": MAX_CHARACTERS, "bytes_per_token": round(bytes_per_token, 2)},
        "example": {"text": "¿Dónde está la estación más cercana?"},
        "preprocess": {
            "type": "tokenize",
            "tokenizer": {"file": "tokenizer.json", "sha256": hashlib.sha256(tokenizer).hexdigest()},
            "max_length": MAX_LENGTH,
            "too_long": "truncate",
            "pad_id": PAD_ID,
        },
        "postprocess": {"type": "classify", "output": "logits", "activation": "softmax", "labels": labels},
        "batching": {"max_batch_size": 64, "max_queue_delay_ms": 0},
        "golden": {"file": "golden.jsonl", "tolerance": TOLERANCE},
        "baseline": "baseline.json",
        "card": "CARD.md",
        "training": {
            "script": "train/train.py",
            "data": "Translated messages of Django, Django REST framework and Wagtail; measured on held-out messages, on those of Sphinx, "
            "and on ChatterBot's conversations.",
            "seed": seed,
            "trained_at": trained_at,
            "metrics": metrics,
        },
    }
