"""Pictures as bytes, and bytes as the text of a row."""

import base64
import io

import numpy as np
from PIL import Image


def png(pixels: np.ndarray) -> bytes:
    return save(Image.fromarray(pixels), "PNG", optimize=True)


def save(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def image_row(encoded: bytes) -> dict:
    return {"image": base64.b64encode(encoded).decode("ascii")}


def data_url_row(encoded: bytes, media_type: str) -> dict:
    return {"image": f"data:{media_type};base64,{base64.b64encode(encoded).decode('ascii')}"}


def pixel_row(pixels: np.ndarray) -> dict:
    return {"pixels": [int(p) for p in pixels.ravel()]}
