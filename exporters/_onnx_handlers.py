"""Operations of TFLite that tf2onnx has no handler for."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

_CUBE = (
    0.044715  # of the approximation by tanh: Hendrycks and Gimpel, https://arxiv.org/abs/1606.08415
)


class _Chain:
    """Nodes that take the place of one node, all of its shape and type; the last has its name."""

    def __init__(self, graph: Any, node: Any) -> None:
        self.graph, self.outputs = graph, list(node.output)
        self.x = node.input[0]
        self._like = {
            "shapes": [graph.get_shape(node.output[0])],
            "dtypes": [graph.get_dtype(node.output[0])],
        }
        graph.remove_node(node.name)

    def constant(self, value: float) -> str:
        """Add a float32 scalar."""
        name = f"{self.outputs[0]}/constant_{value:.6g}"
        if self.graph.get_node_by_name(name) is None:
            self.graph.make_const(name, np.asarray(value, np.float32))
        return f"{name}:0" if self.graph.get_node_by_output(f"{name}:0") else name

    def add(self, kind: str, *inputs: str, last: bool = False) -> str:
        """Add a node of ONNX and return its output."""
        outputs = {"outputs": self.outputs} if last else {}
        node = self.graph.make_node(kind, list(inputs), **outputs, **self._like)
        return str(node.output[0])


class Gelu:
    """x * Phi(x), exactly by erf or by the approximation that the file asks for."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Replace the node; called by tf2onnx."""
        approximate = bool(node.get_attr_value("approximate", 0))
        chain = _Chain(ctx, node)
        if approximate:
            squared = chain.add("Mul", chain.x, chain.x)
            scaled = chain.add("Mul", squared, chain.constant(_CUBE))
            factor = chain.add("Add", scaled, chain.constant(1.0))
            inner = chain.add("Mul", chain.x, factor)
            inner = chain.add("Mul", inner, chain.constant(math.sqrt(2 / math.pi)))
            part = chain.add("Tanh", inner)
        else:
            part = chain.add("Erf", chain.add("Mul", chain.x, chain.constant(math.sqrt(0.5))))
        share = chain.add("Mul", chain.add("Add", part, chain.constant(1.0)), chain.constant(0.5))
        chain.add("Mul", chain.x, share, last=True)


class _Bounded:
    """An activation that clips."""

    low: float
    high: float

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Replace the node; called by tf2onnx."""
        chain = _Chain(ctx, node)
        chain.add("Clip", chain.x, chain.constant(cls.low), chain.constant(cls.high), last=True)


class ReluN1To1(_Bounded):
    """Clips to -1 and 1."""

    low, high = -1.0, 1.0


class Relu0To1(_Bounded):
    """Clips to 0 and 1."""

    low, high = 0.0, 1.0


@lru_cache(maxsize=1)
def register() -> None:
    """Register the handlers with tf2onnx, which imports TensorFlow; once a process."""
    from tf2onnx.handler import tfl_op

    handlers = {"TFL_GELU": Gelu, "TFL_RELU_N1_TO_1": ReluN1To1, "TFL_RELU_0_TO_1": Relu0To1}
    for name, handler in handlers.items():
        tfl_op([name])(handler)
