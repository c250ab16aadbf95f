"""The served graph: preprocessing, one tree ensemble, calibration."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from booster import CalibratedBooster, tree_nodes
from feature_graph import feature_nodes, make_model


def build_graph(model: CalibratedBooster) -> onnx.ModelProto:
    nodes, constants = feature_nodes("features")
    nodes += [
        helper.make_node(
            "TreeEnsembleRegressor", ["features"], ["margin"], domain="ai.onnx.ml", **_tree_attributes(model.booster)
        ),
        helper.make_node("Mul", ["margin", "platt_slope"], ["scaled_margin"]),
        helper.make_node("Add", ["scaled_margin", "platt_intercept"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    constants += [
        numpy_helper.from_array(np.array(model.slope, dtype=np.float32), "platt_slope"),
        numpy_helper.from_array(np.array(model.intercept, dtype=np.float32), "platt_intercept"),
    ]
    return make_model(nodes, constants, "probability", 1)


def _tree_attributes(booster) -> dict:
    names = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    columns: dict[str, list] = {f"nodes_{n}": [] for n in names}
    leaves: dict[str, list] = {f"target_{n}": [] for n in ("treeids", "nodeids", "ids", "weights")}
    for tree, nodes in enumerate(tree_nodes(booster)):
        for i, node in enumerate(nodes):
            is_leaf = bool(node["is_leaf"])
            columns["nodes_treeids"].append(tree)
            columns["nodes_nodeids"].append(i)
            columns["nodes_featureids"].append(0 if is_leaf else int(node["feature_idx"]))
            columns["nodes_values"].append(0.0 if is_leaf else _float32_at_most(node["num_threshold"]))
            columns["nodes_modes"].append("LEAF" if is_leaf else "BRANCH_LEQ")
            columns["nodes_truenodeids"].append(0 if is_leaf else int(node["left"]))
            columns["nodes_falsenodeids"].append(0 if is_leaf else int(node["right"]))
            if is_leaf:
                leaves["target_treeids"].append(tree)
                leaves["target_nodeids"].append(i)
                leaves["target_ids"].append(0)
                leaves["target_weights"].append(float(node["value"]))
    return {
        **columns,
        **leaves,
        "n_targets": 1,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "base_values": [float(np.ravel(booster._baseline_prediction)[0])],
    }


def _float32_at_most(threshold: float) -> float:
    """The largest float32 ≤ threshold: for float32 features it splits exactly like the float64 threshold."""
    rounded = np.float32(threshold)
    return float(np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > threshold else rounded)
