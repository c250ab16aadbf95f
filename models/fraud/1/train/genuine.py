"""What customers buy when nothing is wrong, including the habits that look like fraud: trips, sprees, nights out."""

import numpy as np

from transactions import SECONDS_PER_DAY, SECONDS_PER_HOUR, Transactions, concatenate, make_transactions
from world import CATEGORIES, CATEGORY_NAMES, TERMINALS_IN_REACH, World

NIGHT_FACTOR = np.array([c.night_factor for c in CATEGORIES])
AMOUNT_FACTOR = np.array([c.amount_factor for c in CATEGORIES])
SPREE_CATEGORIES = [CATEGORY_NAMES.index(n) for n in ("fashion", "electronics", "jewellery", "gift_cards")]
TRIPS_PER_CUSTOMER_DAY = 1 / 90
SPREES_PER_CUSTOMER_DAY = 1 / 120
NIGHTS_PER_CUSTOMER_DAY = 1 / 150
NIGHT_CATEGORIES = [CATEGORY_NAMES.index(n) for n in ("gambling", "entertainment", "online_retail")]


def genuine_transactions(rng: np.random.Generator, world: World, days: int) -> Transactions:
    return concatenate(
        [_daily(rng, world, days), _trips(rng, world, days), _sprees(rng, world, days), _nights(rng, world, days)]
    )


def pick_category(rng: np.random.Generator, world: World, customer: np.ndarray) -> np.ndarray:
    cumulative = np.cumsum(world.customer_category[customer], axis=1)
    picked = (rng.random((len(customer), 1)) > cumulative).sum(axis=1)
    return np.minimum(picked, len(CATEGORIES) - 1)


def purchase_amount(rng, world: World, customer: np.ndarray, category: np.ndarray) -> np.ndarray:
    return world.customer_amount[customer] * AMOUNT_FACTOR[category] * rng.lognormal(-0.12, 0.55, len(customer))


def second_of_day(rng, world: World, customer: np.ndarray, category: np.ndarray) -> np.ndarray:
    night_share = np.clip(world.customer_night_share[customer] * NIGHT_FACTOR[category], 0, 0.9)
    at_night = rng.random(len(customer)) < night_share
    night = rng.uniform(22, 30, len(customer)) % 24
    day = np.clip(rng.normal(14.5, 3.6, len(customer)), 6, 21.99)
    return (np.where(at_night, night, day) * SECONDS_PER_HOUR).astype(np.int64)


def _daily(rng, world: World, days: int) -> Transactions:
    counts = rng.poisson(world.customer_rate[:, None], (world.customers, days))
    customer, day = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
    category = pick_category(rng, world, customer)
    terminal = world.reach[customer, category, rng.integers(0, TERMINALS_IN_REACH, len(customer))]
    time_s = day * SECONDS_PER_DAY + second_of_day(rng, world, customer, category)
    return make_transactions(time_s, customer, terminal, purchase_amount(rng, world, customer, category), "genuine")


def _trips(rng, world: World, days: int) -> Transactions:
    """Two to six days in another customer's neighbourhood, spending a little more."""
    customer, day = _episodes(rng, world, days, TRIPS_PER_CUSTOMER_DAY, 5, 15)
    host = rng.integers(0, world.customers, world.customers)[customer]
    day = np.minimum(day + rng.integers(0, 5, len(day)), days - 1)
    category = pick_category(rng, world, customer)
    terminal = world.reach[host, category, rng.integers(0, TERMINALS_IN_REACH, len(customer))]
    time_s = day * SECONDS_PER_DAY + second_of_day(rng, world, customer, category)
    amount = purchase_amount(rng, world, customer, category) * 1.3
    return make_transactions(time_s, customer, terminal, amount, "genuine")


def _sprees(rng, world: World, days: int) -> Transactions:
    """One afternoon of unusually large purchases: gifts, a new kitchen."""
    customer, day = _episodes(rng, world, days, SPREES_PER_CUSTOMER_DAY, 1, 4)
    category = rng.choice(SPREE_CATEGORIES, len(customer), p=[0.45, 0.35, 0.1, 0.1])
    terminal = world.reach[customer, category, rng.integers(0, TERMINALS_IN_REACH, len(customer))]
    time_s = day * SECONDS_PER_DAY + (rng.uniform(11, 20, len(customer)) * SECONDS_PER_HOUR).astype(np.int64)
    amount = purchase_amount(rng, world, customer, category) * rng.uniform(1.2, 2.2, len(customer))
    return make_transactions(time_s, customer, terminal, amount, "genuine")


def _nights(rng, world: World, days: int) -> Transactions:
    """A night of several small purchases in the categories that thieves like too."""
    customer, day = _episodes(rng, world, days, NIGHTS_PER_CUSTOMER_DAY, 2, 6)
    category = rng.choice(NIGHT_CATEGORIES, len(customer))
    terminal = world.reach[customer, category, rng.integers(0, TERMINALS_IN_REACH, len(customer))]
    time_s = day * SECONDS_PER_DAY + (rng.uniform(0, 4, len(customer)) * SECONDS_PER_HOUR).astype(np.int64)
    return make_transactions(time_s, customer, terminal, purchase_amount(rng, world, customer, category), "genuine")


def _episodes(rng, world: World, days: int, rate: float, least: int, most: int):
    """Customer and day of every purchase in randomly placed episodes of `least` to `most` purchases."""
    count = rng.poisson(rate * world.customers * days)
    size = rng.integers(least, most + 1, count)
    customer = rng.integers(0, world.customers, count)
    day = rng.integers(0, days, count)
    return np.repeat(customer, size), np.repeat(day, size)
