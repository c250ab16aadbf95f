"""What the booster has to beat: a rule that an analyst would write, and a linear model on the same features."""

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from fields import Columns

RISKY_CATEGORIES = ("gift_cards", "gambling", "online_retail", "electronics", "jewellery")
RULE_TEXT = (
    "3 points for a terminal fraud rate (7 d) above 40%; 2 for a risky category between 00:00 and 05:59 with 4 or more "
    "payments in 24 h; 2 for an amount above 5x the customer's 30-day mean more than 40 km from home; 1 each for a terminal "
    "fraud rate (30 d) above 20%, an amount above 5x the mean, and a risky category with 4 or more payments in 24 h"
)


def rule_points(columns: Columns) -> np.ndarray:
    risky = np.isin(columns["merchant_category"].astype(str), RISKY_CATEGORIES)
    large = columns["amount"] > 5 * np.maximum(columns["customer_avg_amount_30d"], 1)
    frequent = columns["customer_tx_1d"] >= 4
    points = (
        3 * (columns["terminal_fraud_rate_7d"] > 0.4),
        2 * (risky & frequent & (columns["hour"] < 6)),
        2 * (large & (columns["distance_km"] > 40)),
        columns["terminal_fraud_rate_30d"] > 0.2,
        large,
        risky & frequent,
    )
    return np.sum(points, axis=0).astype(float)


def fit_rule_calibration(points: np.ndarray, label: np.ndarray) -> IsotonicRegression:
    """Points say nothing about probability; this gives the rule the best Brier score that its order allows."""
    return IsotonicRegression(out_of_bounds="clip").fit(points, label)


def fit_logistic(features: np.ndarray, label: np.ndarray) -> Pipeline:
    # float64 and a tight tolerance: otherwise where the solver stops depends on the number of threads.
    solver = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000)
    return make_pipeline(StandardScaler(), solver).fit(features.astype(np.float64), label)
