"""From logits to what a server answers."""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    exponent = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponent / exponent.sum(axis=1, keepdims=True)


def served_output(logits: np.ndarray, labels: list[str]) -> dict:
    """`logits`: [labels]."""
    probabilities = softmax(logits.reshape(1, -1))[0]
    best = int(probabilities.argmax())
    return {
        "label": labels[best],
        "probability": float(probabilities[best]),
        "probabilities": {label: float(p) for label, p in zip(labels, probabilities)},
    }
