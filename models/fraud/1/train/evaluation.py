"""Every figure of the card, measured on the test period."""

from dataclasses import dataclass

import numpy as np

from booster import CalibratedBooster
from decision import DECISIONS, decide_all
from fields import Columns, feeds_of, select
from metrics import expected_calibration_error, measure, reliability_table
from reference_models import fit_logistic, fit_rule_calibration, rule_points
from simulator import Simulation
from split import Split

SINGLE_RUNS = 2_000


@dataclass(frozen=True)
class Evaluation:
    models: dict[str, dict[str, float]]
    calibration_error: float
    reliability: list[dict]
    bands: list[dict]
    scenarios: list[dict]
    rows: dict[str, int]
    base_rate: float
    max_difference_to_training: float
    max_difference_batch_to_single: float


def evaluate(simulation: Simulation, columns: Columns, features, split: Split, model: CalibratedBooster, session) -> Evaluation:
    table = simulation.transactions
    label, test = table.reported, split.test
    served = session.run(["probability"], feeds_of(select(columns, test)))[0].ravel()
    logistic = fit_logistic(features[split.train], label[split.train]).predict_proba(features[test])[:, 1]
    points = rule_points(columns)
    rule = fit_rule_calibration(points[split.calibration], label[split.calibration]).predict(points[test])
    return Evaluation(
        models={
            "booster": measure(label[test], served, served),
            "logistic": measure(label[test], logistic, logistic),
            "rule": measure(label[test], points[test], rule),
        },
        calibration_error=expected_calibration_error(label[test], served),
        reliability=reliability_table(label[test], served),
        bands=_bands(label[test], served),
        scenarios=_scenarios(table.scenario[test], served),
        rows={"train": len(split.train), "calibration": len(split.calibration), "test": len(test)},
        base_rate=round(float(label[test].mean()), 5),
        max_difference_to_training=float(np.abs(served - model.predict(features[test])).max()),
        max_difference_batch_to_single=_batch_to_single(session, select(columns, test[:SINGLE_RUNS])),
    )


def _bands(label, probability) -> list[dict]:
    decision = decide_all(probability)
    return [
        {
            "decision": name,
            "rows": int((decision == name).sum()),
            "fraud": int(label[decision == name].sum()),
        }
        for name in DECISIONS
    ]


def _scenarios(scenario, probability) -> list[dict]:
    """How much of each mechanism reaches a band. `scenario` is the simulator's truth, not the reported label."""
    decision = decide_all(probability)
    return [
        {
            "scenario": str(name),
            "rows": int((scenario == name).sum()),
            **{d: float((decision[scenario == name] == d).mean()) for d in DECISIONS},
        }
        for name in np.unique(scenario)
    ]


def _batch_to_single(session, columns: Columns) -> float:
    feeds = feeds_of(columns)
    batch = session.run(["probability"], feeds)[0]
    singles = [session.run(["probability"], {n: v[i : i + 1] for n, v in feeds.items()})[0] for i in range(len(batch))]
    return float(np.abs(batch - np.concatenate(singles)).max())
