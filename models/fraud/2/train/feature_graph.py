"""The features of fraud 1, and ratios of them that trees would need many splits to find.

A tree splits on one feature at a time: that a week is three times as busy as the month before it takes a staircase of splits
over two counts, and one split over their ratio.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import version_1

first = version_1.module("feature_graph")
make_model, open_session = first.make_model, first.open_session

# log1p(a) - log1p(b), then minus the log of what that is for somebody whose habits do not change.
LOG_RATIOS = (
    ("amount", "customer_avg_amount_7d", 1),
    ("customer_avg_amount_7d", "customer_avg_amount_30d", 1),
    ("customer_tx_1d", "customer_tx_7d", 1 / 7),
    ("customer_tx_7d", "customer_tx_30d", 7 / 30),
    ("terminal_tx_7d", "terminal_tx_30d", 7 / 30),
)
# A rate of 50% of two payments is no news, of twenty it is.
EVIDENCE = (("terminal_fraud_rate_7d", "terminal_tx_7d"), ("terminal_fraud_rate_30d", "terminal_tx_30d"))
NIGHT_ENDS_HOUR = 6
QUIETEST_HOUR = 2  # the middle of the night, far from both ends of the cosine's other half

FEATURE_NAMES = [
    *first.FEATURE_NAMES,
    *(f"log_ratio({a}, {b})" for a, b, _ in LOG_RATIOS),
    *(f"{rate} * sqrt({count})" for rate, count in EVIDENCE),
    *(f"{rate} * {count}" for rate, count in EVIDENCE),
    "hour_cosine",
    "unusual_night",  # 1 - night share, of a payment at night
]


def feature_nodes(output: str):
    """Nodes and constants that make `output`, float32 [n, len(FEATURE_NAMES)], from the graph's inputs."""
    nodes, constants = first.feature_nodes("first_features")
    columns = ["first_features"]
    for parts in (_log_ratios, _evidence, _night):
        more_nodes, more_constants, names = parts()
        nodes, constants, columns = nodes + more_nodes, constants + more_constants, columns + names
    return [*nodes, helper.make_node("Concat", columns, [output], axis=1)], constants


def compute_features(columns) -> np.ndarray:
    nodes, constants = feature_nodes("features")
    session = open_session(make_model(nodes, constants, "features", len(FEATURE_NAMES)))
    return session.run(["features"], first.feeds_of(columns))[0]


def _log_ratios():
    """From `logs`, where fraud 1 has the logarithms of these fields already."""
    at = first.SKEWED_FIELDS.index
    constants = [
        numpy_helper.from_array(np.array([at(a) for a, _, _ in LOG_RATIOS], dtype=np.int64), "numerators"),
        numpy_helper.from_array(np.array([at(b) for _, b, _ in LOG_RATIOS], dtype=np.int64), "denominators"),
        numpy_helper.from_array(np.log([usual for _, _, usual in LOG_RATIOS]).astype(np.float32).reshape(1, -1), "usual"),
    ]
    nodes = [
        helper.make_node("Gather", ["logs", "numerators"], ["log_numerators"], axis=1),
        helper.make_node("Gather", ["logs", "denominators"], ["log_denominators"], axis=1),
        helper.make_node("Sub", ["log_numerators", "log_denominators"], ["log_quotients"]),
        helper.make_node("Sub", ["log_quotients", "usual"], ["log_ratios"]),
    ]
    return nodes, constants, ["log_ratios"]


def _evidence():
    nodes = [
        helper.make_node("Concat", [rate for rate, _ in EVIDENCE], ["rates"], axis=1),
        helper.make_node("Concat", [count for _, count in EVIDENCE], ["counts"], axis=1),
        helper.make_node("Sqrt", ["counts"], ["roots"]),
        helper.make_node("Mul", ["rates", "roots"], ["evidence"]),
        helper.make_node("Mul", ["rates", "counts"], ["expected_frauds"]),
    ]
    return nodes, [], ["evidence", "expected_frauds"]


def _night():
    constants = [
        numpy_helper.from_array(np.array(QUIETEST_HOUR, dtype=np.float32), "quietest_hour"),
        numpy_helper.from_array(np.array(2 * np.pi / 24, dtype=np.float32), "radians_per_hour"),
        numpy_helper.from_array(np.array(NIGHT_ENDS_HOUR, dtype=np.float32), "night_ends"),
    ]
    nodes = [
        helper.make_node("Sub", ["hour", "quietest_hour"], ["hours_off"]),
        helper.make_node("Mul", ["hours_off", "radians_per_hour"], ["angle"]),
        helper.make_node("Cos", ["angle"], ["hour_cosine"]),
        helper.make_node("Less", ["hour", "night_ends"], ["at_night"]),
        helper.make_node("Cast", ["at_night"], ["at_night_number"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "customer_night_share_30d"], ["day_share"]),
        helper.make_node("Mul", ["at_night_number", "day_share"], ["unusual_night"]),
    ]
    return nodes, constants, ["hour_cosine", "unusual_night"]
