"""Fitting the network: digits as they are, digits slightly moved, digits rendered as pictures, and drawings."""

import numpy as np
import torch
from torch import nn

from dataset import Digits
from network import DigitNetwork
from hands import TRAINING_HAND
from pen_strokes import draw_digit
from preprocess import preprocess_luma, preprocess_pixels
from rendering import Rendered, render_all

EPOCHS = 30
BATCH = 128
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-3
RAW_COPIES = 3
RENDERED_COPIES = 12  # made once; an epoch sees a third of them
RENDERED_PER_EPOCH = 4
DRAWINGS_PER_DIGIT = 300  # made once; an epoch sees all
DRAWING_SIDE = 100
DRAWING_PEN = (0.03, 0.15)
DRAWING_HEIGHT = (0.45, 0.95)
MAX_SHIFT = 1


def fit(digits: Digits, seed: int) -> DigitNetwork:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # sums in one order, whatever the machine
    raw = np.stack([preprocess_pixels(p) for p in digits.pixels])
    rendered = render_all(rng, digits, RENDERED_COPIES)
    drawn = draw_all(rng)

    network = DigitNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    images_per_epoch = len(digits) * (RAW_COPIES + RENDERED_PER_EPOCH) + len(drawn.labels)
    steps = EPOCHS * -(-images_per_epoch // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.02)
    for _ in range(EPOCHS):
        images, labels = _epoch(rng, raw, digits.labels, rendered, drawn)
        for first in range(0, len(labels), BATCH):
            optimizer.zero_grad()
            loss = loss_of(network(images[first : first + BATCH]), labels[first : first + BATCH])
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def draw_all(rng: np.random.Generator) -> Rendered:
    labels = np.tile(np.arange(10), DRAWINGS_PER_DIGIT)
    drawings = (draw_digit(rng, int(d), DRAWING_SIDE, DRAWING_PEN, DRAWING_HEIGHT, TRAINING_HAND) for d in labels)
    return Rendered(np.stack([preprocess_luma(d.astype(np.float64)) for d in drawings]), labels)


def _epoch(
    rng: np.random.Generator, raw: np.ndarray, labels: np.ndarray, rendered: Rendered, drawn: Rendered
) -> tuple[torch.Tensor, torch.Tensor]:
    pictures = rng.choice(len(rendered.labels), len(labels) * RENDERED_PER_EPOCH, replace=False)
    moved = [_shift(rng, raw) for _ in range(RAW_COPIES - 1)]
    images = np.concatenate([raw, *moved, rendered.tensors[pictures], drawn.tensors])
    targets = np.concatenate([np.tile(labels, RAW_COPIES), rendered.labels[pictures], drawn.labels])
    order = rng.permutation(len(targets))
    return torch.from_numpy(images[order]), torch.from_numpy(targets[order])


def _shift(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Every digit moved by up to a pixel, and its ink a little stronger or weaker."""
    padded = np.pad(images, ((0, 0), (0, 0), (MAX_SHIFT, MAX_SHIFT), (MAX_SHIFT, MAX_SHIFT)))
    corners = rng.integers(0, 2 * MAX_SHIFT + 1, (len(images), 2))
    side = images.shape[-1]
    moved = np.stack([p[:, y : y + side, x : x + side] for p, (y, x) in zip(padded, corners)])
    strength = rng.uniform(0.6, 1.2, (len(images), 1, 1, 1)).astype(np.float32)
    return np.clip(moved * strength, 0, 1)
