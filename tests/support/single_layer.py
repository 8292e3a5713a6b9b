"""Networks of one 8-bit layer, for each runtime, to see what its kernels compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgezoo.core.protocols import IntegerLayer

# ONNX


def _onnx_kernel(weights: np.ndarray, size: int) -> np.ndarray:
    """(out, positions, in) as (out, in, height, width)."""
    return np.moveaxis(weights.reshape(len(weights), size, size, -1), -1, 1).copy()


class OnnxConv:
    """A convolution between quantizers whose bias takes the exact sum away.

    The output has scale 1 around 0: what a kernel gets wrong is all that is left. Signed
    activations are uint8 ones minus 128.
    """

    def __init__(self, weights: np.ndarray, size: int, groups: int, signed: bool) -> None:
        self._weights, self._size, self._groups = weights, size, groups
        self._dtype = np.int8 if signed else np.uint8

    def _model(self, bias: np.ndarray) -> Any:
        from onnx import TensorProto, helper, numpy_helper

        low, middle = (-128, 0) if self._dtype is np.int8 else (0, 128)
        constants = {
            "one": np.float32(1), "low": self._dtype(low), "middle": self._dtype(middle),
            "none": np.int8(0), "none32": np.int32(0), "bias": bias.astype(np.int32),
            "layer.weight": _onnx_kernel(self._weights, self._size),
        }  # fmt: skip
        nodes = [
            helper.make_node("DequantizeLinear", ["x", "one", "low"], ["xf"]),
            helper.make_node("DequantizeLinear", ["layer.weight", "one", "none"], ["wf"]),
            helper.make_node("DequantizeLinear", ["bias", "one", "none32"], ["bf"]),
            helper.make_node("Conv", ["xf", "wf", "bf"], ["yf"], group=self._groups),
            helper.make_node("QuantizeLinear", ["yf", "one", "middle"], ["y"]),
        ]
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self._dtype))
        assert kind in (TensorProto.UINT8, TensorProto.INT8)
        channels = self._weights.shape[2] * self._groups
        shape = [1, channels, self._size, self._size]
        graph = helper.make_graph(
            nodes, "one", [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info("y", kind, None)],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    def layers(self) -> tuple[IntegerLayer, ...]:
        """What EdgeZoo finds."""
        from edgezoo.runtimes._onnx_layers import integer_layers

        return integer_layers(self._model(np.zeros(len(self._weights))))

    def error(self, values: np.ndarray, exact: np.ndarray, precise: str) -> np.ndarray:
        """Computed minus exact sum of each output channel, clipped to -128 … 127.

        Args:
            values: uint8, shape (positions, in); each group gets the same.
            exact: of each channel.
            precise: of session.x64quantprecision.
        """
        picture = values.T.reshape(-1, self._size, self._size)
        batch = np.tile(picture, (self._groups, 1, 1))[None]
        if self._dtype is np.int8:
            batch = (batch.astype(np.int16) - 128).astype(np.int8)
        (output,) = run_onnx(self._model(-exact), batch, precise)
        middle = 0 if self._dtype is np.int8 else 128
        return output.astype(np.int32).reshape(-1) - middle


def run_onnx(model: Any, batch: np.ndarray, precise: str) -> list[np.ndarray]:
    """All outputs, in a session that differs from the default in x64quantprecision alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", precise)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs: list[np.ndarray] = session.run(None, {session.get_inputs()[0].name: batch})
    return outputs


