"""Train, calibration and test periods, in that order.

Between two periods lies a gap of the report delay: when a period begins, every label before the gap is known. The
first days are left out because their 30-day aggregates are not full yet.
"""

from dataclasses import dataclass

import numpy as np

from aggregates import LONGEST_LOOK_BACK_DAYS, REPORT_DELAY_DAYS
from simulator import DAYS

TRAIN_DAYS = (LONGEST_LOOK_BACK_DAYS, 124)
CALIBRATION_DAYS = (124 + REPORT_DELAY_DAYS, 148)
TEST_DAYS = (148 + REPORT_DELAY_DAYS, DAYS)


@dataclass(frozen=True)
class Split:
    train: np.ndarray
    calibration: np.ndarray
    test: np.ndarray


def split_by_time(day: np.ndarray) -> Split:
    train, calibration, test = (
        np.flatnonzero((day >= first) & (day < end)) for first, end in (TRAIN_DAYS, CALIBRATION_DAYS, TEST_DAYS)
    )
    return Split(train, calibration, test)
