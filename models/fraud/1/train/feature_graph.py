"""Preprocessing as graph nodes: named columns in, one feature matrix out.

Training runs this same graph to get its features, so training and serving cannot disagree about them.
"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from fields import FIELD_NAMES, NUMERIC_FIELDS, STRING_FIELD, Columns, feeds_of
from world import CATEGORY_NAMES

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
IR_VERSION = 9

SKEWED_FIELDS = [n for n in NUMERIC_FIELDS if n == "distance_km" or "amount" in n or "_tx_" in n]
PLAIN_FIELDS = [n for n in NUMERIC_FIELDS if n not in SKEWED_FIELDS]
FEATURE_NAMES = [
    *(f"log1p({n})" for n in SKEWED_FIELDS),
    "log_amount_ratio",  # log1p(amount) - log1p(customer_avg_amount_30d)
    *PLAIN_FIELDS,
    *(f"is_{c}" for c in CATEGORY_NAMES),
]
RATIO = ("amount", "customer_avg_amount_30d")


def feature_nodes(output: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes and constants that make `output`, float32 [n, len(FEATURE_NAMES)], from the graph's inputs."""
    nodes = [
        helper.make_node("Concat", SKEWED_FIELDS, ["skewed"], axis=1),
        helper.make_node("Add", ["skewed", "one"], ["skewed_plus_one"]),
        helper.make_node("Log", ["skewed_plus_one"], ["logs"]),
        helper.make_node("Gather", ["logs", "numerator_column"], ["log_numerator"], axis=1),
        helper.make_node("Gather", ["logs", "denominator_column"], ["log_denominator"], axis=1),
        helper.make_node("Sub", ["log_numerator", "log_denominator"], ["log_ratio"]),
        helper.make_node(
            "OneHotEncoder", [STRING_FIELD], ["one_hot_3d"], domain="ai.onnx.ml", cats_strings=list(CATEGORY_NAMES), zeros=1
        ),
        helper.make_node("Reshape", ["one_hot_3d", "one_hot_shape"], ["one_hot"]),
        helper.make_node("Concat", ["logs", "log_ratio", *PLAIN_FIELDS, "one_hot"], [output], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.array(1, dtype=np.float32), "one"),
        numpy_helper.from_array(np.array([SKEWED_FIELDS.index(RATIO[0])], dtype=np.int64), "numerator_column"),
        numpy_helper.from_array(np.array([SKEWED_FIELDS.index(RATIO[1])], dtype=np.int64), "denominator_column"),
        numpy_helper.from_array(np.array([-1, len(CATEGORY_NAMES)], dtype=np.int64), "one_hot_shape"),
    ]
    return nodes, constants


def make_model(nodes, constants, output: str, width: int) -> onnx.ModelProto:
    """A checked model whose inputs are the fields and whose only output is float32 [batch, width]."""
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.STRING if n == STRING_FIELD else TensorProto.FLOAT, ["batch", 1])
        for n in FIELD_NAMES
    ]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", width])]
    graph = helper.make_graph(nodes, "fraud", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=IR_VERSION, producer_name="onqueue")
    onnx.checker.check_model(model, full_check=True)
    return model


def open_session(model: onnx.ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def compute_features(columns: Columns) -> np.ndarray:
    nodes, constants = feature_nodes("features")
    session = open_session(make_model(nodes, constants, "features", len(FEATURE_NAMES)))
    return session.run(["features"], feeds_of(columns))[0]
