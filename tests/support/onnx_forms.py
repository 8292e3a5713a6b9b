"""One 8-bit layer in every form that ONNX Runtime knows, or does not make integers of."""

from __future__ import annotations

from typing import Any

import numpy as np


def onnx_forms() -> dict[str, Any]:
    """Models by name; all weights are 127, so that integers of 255 overflow."""
    from onnx import TensorProto, helper, numpy_helper

    kernel = np.full((16, 4), 127, np.int8)
    constants: dict[str, Any] = {
        "one": np.float32(1), "zero": np.uint8(0), "middle": np.uint8(128), "none": np.int8(0),
        "wide": np.float32(2048), "least": np.float32(0), "half": np.float32(1e5),
        "all": np.float32(1e7), "conv.weight": kernel.reshape(16, 4, 1, 1), "dense.weight": kernel,
        "turned.weight": np.ascontiguousarray(kernel.T),
    }  # fmt: skip

    def make(kind: str, nodes: list[tuple[Any, ...]], dtype: int, out: int) -> Any:
        shape = [1, 4, 2, 2] if kind == "conv" else [1, 4]
        graph = helper.make_graph(
            [helper.make_node(op, ins, [o], domain=domain, **options)
             for op, ins, o, options, domain in nodes], kind,
            [helper.make_tensor_value_info("x", dtype, shape)],
            [helper.make_tensor_value_info(nodes[-1][2], out, None)],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
        )  # fmt: skip
        sets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=sets, ir_version=8)

    byte, real, whole = TensorProto.UINT8, TensorProto.FLOAT, TensorProto.INT32

    def between(kind: str, op: str, weights: str, tail: list[tuple[str, list[str]]]) -> Any:
        options = {"transB": 1} if op == "Gemm" else {}
        nodes = [("DequantizeLinear", ["x", "one", "zero"], "xf", {}, ""),
                 ("DequantizeLinear", [weights, "one", "none"], "wf", {}, ""),
                 (op, ["xf", "wf"], "y0", options, "")]  # fmt: skip
        for i, (name, inputs) in enumerate(tail):
            nodes.append((name, [f"y{i}", *inputs], f"y{i + 1}", {}, ""))
        return make(kind, nodes, byte, byte if tail and tail[-1][0] == "QuantizeLinear" else real)

    quantized = ("QuantizeLinear", ["wide", "zero"])
    ms = "com.microsoft"
    scales = ["one", "zero"]
    return {
        "conv": between("conv", "Conv", "conv.weight", [quantized]),
        "conv, weights rounded when it loads": _rounded_late(
            between("conv", "Conv", "conv.weight", [quantized])),
        "conv, float behind": between("conv", "Conv", "conv.weight", []),
        "conv, relu": between("conv", "Conv", "conv.weight", [("Relu", []), quantized]),
        "conv, relu that matters": between("conv", "Conv", "conv.weight", [
            ("Relu", []), ("QuantizeLinear", ["wide", "middle"])]),
        "conv, clip": between("conv", "Conv", "conv.weight", [
            ("Clip", ["least", "all"]), quantized]),
        "conv, clip that matters": between("conv", "Conv", "conv.weight", [
            ("Clip", ["least", "half"]), quantized]),
        "conv, sigmoid": between("conv", "Conv", "conv.weight", [("Sigmoid", []), quantized]),
        "gemm": between("dense", "Gemm", "dense.weight", [quantized]),
        "gemm, float behind": between("dense", "Gemm", "dense.weight", []),
        "matmul": between("dense", "MatMul", "turned.weight", [quantized]),
        "matmul, float behind": between("dense", "MatMul", "turned.weight", []),
        "QLinearConv": make("conv", [("QLinearConv", ["x", *scales, "conv.weight", "one", "none",
                                      "wide", "zero"], "y", {}, "")], byte, byte),
        "QLinearMatMul": make("dense", [("QLinearMatMul", ["x", *scales, "turned.weight", "one",
                                         "none", "wide", "zero"], "y", {}, "")], byte, byte),
        "QGemm": make("dense", [("QGemm", ["x", *scales, "dense.weight", "one", "none", "", "wide",
                                 "zero"], "y", {"transB": 1}, ms)], byte, byte),
        "MatMulInteger": make("dense", [("MatMulInteger", ["x", "turned.weight", "zero", "none"],
                                         "y", {}, "")], byte, whole),
        "MatMulIntegerToFloat": make("dense", [(
            "MatMulIntegerToFloat", ["x", "turned.weight", "one", "one", "zero", "none"], "y", {},
            ms)], byte, real),
        "DynamicQuantizeMatMul": make("dense", [(
            "DynamicQuantizeMatMul", ["x", "turned.weight", "one", "none"], "y", {}, ms)], real,
            real),
        "ConvInteger": make("conv", [("ConvInteger", ["x", "conv.weight", "zero", "none"], "y", {},
                                      "")], byte, whole),
    }  # fmt: skip


def _rounded_late(model: Any) -> Any:
    """The same with weights in float and a QuantizeLinear, as AddQDQPairToWeight leaves them."""
    from onnx import helper, numpy_helper

    (stored,) = [t for t in model.graph.initializer if t.name == "conv.weight"]
    real = numpy_helper.to_array(stored).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(real, "conv.weight/real"))
    model.graph.initializer.remove(stored)
    rounding = helper.make_node(
        "QuantizeLinear", ["conv.weight/real", "one", "none"], ["conv.weight"]
    )
    model.graph.node.insert(0, rounding)
    return model
