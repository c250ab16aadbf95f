"""An 8x8 digit as a picture that somebody could have taken: larger, tilted, in some ink on some paper, with margins."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dataset import Digits
from preprocess import preprocess_luma

MARGINS = (-0.1, 0.22)  # of the picture's box, on each of the four sides; below 0 crops the empty frame
FRAME = 1  # empty pixels around the 8x8 digit, which often touches its own border


@dataclass(frozen=True)
class Rendered:
    tensors: np.ndarray  # float32 [n, 1, 8, 8]
    labels: np.ndarray


def render_all(rng: np.random.Generator, digits: Digits, copies: int) -> Rendered:
    tensors = [preprocess_luma(render(rng, p).astype(np.float64)) for _ in range(copies) for p in digits.pixels]
    return Rendered(np.stack(tensors), np.tile(digits.labels, copies))


def render(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """A grey picture, uint8 [h, w], of about 25 to 200 pixels a side."""
    box = int(rng.integers(30, 141))
    ink = _pen(rng, _enlarge(rng, np.pad(pixels / 16, FRAME), box))
    ink = ndimage.gaussian_filter(ink, rng.uniform(0, 0.03) * box)
    ink = _with_margins(ink, (rng.uniform(*MARGINS, 4) * box).astype(int))
    dark, bright = rng.uniform(0, 90), rng.uniform(190, 255)
    paper, stroke = (bright, dark) if rng.random() < 0.7 else (dark, bright)
    picture = paper + (stroke - paper) * ink + rng.normal(0, rng.uniform(0, 6), ink.shape)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def _enlarge(rng: np.random.Generator, ink: np.ndarray, box: int) -> np.ndarray:
    """Cubic interpolation to box x box, slightly rotated, sheared and stretched about the middle."""
    angle, shear = rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)
    stretch = np.diag(rng.uniform(0.9, 1.15, 2))
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotate @ np.array([[1, 0], [shear, 1]]) @ stretch * (len(ink) / box)
    middle_in, middle_out = (len(ink) - 1) / 2, (box - 1) / 2
    offset = np.full(2, middle_in) - matrix @ np.full(2, middle_out)
    return np.clip(ndimage.affine_transform(ink, matrix, offset, (box, box), order=3, mode="constant"), 0, 1)


def _pen(rng: np.random.Generator, ink: np.ndarray) -> np.ndarray:
    """Half of the time the soft greys become a stroke with an edge, thinner or thicker with the threshold."""
    if rng.random() < 0.5:
        return ink
    threshold, softness = rng.uniform(0.25, 0.6), rng.uniform(0.02, 0.15)
    edge = 1 / (1 + np.exp(-(np.stack([np.zeros_like(ink), ink]) - threshold) / softness))
    return edge[1] - edge[0]  # paper stays paper


def _with_margins(ink: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """`margins`: top, bottom, left, right, in pixels; a negative one crops."""
    top, bottom, left, right = np.maximum(margins, 0)
    crop_top, crop_bottom, crop_left, crop_right = np.maximum(-margins, 0)
    height, width = ink.shape
    cropped = ink[crop_top : height - crop_bottom, crop_left : width - crop_right]
    return np.pad(cropped, ((top, bottom), (left, right)))
