"""scikit-learn's `load_digits`: 1,797 handwritten digits of 8x8 pixels, 0 to 16, split once and for all."""

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HELD_OUT_SHARE = 0.2
SPLIT_SEED = 7  # not the training seed: another training run keeps the same held-out digits


@dataclass(frozen=True)
class Digits:
    pixels: np.ndarray  # float64 [n, 8, 8], 0..16
    labels: np.ndarray  # int64 [n]

    def __len__(self) -> int:
        return len(self.labels)


def load_split() -> tuple[Digits, Digits]:
    """Training and held-out digits."""
    source = load_digits()
    train, held_out = train_test_split(
        np.arange(len(source.target)), test_size=HELD_OUT_SHARE, random_state=SPLIT_SEED, stratify=source.target
    )
    return tuple(Digits(source.images[i], source.target[i].astype(np.int64)) for i in (train, held_out))
