"""The five ways in which simulated fraud happens. None of them is a column: a model sees only their traces.

compromised_terminal  a shop's terminal is in a thief's hands for weeks: most payments there are fraudulent, and
                      look like any other payment at that shop. The trace is the terminal's delayed fraud rate.
stolen_card           for a few days a thief shops beside the owner: larger amounts, far from home.
night_burst           leaked card numbers: several online payments within hours of one night, in risky categories.
card_testing          a few payments of a euro or two to see whether the card works, then one large payment.
mimicry               a payment like the customer's own. Nothing gives it away: this part stays undetected.
"""

import numpy as np

from genuine import pick_category, purchase_amount, second_of_day
from transactions import SECONDS_PER_DAY, SECONDS_PER_HOUR, Transactions, concatenate, make_transactions
from world import CATEGORY_NAMES, TERMINALS_IN_REACH, World

COMPROMISES_PER_DAY = 0.24
COMPROMISED_FRAUD_SHARE = 0.9
THEFTS_PER_DAY = 1.1
BURSTS_PER_DAY = 1.0
TESTS_PER_DAY = 0.7
MIMICRIES_PER_DAY = 0.9

STOLEN_CARD_CATEGORIES = [CATEGORY_NAMES.index(n) for n in ("electronics", "jewellery", "fashion", "gift_cards", "fuel")]
BURST_CATEGORIES = [CATEGORY_NAMES.index(n) for n in ("gift_cards", "gambling", "online_retail")]
CASH_OUT_CATEGORIES = [CATEGORY_NAMES.index(n) for n in ("electronics", "travel", "gift_cards")]


def fraudulent_transactions(rng: np.random.Generator, world: World, days: int) -> Transactions:
    """The payments that thieves add. A compromised terminal adds none: see `compromise_terminals`."""
    return concatenate([scenario(rng, world, days) for scenario in (_stolen_card, _night_burst, _card_testing, _mimicry)])


def compromise_terminals(rng: np.random.Generator, world: World, table: Transactions, days: int) -> None:
    """Turn most payments at compromised terminals into fraud, in place."""
    for _ in range(rng.poisson(COMPROMISES_PER_DAY * days)):
        terminal = rng.integers(0, world.terminals)
        start = rng.integers(0, days) * SECONDS_PER_DAY
        end = start + rng.integers(14, 36) * SECONDS_PER_DAY
        hit = (table.terminal == terminal) & (table.time_s >= start) & (table.time_s < end) & ~table.fraud
        hit &= rng.random(len(table)) < COMPROMISED_FRAUD_SHARE
        table.fraud[hit] = True
        table.scenario[hit] = "compromised_terminal"


def _stolen_card(rng, world: World, days: int) -> Transactions:
    thefts = rng.poisson(THEFTS_PER_DAY * days)
    size = rng.integers(4, 14, thefts)
    customer = np.repeat(rng.integers(0, world.customers, thefts), size)
    thief = np.repeat(rng.integers(0, world.customers, thefts), size)  # shops around the thief's own home
    start = np.repeat(rng.integers(0, days, thefts), size)
    day = np.minimum(start + rng.integers(0, 4, len(customer)), days - 1)
    category = rng.choice(STOLEN_CARD_CATEGORIES, len(customer), p=[0.35, 0.1, 0.25, 0.15, 0.15])
    terminal = world.reach[thief, category, rng.integers(0, TERMINALS_IN_REACH, len(customer))]
    time_s = day * SECONDS_PER_DAY + (rng.uniform(8, 23, len(customer)) * SECONDS_PER_HOUR).astype(np.int64)
    amount = purchase_amount(rng, world, customer, category) * rng.uniform(1.5, 6, len(customer))
    return make_transactions(time_s, customer, terminal, amount, "stolen_card")


def _night_burst(rng, world: World, days: int) -> Transactions:
    bursts = rng.poisson(BURSTS_PER_DAY * days)
    size = rng.integers(4, 13, bursts)
    customer = np.repeat(rng.integers(0, world.customers, bursts), size)
    start = rng.integers(0, days, bursts) * SECONDS_PER_DAY + (rng.uniform(0, 4, bursts) * SECONDS_PER_HOUR).astype(np.int64)
    time_s = np.repeat(start, size) + rng.integers(0, 2 * SECONDS_PER_HOUR, len(customer))
    category = rng.choice(BURST_CATEGORIES, len(customer), p=[0.45, 0.3, 0.25])
    terminal = _anywhere(rng, world, category)
    amount = purchase_amount(rng, world, customer, category) * rng.uniform(1, 4, len(customer))
    return make_transactions(time_s, customer, terminal, amount, "night_burst")


def _card_testing(rng, world: World, days: int) -> Transactions:
    tests = rng.poisson(TESTS_PER_DAY * days)
    size = rng.integers(2, 5, tests)
    owner = rng.integers(0, world.customers, tests)
    start = (rng.uniform(0, days - 1, tests) * SECONDS_PER_DAY).astype(np.int64)
    customer = np.repeat(owner, size)
    time_s = np.repeat(start, size) + rng.integers(0, 1_800, len(customer))
    shop = np.full(len(customer), CATEGORY_NAMES.index("online_retail"))
    probe = make_transactions(time_s, customer, _anywhere(rng, world, shop), rng.uniform(0.5, 3, len(customer)), "card_testing")
    category = rng.choice(CASH_OUT_CATEGORIES, tests)
    amount = purchase_amount(rng, world, owner, category) * rng.uniform(2, 5, tests)
    paid_at = start + rng.integers(1_800, 4 * SECONDS_PER_HOUR, tests)
    cash_out = make_transactions(paid_at, owner, _anywhere(rng, world, category), amount, "card_testing")
    return concatenate([probe, cash_out])


def _mimicry(rng, world: World, days: int) -> Transactions:
    count = rng.poisson(MIMICRIES_PER_DAY * days)
    customer = rng.integers(0, world.customers, count)
    category = pick_category(rng, world, customer)
    terminal = world.reach[customer, category, rng.integers(0, TERMINALS_IN_REACH, count)]
    time_s = rng.integers(0, days, count) * SECONDS_PER_DAY + second_of_day(rng, world, customer, category)
    return make_transactions(time_s, customer, terminal, purchase_amount(rng, world, customer, category), "mimicry")


def _anywhere(rng, world: World, category: np.ndarray) -> np.ndarray:
    return np.array([rng.choice(world.by_category[k]) for k in category], dtype=np.int64)
