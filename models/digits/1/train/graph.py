"""The trained network as an ONNX graph, written node by node."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from network import CLASSES, DigitNetwork
from preprocess import SIDE

OPSET = 17
IR_VERSION = 9


def build_graph(network: DigitNetwork) -> onnx.ModelProto:
    """"image" float32 [batch, 1, 8, 8] in 0..1 → "logits" float32 [batch, 10]. Dropout is no part of inference."""
    nodes = [
        *_convolution("image", "conv1", pooled=False),
        *_convolution("conv1_out", "conv2", pooled=True),
        *_convolution("conv2_out", "conv3", pooled=True),
        helper.make_node("Flatten", ["conv3_out"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "dense1.weight", "dense1.bias"], ["dense1_sum"], transB=1),
        helper.make_node("Relu", ["dense1_sum"], ["dense1_out"]),
        helper.make_node("Gemm", ["dense1_out", "dense2.weight", "dense2.bias"], ["logits"], transB=1),
    ]
    weights = [numpy_helper.from_array(value.numpy(), name) for name, value in network.state_dict().items()]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="onqueue"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def open_session(artifact: bytes) -> ort.InferenceSession:
    return ort.InferenceSession(artifact, providers=["CPUExecutionProvider"])


def logits_of(session: ort.InferenceSession, tensors: np.ndarray) -> np.ndarray:
    return session.run(["logits"], {"image": tensors})[0]


def _convolution(source: str, name: str, pooled: bool) -> list[onnx.NodeProto]:
    active = f"{name}_active" if pooled else f"{name}_out"
    nodes = [
        helper.make_node(
            "Conv", [source, f"{name}.weight", f"{name}.bias"], [f"{name}_sum"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", [f"{name}_sum"], [active]),
    ]
    if pooled:
        nodes.append(helper.make_node("MaxPool", [active], [f"{name}_out"], kernel_shape=[2, 2], strides=[2, 2]))
    return nodes
