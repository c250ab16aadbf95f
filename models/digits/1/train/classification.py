"""From logits to what a server answers."""

import numpy as np

LABELS = [str(d) for d in range(10)]


def softmax(logits: np.ndarray) -> np.ndarray:
    exponent = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponent / exponent.sum(axis=1, keepdims=True)


def served_output(logits: np.ndarray) -> dict:
    """`logits`: [10]."""
    probabilities = softmax(logits.reshape(1, -1))[0]
    best = int(probabilities.argmax())
    return {
        "label": LABELS[best],
        "probability": float(probabilities[best]),
        "probabilities": {label: float(p) for label, p in zip(LABELS, probabilities)},
    }
