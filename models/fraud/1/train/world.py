"""Customers and terminals on a 100 km plane, and which terminals a customer can reach."""

from dataclasses import dataclass

import numpy as np

PLANE_KM = 100.0
TERMINALS_IN_REACH = 6


@dataclass(frozen=True)
class Category:
    name: str
    share: float  # of an average customer's purchases
    amount_factor: float  # of the customer's typical amount
    night_factor: float  # of the customer's night share
    online: bool
    terminals: int


CATEGORIES = (
    Category("grocery", 0.27, 0.8, 0.3, False, 260),
    Category("fuel", 0.11, 1.1, 0.8, False, 120),
    Category("restaurant", 0.15, 0.7, 1.2, False, 240),
    Category("pharmacy", 0.07, 0.5, 0.4, False, 110),
    Category("fashion", 0.07, 1.5, 0.2, False, 120),
    Category("entertainment", 0.06, 0.6, 2.0, False, 90),
    Category("travel", 0.04, 4.0, 0.8, True, 50),
    Category("electronics", 0.04, 3.5, 0.5, False, 80),
    Category("online_retail", 0.13, 1.1, 1.2, True, 160),
    Category("gift_cards", 0.02, 0.9, 1.2, True, 60),
    Category("gambling", 0.03, 0.8, 3.0, True, 60),
    Category("jewellery", 0.01, 5.0, 0.1, False, 50),
)
CATEGORY_NAMES = tuple(c.name for c in CATEGORIES)


@dataclass(frozen=True)
class World:
    customer_xy: np.ndarray
    customer_amount: np.ndarray  # typical amount of a purchase, EUR
    customer_rate: np.ndarray  # purchases a day
    customer_night_share: np.ndarray
    customer_category: np.ndarray  # [customer, category], rows sum to 1
    terminal_xy: np.ndarray
    terminal_category: np.ndarray
    reach: np.ndarray  # [customer, category, TERMINALS_IN_REACH] → terminal
    by_category: tuple[np.ndarray, ...]  # category → its terminals

    @property
    def customers(self) -> int:
        return len(self.customer_amount)

    @property
    def terminals(self) -> int:
        return len(self.terminal_category)

    def distance_km(self, customer: np.ndarray, terminal: np.ndarray) -> np.ndarray:
        offset = self.customer_xy[customer] - self.terminal_xy[terminal]
        return np.round(np.hypot(offset[:, 0], offset[:, 1]), 1)


def build_world(rng: np.random.Generator, customers: int) -> World:
    customer_xy = rng.uniform(0, PLANE_KM, (customers, 2))
    terminal_category = np.repeat(np.arange(len(CATEGORIES)), [c.terminals for c in CATEGORIES])
    terminal_xy = rng.uniform(0, PLANE_KM, (len(terminal_category), 2))
    by_category = tuple(np.flatnonzero(terminal_category == k) for k in range(len(CATEGORIES)))
    shares = np.array([c.share for c in CATEGORIES])
    return World(
        customer_xy=customer_xy,
        customer_amount=np.clip(rng.lognormal(np.log(32), 0.5, customers), 6, 250),
        customer_rate=rng.uniform(0.2, 2.2, customers),
        customer_night_share=rng.beta(1.2, 14, customers),
        customer_category=rng.dirichlet(shares * 25, customers),
        terminal_xy=terminal_xy,
        terminal_category=terminal_category,
        reach=_reach(rng, customer_xy, terminal_xy, by_category),
        by_category=by_category,
    )


def _reach(rng, customer_xy, terminal_xy, by_category) -> np.ndarray:
    """The nearest shops of a category; online, a few shops anywhere that the customer keeps going back to."""
    reach = np.empty((len(customer_xy), len(CATEGORIES), TERMINALS_IN_REACH), dtype=np.int64)
    for k, category in enumerate(CATEGORIES):
        candidates = by_category[k]
        if category.online:
            reach[:, k] = candidates[rng.integers(0, len(candidates), (len(customer_xy), TERMINALS_IN_REACH))]
            continue
        offset = customer_xy[:, None, :] - terminal_xy[candidates][None, :, :]
        nearest = np.argsort((offset**2).sum(axis=2), axis=1, kind="stable")
        reach[:, k] = candidates[nearest[:, :TERMINALS_IN_REACH]]
    return reach
