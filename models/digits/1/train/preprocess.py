"""From a picture, or 64 pixel values, to the network's input. Training, evaluation and parity all use this code.

A server implements the same six steps; `parity.jsonl` holds it to them:

1. decode, apply the EXIF orientation, and composite over white: c = (c * a + 255 * (255 - a)) / 255;
2. luma Y = 0.299 R + 0.587 G + 0.114 B;
3. polarity: where the border's mean is above 127.5, Y = 255 - Y, so that ink is bright;
4. pad with 0 to a square of side max(w, h), the content in the middle (the odd pixel goes right and down);
5. area-average to 8x8, source pixels weighted by the area that they cover;
6. divide by 255 and clip to 0..1.

Everything before the tensor is float64 and unrounded.
"""

import base64
import io

import numpy as np
from PIL import Image, ImageOps

SIDE = 8
PIXEL_SCALE = 16
LUMA = np.array([0.299, 0.587, 0.114])


def preprocess_row(row: dict) -> np.ndarray:
    """A row as a client sends it → float32 [1, 8, 8]."""
    if "pixels" in row:
        return preprocess_pixels(np.array(row["pixels"]))
    encoded = row["image"]
    if encoded.startswith("data:"):
        encoded = encoded.split(",", 1)[1]
    return preprocess_image(base64.b64decode(encoded, validate=True))


def preprocess_pixels(pixels: np.ndarray) -> np.ndarray:
    return (pixels.astype(np.float64) / PIXEL_SCALE).astype(np.float32).reshape(1, SIDE, SIDE)


def preprocess_image(encoded: bytes) -> np.ndarray:
    return preprocess_luma(luma_of(decode(encoded)))


def preprocess_luma(luma: np.ndarray) -> np.ndarray:
    square = pad_to_square(ink_bright(luma))
    return np.clip(area_average(square) / 255, 0, 1).astype(np.float32).reshape(1, SIDE, SIDE)


def decode(encoded: bytes) -> np.ndarray:
    """uint8 [h, w, 4]."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert("RGBA"))


def luma_of(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[:, :, 3:].astype(np.float64)
    color = (rgba[:, :, :3] * alpha + 255 * (255 - alpha)) / 255
    return color @ LUMA


def ink_bright(luma: np.ndarray) -> np.ndarray:
    border = np.ones(luma.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    return 255 - luma if luma[border].mean() > 127.5 else luma


def pad_to_square(luma: np.ndarray) -> np.ndarray:
    height, width = luma.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side))
    square[top : top + height, left : left + width] = luma
    return square


def area_average(square: np.ndarray) -> np.ndarray:
    weights = _coverage(len(square))
    return weights @ square @ weights.T


def _coverage(side: int) -> np.ndarray:
    """[SIDE, side]: the share of output cell i that source pixel p covers, along one axis."""
    edges = np.arange(SIDE + 1) * side / SIDE
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * SIDE / side
