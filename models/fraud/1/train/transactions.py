"""A table of card transactions, one numpy array a column."""

from dataclasses import dataclass, fields

import numpy as np

SECONDS_PER_HOUR = 3_600
SECONDS_PER_DAY = 86_400


@dataclass
class Transactions:
    """`time_s` counts from the simulation's first midnight. `fraud` is the truth; `reported` is what the issuer
    ever learns of it, and the only label that aggregates and models may see."""

    time_s: np.ndarray
    customer: np.ndarray
    terminal: np.ndarray
    amount: np.ndarray
    fraud: np.ndarray
    scenario: np.ndarray
    reported: np.ndarray

    def __len__(self) -> int:
        return len(self.time_s)

    def select(self, index: np.ndarray) -> "Transactions":
        return Transactions(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @property
    def hour(self) -> np.ndarray:
        return (self.time_s % SECONDS_PER_DAY) // SECONDS_PER_HOUR

    @property
    def day(self) -> np.ndarray:
        return self.time_s // SECONDS_PER_DAY


def make_transactions(time_s, customer, terminal, amount, scenario: str) -> Transactions:
    """Transactions that are all genuine (scenario "genuine") or all fraudulent."""
    count = len(time_s)
    return Transactions(
        time_s=np.asarray(time_s, dtype=np.int64),
        customer=np.asarray(customer, dtype=np.int64),
        terminal=np.asarray(terminal, dtype=np.int64),
        # Whole cents, so that a row written as JSON is the row that the model was trained on.
        amount=np.round(np.maximum(amount, 0.5), 2),
        fraud=np.full(count, scenario != "genuine"),
        scenario=np.full(count, scenario, dtype="U24"),
        reported=np.zeros(count, dtype=bool),
    )


def concatenate(tables: list[Transactions]) -> Transactions:
    return Transactions(
        **{f.name: np.concatenate([getattr(t, f.name) for t in tables]) for f in fields(Transactions)}
    )


def sort_by_time(table: Transactions) -> Transactions:
    return table.select(np.argsort(table.time_s, kind="stable"))
