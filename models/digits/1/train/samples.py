"""A few drawings, as a person might make them, that the model reads rightly and with confidence."""

import numpy as np

from classification import served_output
from encoding import png
from graph import logits_of
from pen_strokes import draw_digit
from preprocess import preprocess_image

SAMPLES = {"seven": 7, "three": 3, "two": 2, "eight": 8}
DRAWINGS = 20
LEAST_PROBABILITY = 0.95


def sample_images(session, seed: int) -> dict[str, bytes]:
    """Name → PNG of 200x200, the most confidently read of `DRAWINGS` drawings."""
    rng = np.random.default_rng(seed)
    return {name: _clearest_drawing(session, rng, digit) for name, digit in SAMPLES.items()}


def _clearest_drawing(session, rng: np.random.Generator, digit: int) -> bytes:
    drawings = [png(draw_digit(rng, digit)) for _ in range(DRAWINGS)]
    logits = logits_of(session, np.stack([preprocess_image(d) for d in drawings]))
    probabilities = [served_output(row)["probabilities"][str(digit)] for row in logits]
    if max(probabilities) < LEAST_PROBABILITY:
        raise SystemExit(f"No confident drawing of {digit} among {DRAWINGS}.")
    return drawings[int(np.argmax(probabilities))]
