"""Golden rows: inputs as a client would send them, with the output that a server must give."""

import numpy as np

from decision import BOUNDARIES, decide, decide_all
from fields import Columns, columns_of_rows, feeds_of, row_of

ROWS_PER_DECISION = {"allow": 14, "step_up": 9, "block": 9}
BOUNDARY_MARGIN = 0.005  # far more than the tolerance: a golden decision must not hang on rounding

NEWCOMER = {  # no history at all: every aggregate is empty
    "amount": 24.5,
    "merchant_category": "grocery",
    "hour": 18,
    "distance_km": 3.2,
    "customer_tx_1d": 0,
    "customer_tx_7d": 0,
    "customer_tx_30d": 0,
    "customer_avg_amount_7d": 0.0,
    "customer_avg_amount_30d": 0.0,
    "customer_night_share_30d": 0.0,
    "terminal_tx_7d": 0,
    "terminal_tx_30d": 0,
    "terminal_fraud_rate_7d": 0.0,
    "terminal_fraud_rate_30d": 0.0,
}


def golden_rows(session, columns: Columns, probability: np.ndarray) -> list[dict]:
    """`columns` and `probability` are those of the test period; the outputs come from `session`."""
    decision = decide_all(probability)
    clear = np.all([np.abs(probability - b) > BOUNDARY_MARGIN for b in BOUNDARIES], axis=0)
    rows = [NEWCOMER]
    for name, count in ROWS_PER_DECISION.items():
        candidates = np.flatnonzero((decision == name) & clear)
        # Evenly over the log-odds, so that "allow" is not fourteen times the same shrug.
        odds = np.log(probability[candidates] / (1 - probability[candidates]))
        targets = np.linspace(odds.min(), odds.max(), count)
        picked = sorted({int(candidates[np.argmin(np.abs(odds - t))]) for t in targets})
        rows += [row_of(columns, i) for i in picked]
    served = session.run(["probability"], feeds_of(columns_of_rows(rows)))[0].ravel()
    return [{"input": r, "output": {"probability": float(p), "decision": decide(float(p))}} for r, p in zip(rows, served)]
