"""The figures of fraud 1's card, and the comparison with fraud 1: on the test period, and in worlds that neither has seen."""

from dataclasses import dataclass

import numpy as np

import version_1
from champion import champion_scores, compare
from decision import DECISIONS, decide_all
from fields import columns_of, feeds_of, select
from metrics import measure
from simulator import simulate
from split import split_by_time

first = version_1.module("evaluation")

# Other customers, terminals and frauds by the same mechanisms; no model and no parameter was chosen by them.
UNSEEN_SEEDS = (8, 9, 10, 11)


@dataclass(frozen=True)
class Evaluation(first.Evaluation):
    champion: dict[str, float]
    champion_bands: list[dict]
    comparison: dict[str, dict[str, float]]
    unseen: list[dict]


def evaluate(simulation, columns, features, split, model, session) -> Evaluation:
    base = first.evaluate(simulation, columns, features, split, model, session)
    table, test = simulation.transactions.select(split.test), select(columns, split.test)
    served, champion = _served(session, test), champion_scores(test)
    return Evaluation(
        **vars(base),
        champion=measure(table.reported, champion, champion),
        champion_bands=_bands(table.reported, champion),
        comparison=compare(table.reported, table.customer, served, champion, seed=0),
        unseen=[_in_world(seed, session) for seed in UNSEEN_SEEDS],
    )


def _in_world(seed: int, session) -> dict:
    simulation = simulate(seed)
    test = split_by_time(simulation.transactions.day).test
    columns, label = select(columns_of(simulation), test), simulation.transactions.reported[test]
    served, champion = _served(session, columns), champion_scores(columns)
    return {
        "seed": seed,
        "rows": len(label),
        "fraud": int(label.sum()),
        "challenger": measure(label, served, served),
        "champion": measure(label, champion, champion),
    }


def _served(session, columns) -> np.ndarray:
    return session.run(["probability"], feeds_of(columns))[0].ravel()


def _bands(label, probability) -> list[dict]:
    decision = decide_all(probability)
    return [
        {"decision": d, "rows": int((decision == d).sum()), "fraud": int(label[decision == d].sum())} for d in DECISIONS
    ]
