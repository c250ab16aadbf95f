"""Gradient-boosted trees and their calibration."""

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

PARAMETERS = {
    "max_iter": 160,
    "learning_rate": 0.06,
    "max_leaf_nodes": 16,
    "min_samples_leaf": 80,
    "l2_regularization": 2.0,
    "early_stopping": False,  # its validation split would ignore time
}


@dataclass(frozen=True)
class CalibratedBooster:
    """probability = sigmoid(slope * margin + intercept): Platt scaling, fitted on a later period than the trees."""

    booster: HistGradientBoostingClassifier
    slope: float
    intercept: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        margin = self.booster.decision_function(features)
        return 1 / (1 + np.exp(-(self.slope * margin + self.intercept)))


def fit_booster(features: np.ndarray, label: np.ndarray, seed: int) -> HistGradientBoostingClassifier:
    booster = HistGradientBoostingClassifier(random_state=seed, **PARAMETERS).fit(features, label)
    _center_thresholds(booster, features)
    return booster


def calibrate(booster, features: np.ndarray, label: np.ndarray) -> CalibratedBooster:
    margin = booster.decision_function(features).reshape(-1, 1)
    platt = LogisticRegression(C=1e6).fit(margin, label)
    return CalibratedBooster(booster, float(platt.coef_[0, 0]), float(platt.intercept_[0]))


def tree_nodes(booster) -> list[np.ndarray]:
    """scikit-learn's node arrays, one a tree. They are private there, hence the exact pin in requirements.txt."""
    return [stage[0].nodes for stage in booster._predictors]


def _center_thresholds(booster, features: np.ndarray) -> None:
    """Move every threshold to the middle of the gap between the two training values that it separates.

    No training row changes side. But a threshold may otherwise equal a value exactly, and then the last bit of a
    logarithm, which differs between CPUs and between a vector and a scalar loop, decides the branch.
    """
    values = [np.unique(column) for column in features.T.astype(np.float64)]
    for nodes in tree_nodes(booster):
        for node in nodes[nodes["is_leaf"] == 0]:
            assert not node["is_categorical"]
        for i in np.flatnonzero(nodes["is_leaf"] == 0):
            column = values[nodes["feature_idx"][i]]
            above = np.searchsorted(column, nodes["num_threshold"][i], side="right")
            if 0 < above < len(column):
                nodes["num_threshold"][i] = (column[above - 1] + column[above]) / 2
