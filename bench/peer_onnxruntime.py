"""Prediction by ONNX Runtime, of the same network written as an ONNX graph with batch norm as its own node."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from fastdl.bench import inputs, shapes

OPSET, IR = 17, 8  # what every ONNX Runtime of the last years reads


def about() -> dict[str, Any]:
    """Version and threads: by default those of the cores that it may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"version": onnxruntime.__version__, "threads": cores}


def network(s: shapes.Network) -> bytes:
    """The graph; ONNX Runtime folds its batch norms into its products by itself."""
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, array: Any) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    *hidden, last = inputs.parameters(s)
    value = "x"
    for at, block in enumerate([*hidden, last]):
        given = [value] + [constant(f"{name}{at}", block[name]) for name in ("weight", "bias") if name in block]
        nodes.append(helper.make_node("Gemm", given, [value := f"sum{at}"]))
        if "gamma" in block:
            zeros = np.zeros_like(block["gamma"])
            arrays = {"gamma": block["gamma"], "beta": block["beta"], "mean": zeros, "variance": zeros + 1}
            given = [value] + [constant(f"{name}{at}", array) for name, array in arrays.items()]
            nodes.append(helper.make_node("BatchNormalization", given, [value := f"normal{at}"], epsilon=1e-5))
        if block is not last:
            nodes.append(helper.make_node("Relu", [value], [value := f"relu{at}"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", s.widths[0]])
    y = helper.make_tensor_value_info(value, TensorProto.FLOAT, ["n", s.widths[-1]])
    graph = helper.make_graph(nodes, "network", [x], [y], constants)
    opset = [helper.make_opsetid("", OPSET)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=IR).SerializeToString())


def prediction(s: shapes.Prediction, device: str) -> Callable[[], tuple[Any, ...]]:
    """The outputs of a batch."""
    session = onnxruntime.InferenceSession(network(s), providers=["CPUExecutionProvider"])
    given = {"x": inputs.training(s)[0][: s.batch]}
    return lambda: (session.run(None, given)[0],)


WORK = {(shapes.Prediction, ""): prediction}