def quantize_by_hand(folder: Path, **extra: Any) -> Path:
    """A small network by quantize_static, per channel, int8 weights, uint8 activations.

    The float network lies beside it as float.onnx.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    generator = np.random.default_rng(0)
    signs = np.where(np.arange(16) % 2, 1, -1).reshape(1, 16, 1, 1)
    constants = {
        "first.weight": generator.normal(size=(16, 3, 3, 3)),
        "depthwise.weight": generator.normal(size=(16, 1, 3, 3)),
        "alternating.weight": generator.uniform(0.5, 1, (16, 16, 1, 1)) * signs,
        "same_sign.weight": generator.uniform(0.5, 1, (16, 16, 1, 1)),
        "dense.weight": generator.normal(size=(10, 16)),
    }
    steps: list[tuple[str, str, dict[str, Any]]]
    steps = [("first", "Conv", {}), ("depthwise", "Conv", {"group": 16}),
             ("alternating", "Conv", {}), ("same_sign", "Conv", {})]  # fmt: skip
    nodes, last = [], "x"
    for name, kind, options in steps:
        inputs = [last, f"{name}.weight"]
        nodes += [helper.make_node(kind, inputs, [f"{name}/sum"], name=f"{name}_node", **options),
                  helper.make_node("Relu", [f"{name}/sum"], [name])]  # fmt: skip
        last = name
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense.weight"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "float.onnx")

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            pictures = generator.uniform(0, 1, (8, 1, 3, 8, 8)).astype(np.float32)
            self._left = iter([{"x": picture} for picture in pictures])

        def get_next(self) -> Any:
            return next(self._left, None)

    quantize_static(folder / "float.onnx", folder / "by_hand.onnx", Pictures(), per_channel=True,
                    weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8,
                    extra_options=extra)  # fmt: skip
    return folder / "by_hand.onnx"


def layers_that_differ(file: Path) -> set[str]:
    """Layers that the default session answers otherwise than x64quantprecision, each on its own."""
    import onnx
    from onnx.utils import Extractor

    model = onnx.shape_inference.infer_shapes(onnx.load(file))
    readers = {name: node for node in model.graph.node for name in node.input}
    makers = {name: node for node in model.graph.node for name in node.output}
    generator = np.random.default_rng(1)
    found = set()
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        begin, end = makers[node.input[0]].input[0], node.output[0]
        while end in readers and readers[end].op_type in ("Relu", "QuantizeLinear"):
            end = readers[end].output[0]
        part = Extractor(model).extract_model([begin], [end])
        shape = [n.dim_value for n in part.graph.input[0].type.tensor_type.shape.dim]
        for _ in range(20):
            batch = (generator.integers(0, 2, shape) * 255).astype(np.uint8)
            default, precise = (run_onnx(part, batch, setting)[0] for setting in "01")
            if (default != precise).any():
                name = makers[node.input[1]].input[0]
                found.add(name.removesuffix("_quantized").removesuffix(".weight"))
    return found


# OpenVINO


class OpenVinoConv:
    """A convolution with int8 weights behind a FakeQuantize; its sums come out in float32."""

    def __init__(self, weights: np.ndarray, size: int, groups: int, signed: bool) -> None:
        self._weights, self._size, self._groups, self._signed = weights, size, groups, signed
        self._compiled: Any = None

    def _model(self) -> Any:
        import openvino
        from openvino import opset13 as ops

        channels = self._weights.shape[2] * self._groups
        picture = ops.parameter([1, channels, self._size, self._size], np.float32)
        low, high = (np.float32(v) for v in ((-128, 127) if self._signed else (0, 255)))
        taken = ops.fake_quantize(picture, low, high, low, high, 256)
        kernel = _onnx_kernel(self._weights, self._size)
        if self._groups > 1:
            kernel = kernel.reshape(self._groups, -1, *kernel.shape[1:])
        lead = kernel.shape[: kernel.ndim - 3]
        ones = np.ones((*lead, 1, 1, 1), np.float32)
        real = ops.multiply(ops.convert(ops.constant(kernel), np.float32), ops.constant(ones))
        make = ops.group_convolution if self._groups > 1 else ops.convolution
        output = make(taken, real, [1, 1], [0, 0], [0, 0], [1, 1])
        return openvino.Model([output], [picture], "one")

    def layers(self) -> tuple[IntegerLayer, ...]:
        """What EdgeZoo finds."""
        from edgezoo.runtimes._openvino_layers import integer_layers

        return integer_layers(self._model())

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sum of each output channel over uint8 values of shape (positions, in).

        For signed activations 128 is taken away before, and its part added again.
        """
        import openvino

        shift = 128 if self._signed else 0
        picture = values.T.reshape(-1, self._size, self._size).astype(np.float32) - shift
        batch = np.tile(picture, (self._groups, 1, 1))[None]
        if self._compiled is None:
            settings = {"INFERENCE_PRECISION_HINT": "f32"}
            self._compiled = openvino.Core().compile_model(self._model(), "CPU", settings)
        sums = self._compiled(batch)[0].reshape(-1)
        return np.asarray(sums + shift * self._weights.sum((1, 2), dtype=np.int64))


