"""Golden rows: inputs as a client would send them, with the output that a server must give."""

import numpy as np

from classification import served_output
from dataset import Digits
from encoding import data_url_row, image_row, pixel_row, png
from graph import logits_of
from pen_strokes import draw_digit
from preprocess import preprocess_row
from rendering import render

PIXEL_ROWS_PER_DIGIT = 2
DRAWING_SIDE = 64
RENDERED_ROWS = 4


def golden_rows(session, held_out: Digits, seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    rows = []
    for digit in range(10):
        chosen = np.flatnonzero(held_out.labels == digit)[:PIXEL_ROWS_PER_DIGIT]
        rows += [pixel_row(held_out.pixels[i]) for i in chosen]
    rows += [image_row(png(draw_digit(rng, digit, DRAWING_SIDE))) for digit in range(10)]
    rows += [image_row(png(render(rng, held_out.pixels[i]))) for i in range(RENDERED_ROWS)]
    rows.append(image_row(png(255 - draw_digit(rng, 2, DRAWING_SIDE))))  # light on dark
    rows.append(data_url_row(png(draw_digit(rng, 5, DRAWING_SIDE)), "image/png"))
    tensors = np.stack([preprocess_row(r) for r in rows])
    return [{"input": r, "output": served_output(logits)} for r, logits in zip(rows, logits_of(session, tensors))]
