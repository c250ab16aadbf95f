"""Pictures in every form that a client may send, with the tensor that preprocessing must make of them."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from encoding import data_url_row, image_row, png, save
from pen_strokes import draw_digit
from preprocess import preprocess_row

EXACT = 1e-5
JPEG = 0.02  # decoders may round the inverse cosine transform and the colour conversion differently
EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class ParityCase:
    name: str
    row: dict
    tolerance: float


def parity_rows(seed: int) -> list[dict]:
    return [
        {
            "name": case.name,
            "input": case.row,
            "tensor": [float(v) for v in preprocess_row(case.row).ravel()],
            "tolerance": case.tolerance,
        }
        for case in _cases(np.random.default_rng(seed))
    ]


def _cases(rng: np.random.Generator) -> list[ParityCase]:
    seven, four, two = (draw_digit(rng, d, 60) for d in (7, 4, 2))
    blue = _tinted(four, (20, 40, 160), (250, 245, 220))
    exact = {
        "grey png": png(seven),
        "rgb png": png(blue),
        "rgba png, transparent paper": png(_transparent(two)),
        "rgba png, random alpha": png(_noise(rng, 23, 31, 4)),
        "grey and alpha png": save(Image.fromarray(np.dstack([seven // 2, 255 - seven])), "PNG"),
        "palette png": save(Image.fromarray(blue).quantize(16), "PNG"),
        "palette png with a transparent entry": _transparent_palette(four),
        "1-bit png": save(Image.fromarray(two).point(lambda v: 255 if v > 127 else 0).convert("1"), "PNG"),
        "light on dark": png(255 - seven),
        "wide": png(np.pad(seven, ((0, 0), (17, 60)), constant_values=255)),
        "tall, light on dark, odd padding": png(np.pad(255 - four, ((30, 9), (0, 0)))[:, :-7]),
        "tiny 5x5": png(_noise(rng, 5, 5)),
        "tiny 3x7, rgb": png(_noise(rng, 7, 3, 3)),
        "one pixel": png(np.array([[90]], dtype=np.uint8)),
        "8x8": png(_noise(rng, 8, 8)),
        "9x9": png(_noise(rng, 9, 9)),
        "large 300x200": png(_tinted(_placed(draw_digit(rng, 3, 200), 300), (60, 20, 20), (235, 235, 240))),
    }
    jpeg = {
        "grey jpeg": save(Image.fromarray(seven), "JPEG", quality=90),
        "colour jpeg, chroma subsampled": save(Image.fromarray(blue), "JPEG", quality=85, subsampling=2),
        **{f"jpeg with exif orientation {o}": _turned(four[5:, :], o) for o in (3, 6, 8, 5)},
    }
    return [
        *(ParityCase(name, image_row(encoded), EXACT) for name, encoded in exact.items()),
        ParityCase("data url", data_url_row(png(two), "image/png"), EXACT),
        *(ParityCase(name, image_row(encoded), JPEG) for name, encoded in jpeg.items()),
    ]


def _noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def _tinted(grey: np.ndarray, ink: tuple, paper: tuple) -> np.ndarray:
    share = grey[:, :, None] / 255
    return np.round(np.array(ink) * (1 - share) + np.array(paper) * share).astype(np.uint8)


def _transparent(grey: np.ndarray) -> np.ndarray:
    """Dark ink on nothing: the paper is black with alpha 0, and shows only where alpha is ignored."""
    return np.dstack([np.full((*grey.shape, 3), 10, dtype=np.uint8), 255 - grey])


def _transparent_palette(grey: np.ndarray) -> bytes:
    image = Image.fromarray((grey < 128).astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 30, 60, 30])
    return save(image, "PNG", transparency=0)


def _placed(grey: np.ndarray, width: int) -> np.ndarray:
    return np.pad(grey, ((0, 0), (40, width - grey.shape[1] - 40)), constant_values=255)


def _turned(grey: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return save(Image.fromarray(grey), "JPEG", quality=95, exif=exif)
