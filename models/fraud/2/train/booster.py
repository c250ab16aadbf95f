"""The trees of fraud 1 with other parameters: more and larger ones, that learn more slowly and are held back more."""

import version_1

PARAMETERS = {
    "max_iter": 300,
    "learning_rate": 0.04,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 80,
    "l2_regularization": 5.0,
    "early_stopping": False,  # its validation split would ignore time
}

first = version_1.module("booster")
first.PARAMETERS = PARAMETERS  # fit_booster reads them
CalibratedBooster, calibrate, fit_booster, tree_nodes = (
    first.CalibratedBooster,
    first.calibrate,
    first.fit_booster,
    first.tree_nodes,
)
