"""The trained network as an ONNX graph, written node by node."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from network import LanguageNetwork
from tokenization import tensors_of

OPSET = 17
IR_VERSION = 9
BATCH = 64


def build_graph(network: LanguageNetwork) -> onnx.ModelProto:
    """"input_ids" and "attention_mask" int64 [batch, tokens] → "logits" float32 [batch, labels]; what the mask leaves out counts for nothing."""
    nodes = [
        helper.make_node("Gather", ["embeddings", "input_ids"], ["embedded"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last_axis"], ["mask_of_token"]),
        helper.make_node("Mul", ["embedded", "mask_of_token"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "token_axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "token_axis"], ["tokens"], keepdims=1),
        helper.make_node("Max", ["tokens", "one"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["mean"]),
        helper.make_node("Gemm", ["mean", "weight", "bias"], ["logits"]),
    ]
    constants = {
        "embeddings": network.embeddings,
        "weight": network.weight,
        "bias": network.bias,
        "last_axis": np.array([2], np.int64),
        "token_axis": np.array([1], np.int64),
        "one": np.array([1], np.float32),
    }
    tokens = ["batch", "tokens"]
    graph = helper.make_graph(
        nodes,
        "language",
        [helper.make_tensor_value_info(name, TensorProto.INT64, tokens) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(network.bias)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="onqueue"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def open_session(artifact: bytes) -> ort.InferenceSession:
    return ort.InferenceSession(artifact, providers=["CPUExecutionProvider"])


def logits_of(session: ort.InferenceSession, ids: list[list[int]], batch: int = BATCH) -> np.ndarray:
    """In batches of texts of about one length, as a server would."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    logits = np.empty((len(ids), session.get_outputs()[0].shape[1]), np.float32)
    for first in range(0, len(ids), batch):
        chosen = order[first : first + batch]
        logits[chosen] = session.run(["logits"], tensors_of([ids[i] for i in chosen]))[0]
    return logits
