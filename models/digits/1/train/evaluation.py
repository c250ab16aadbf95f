"""Every figure of the card, measured on held-out digits and on drawings of the held-out hand."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from classification import softmax
from dataset import Digits
from encoding import png
from graph import logits_of
from network import DigitNetwork
from pen_strokes import HEIGHT, PEN, draw_digit
from preprocess import preprocess_image, preprocess_pixels
from rendering import Rendered, render_all
from training import RENDERED_PER_EPOCH, draw_all

RENDERED_COPIES = 5
DRAWINGS_PER_DIGIT = 40
GRID_DRAWINGS_PER_DIGIT = 20
GRID_PENS = ((0.03, 0.05), (0.05, 0.075), (0.075, 0.11), (0.11, 0.15))
GRID_HEIGHTS = ((0.45, 0.6), (0.6, 0.7), (0.7, 0.84), (0.84, 0.95))


@dataclass(frozen=True)
class Scores:
    rows: int
    errors: int
    accuracy: float
    log_loss: float
    mean_confidence: float


@dataclass(frozen=True)
class Evaluation:
    scores: dict[str, Scores]  # by set: pixels, rendered, drawings
    logistic_accuracy: dict[str, float]  # the same sets
    errors_by_digit: dict[str, list[int]]
    grid: list[list[float]]  # [pen][height] accuracy
    held_out: np.ndarray  # tensors: pixels and rendered pictures together, for the drift baseline
    max_difference_to_training: float
    max_difference_batch_to_single: float


def evaluate(network: DigitNetwork, session, train: Digits, held_out: Digits, seed: int) -> Evaluation:
    rng = np.random.default_rng(seed)
    pixels = Rendered(_tensors(held_out), held_out.labels)
    sets = {
        "pixels": pixels,
        "rendered": render_all(rng, held_out, RENDERED_COPIES),
        "drawings": _drawings(rng, DRAWINGS_PER_DIGIT, PEN, HEIGHT),
    }
    logits = {name: logits_of(session, s.tensors) for name, s in sets.items()}
    logistic = _fit_logistic(rng, train)
    return Evaluation(
        scores={name: _scores(logits[name], s.labels) for name, s in sets.items()},
        logistic_accuracy={
            name: round(float(logistic.score(s.tensors.reshape(len(s.labels), -1), s.labels)), 5) for name, s in sets.items()
        },
        errors_by_digit={name: _errors_by_digit(logits[name], s.labels) for name, s in sets.items()},
        grid=[[_grid_accuracy(rng, session, pen, height) for height in GRID_HEIGHTS] for pen in GRID_PENS],
        held_out=np.concatenate([sets["pixels"].tensors, sets["rendered"].tensors]),
        max_difference_to_training=max(_to_training(network, s.tensors, logits[name]) for name, s in sets.items()),
        max_difference_batch_to_single=_batch_to_single(session, pixels.tensors),
    )


def _tensors(digits: Digits) -> np.ndarray:
    return np.stack([preprocess_pixels(p) for p in digits.pixels])


def _drawings(rng: np.random.Generator, per_digit: int, pen: tuple, height: tuple) -> Rendered:
    labels = np.tile(np.arange(10), per_digit)
    tensors = [preprocess_image(png(draw_digit(rng, int(d), pen=pen, height=height))) for d in labels]
    return Rendered(np.stack(tensors), labels)


def _fit_logistic(rng: np.random.Generator, train: Digits) -> LogisticRegression:
    """The reference model sees what the network sees: pixels, rendered pictures, and drawings of the training hand."""
    rendered, drawn = render_all(rng, train, RENDERED_PER_EPOCH), draw_all(rng)
    tensors = np.concatenate([_tensors(train), rendered.tensors, drawn.tensors])
    labels = np.concatenate([train.labels, rendered.labels, drawn.labels])
    return LogisticRegression(max_iter=2000).fit(tensors.reshape(len(labels), -1), labels)


def _grid_accuracy(rng, session, pen: tuple, height: tuple) -> float:
    drawings = _drawings(rng, GRID_DRAWINGS_PER_DIGIT, pen, height)
    return _scores(logits_of(session, drawings.tensors), drawings.labels).accuracy


def _scores(logits: np.ndarray, labels: np.ndarray) -> Scores:
    probabilities = softmax(logits)
    wrong = probabilities.argmax(axis=1) != labels
    return Scores(
        rows=len(labels),
        errors=int(wrong.sum()),
        accuracy=round(float(1 - wrong.mean()), 5),
        log_loss=round(float(-np.log(probabilities[np.arange(len(labels)), labels]).mean()), 5),
        mean_confidence=round(float(probabilities.max(axis=1).mean()), 5),
    )


def _errors_by_digit(logits: np.ndarray, labels: np.ndarray) -> list[int]:
    return np.bincount(labels[logits.argmax(axis=1) != labels], minlength=10).tolist()


def _to_training(network: DigitNetwork, tensors: np.ndarray, logits: np.ndarray) -> float:
    with torch.no_grad():
        return float(np.abs(network(torch.from_numpy(tensors)).numpy() - logits).max())


def _batch_to_single(session, tensors: np.ndarray) -> float:
    singles = np.concatenate([logits_of(session, tensors[i : i + 1]) for i in range(len(tensors))])
    return float(np.abs(logits_of(session, tensors) - singles).max())