# TFLite


def write_tflite(path: Path, kind: str, weights: np.ndarray, exact: np.ndarray) -> None:
    """One int8 layer whose bias takes `exact` away, with an output of scale 1 around 0."""
    from edgezoo.formats import tflite_flatbuffer

    s = tflite_flatbuffer.schema()
    out, positions, inner = weights.shape
    size = 1 if kind == "dense" else int(positions**0.5)
    channels = out if kind == "depthwise" else inner
    kernel: np.ndarray
    if kind == "dense":
        kernel, border, answer = weights.reshape(out, inner), [1, inner], [1, out]
    else:
        kernel = weights.reshape(out, size, size, inner)
        if kind == "depthwise":
            kernel = np.moveaxis(kernel, 0, -1).reshape(1, size, size, out)
        border, answer = [1, size, size, channels], [1, 1, 1, out]
    model, graph = s.ModelT(), s.SubGraphT()
    buffers = [s.BufferT(), s.BufferT(), s.BufferT()]
    buffers[1].data = np.frombuffer(np.ascontiguousarray(kernel).tobytes(), np.uint8)
    buffers[2].data = np.frombuffer((-exact).astype("<i4").tobytes(), np.uint8)
    rows = (("x", border, 0, s.TensorType.INT8, -128), ("layer/weights", kernel.shape, 1,
            s.TensorType.INT8, 0), ("layer/bias", [out], 2, s.TensorType.INT32, 0),
            ("layer", answer, 0, s.TensorType.INT8, 0))  # fmt: skip
    graph.tensors = []
    for name, shape, buffer, dtype, zero in rows:
        tensor, quantization = s.TensorT(), s.QuantizationParametersT()
        tensor.name, tensor.shape, tensor.buffer, tensor.type = name, list(shape), buffer, dtype
        quantization.scale, quantization.zeroPoint = [1.0], [zero]
        tensor.quantization = quantization
        graph.tensors.append(tensor)
    op, code = s.OperatorT(), s.OperatorCodeT()
    names = {"conv": ("CONV_2D", "Conv2DOptions"), "dense": ("FULLY_CONNECTED",
             "FullyConnectedOptions"), "depthwise": ("DEPTHWISE_CONV_2D",
             "DepthwiseConv2DOptions")}[kind]  # fmt: skip
    code.builtinCode = getattr(s.BuiltinOperator, names[0])
    code.deprecatedBuiltinCode, code.version = code.builtinCode, 4 if kind == "dense" else 3
    options = getattr(s, f"{names[1]}T")()
    if kind != "dense":
        options.padding, options.strideH, options.strideW = s.Padding.VALID, 1, 1
        options.dilationHFactor = options.dilationWFactor = 1
        if kind == "depthwise":
            options.depthMultiplier = 1
    op.opcodeIndex, op.inputs, op.outputs = 0, [0, 1, 2], [3]
    op.builtinOptions = options
    op.builtinOptionsType = getattr(s.BuiltinOptions, names[1])
    graph.operators, graph.inputs, graph.outputs = [op], [0], [3]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], buffers
    tflite_flatbuffer.write_model(model, path)


def run_tflite(path: Path, kind: str, values: np.ndarray, delegate: bool) -> np.ndarray:
    """Output of each channel, for uint8 values of shape (positions, in)."""
    from ai_edge_litert import interpreter as litert

    resolver = litert.OpResolverType
    chosen = resolver.AUTO if delegate else resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    runner = litert.Interpreter(str(path), num_threads=1, experimental_op_resolver_type=chosen)
    runner.allocate_tensors()
    taken, given = runner.get_input_details()[0], runner.get_output_details()[0]
    shape = tuple(taken["shape"])
    batch = (values.astype(np.int16) - 128).astype(np.int8)
    if kind == "depthwise":  # each channel gets the same
        batch = np.broadcast_to(batch, (len(batch), shape[-1]))
    runner.set_tensor(taken["index"], batch.reshape(shape))
    runner.invoke()
    output: np.ndarray = runner.get_tensor(given["index"]).reshape(-1).astype(np.int32)
    return output
