"""From a probability to a decision, by the bands of the manifest."""

import numpy as np

BANDS = [{"decision": "block", "above": 0.82}, {"decision": "step_up", "from": 0.6}, {"decision": "allow"}]
DECISIONS = [b["decision"] for b in BANDS]
BOUNDARIES = [0.82, 0.6]


def decide(probability: float) -> str:
    for band in BANDS:
        if "above" in band and not probability > band["above"]:
            continue
        if "from" in band and not probability >= band["from"]:
            continue
        return band["decision"]
    raise AssertionError("The last band has no bound. This is a bug.")


def decide_all(probability: np.ndarray) -> np.ndarray:
    return np.array([decide(float(p)) for p in probability])
