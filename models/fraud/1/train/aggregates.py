"""What is known about a customer and a terminal at the moment of a payment, from earlier payments only.

A window is a binary search and a difference of running sums over rows sorted by (entity, time), so that half a
million payments take seconds.
"""

import numpy as np

from transactions import SECONDS_PER_DAY, Transactions

REPORT_DELAY_DAYS = 7  # a fraud is known this long after the payment
LONGEST_LOOK_BACK_DAYS = 30 + REPORT_DELAY_DAYS
NIGHT_ENDS_HOUR = 6


def customer_aggregates(table: Transactions) -> dict[str, np.ndarray]:
    history = _History(table.customer, table.time_s)
    night = (table.hour < NIGHT_ENDS_HOUR).astype(float)
    columns = {f"customer_tx_{d}d": history.count(d) for d in (1, 7, 30)}
    for days in (7, 30):
        columns[f"customer_avg_amount_{days}d"] = np.round(history.mean(table.amount, days), 2)
    columns["customer_night_share_30d"] = np.round(history.mean(night, 30), 4)
    return columns


def terminal_aggregates(table: Transactions) -> dict[str, np.ndarray]:
    history = _History(table.terminal, table.time_s)
    columns = {f"terminal_tx_{d}d": history.count(d) for d in (7, 30)}
    reported = table.reported.astype(float)
    for days in (7, 30):
        rate = history.mean(reported, days, delay_days=REPORT_DELAY_DAYS)
        columns[f"terminal_fraud_rate_{days}d"] = np.round(rate, 4)
    return columns


class _History:
    """Windows over each entity's own past. Rows must be sorted by time."""

    def __init__(self, entity: np.ndarray, time_s: np.ndarray):
        self.order = np.argsort(entity, kind="stable")
        # Entities are laid out on one line, further apart than any window reaches back.
        margin = (LONGEST_LOOK_BACK_DAYS + 1) * SECONDS_PER_DAY
        self.position = entity[self.order] * (int(time_s.max()) + 2 * margin) + time_s[self.order] + margin

    def count(self, days: int) -> np.ndarray:
        first, last = self._bounds(days, 0)
        return self._restore((last - first).astype(float))

    def mean(self, values: np.ndarray, days: int, delay_days: int = 0) -> np.ndarray:
        """0 where the window is empty; the counts tell a client's 0 from that one."""
        first, last = self._bounds(days, delay_days)
        running = np.concatenate([[0.0], np.cumsum(values[self.order])])
        return self._restore((running[last] - running[first]) / np.maximum(last - first, 1))

    def _bounds(self, days: int, delay_days: int):
        end = self.position - delay_days * SECONDS_PER_DAY
        first = np.searchsorted(self.position, end - days * SECONDS_PER_DAY, side="right")
        # Without a delay the window ends just before the row itself.
        last = np.searchsorted(self.position, end, side="right") if delay_days else np.arange(len(end))
        return first, np.maximum(last, first)

    def _restore(self, values: np.ndarray) -> np.ndarray:
        restored = np.empty_like(values)
        restored[self.order] = values
        return restored
