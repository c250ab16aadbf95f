"""A seeded simulator of card payments, in the spirit of the Fraud Detection Handbook's:
https://fraud-detection-handbook.github.io/fraud-detection-handbook/Chapter_3_GettingStarted/SimulatedDataset.html
"""

from dataclasses import dataclass

import numpy as np

from fraud_scenarios import compromise_terminals, fraudulent_transactions
from genuine import genuine_transactions
from transactions import Transactions, concatenate, sort_by_time
from world import World, build_world

CUSTOMERS = 2_500
DAYS = 180
UNREPORTED_SHARE = 0.05  # of fraud that the owner never notices
FALSE_REPORT_SHARE = 0.0004  # of genuine payments that the owner disputes


@dataclass(frozen=True)
class Simulation:
    world: World
    transactions: Transactions


def simulate(seed: int) -> Simulation:
    rng = np.random.default_rng(seed)
    world = build_world(rng, CUSTOMERS)
    table = sort_by_time(concatenate([genuine_transactions(rng, world, DAYS), fraudulent_transactions(rng, world, DAYS)]))
    compromise_terminals(rng, world, table, DAYS)
    _report(rng, table)
    return Simulation(world, table)


def _report(rng: np.random.Generator, table: Transactions) -> None:
    draw = rng.random(len(table))
    table.reported[:] = np.where(table.fraud, draw >= UNREPORTED_SHARE, draw < FALSE_REPORT_SHARE)
