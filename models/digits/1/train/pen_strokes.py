"""Digits drawn from scratch with a round pen: curves through a few wobbling points, smoothed by supersampling.

The digits of `load_digits` are written in few ways (most 7s have a bar). Training adds drawings of one hand;
measuring, and `samples/`, use another.
"""

import numpy as np
from PIL import Image, ImageDraw

from hands import HELD_OUT_HAND, Hand

PEN = (0.075, 0.11)  # width of the stroke, of the picture's side
HEIGHT = (0.7, 0.84)  # of the digit, of the picture's side
INK, PAPER = 25, 255
SUPERSAMPLE = 4
POINTS_PER_SEGMENT = 24

def draw_digit(
    rng: np.random.Generator, digit: int, side: int = 200, pen: tuple = PEN, height: tuple = HEIGHT, hand: Hand = HELD_OUT_HAND
) -> np.ndarray:
    """A grey picture, uint8 [side, side]. The way of writing, size, place, slant and pen vary with `rng`."""
    strokes = hand[digit][rng.integers(len(hand[digit]))]
    pen = rng.uniform(*pen) * side
    height = rng.uniform(*height) * side
    size = np.array([height * rng.uniform(0.72, 0.92), height])
    corner = (side - size) / 2 + rng.uniform(-0.03, 0.03, 2) * side
    slant = rng.uniform(-0.1, 0.18)
    canvas = Image.new("L", (side * SUPERSAMPLE, side * SUPERSAMPLE), 0)
    brush = ImageDraw.Draw(canvas)
    for stroke in strokes:
        points = _curve(np.array(stroke) + _wobble(rng, len(stroke)))
        points[:, 0] += slant * (0.5 - points[:, 1])
        _stroke(brush, (corner + points * size) * SUPERSAMPLE, pen * SUPERSAMPLE)
    coverage = np.asarray(canvas.resize((side, side), Image.Resampling.BOX), dtype=np.float64) / 255
    return np.round(PAPER + (INK - PAPER) * coverage).astype(np.uint8)


def _wobble(rng: np.random.Generator, count: int) -> np.ndarray:
    wobble = rng.normal(0, 0.018, (count, 2))
    wobble[[0, -1]] /= 2  # strokes of a digit still meet
    return wobble


def _curve(points: np.ndarray) -> np.ndarray:
    """A Catmull-Rom spline through the points."""
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, POINTS_PER_SEGMENT)[:, None]
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:]):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.vstack(pieces)


def _stroke(brush: ImageDraw.ImageDraw, points: np.ndarray, width: float) -> None:
    brush.line([tuple(p) for p in points], fill=255, width=round(width))
    for x, y in points:
        brush.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=255)
