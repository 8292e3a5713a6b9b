"""Layers and functions that Keras 2 had and Keras 3 has not, or has with another meaning.

Needs Keras and TensorFlow. They are registered as EdgeZoo's own, and compute what Keras 2 computed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from edgezoo.core.typed_json import Json
from edgezoo.formats.keras_files import keras2, tf_functions


@lru_cache(maxsize=1)
def objects() -> dict[str, Any]:
    """Return classes and functions by the names that a converted configuration has for them."""
    import keras

    def keras2_hard_sigmoid(x: Any) -> Any:
        """Return 0 below -2.5, 1 above 2.5, and 0.2 x + 0.5 between: Keras 3 has x / 6 + 0.5."""
        return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)

    class ThresholdedReLU(keras.layers.Layer):  # type: ignore[misc]
        """x above theta, 0 elsewhere."""

        def __init__(self, theta: float = 1.0, **more: Any) -> None:
            super().__init__(**more)
            self.theta = float(theta)

        def call(self, x: Any) -> Any:
            return x * keras.ops.cast(x > self.theta, x.dtype)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

        def get_config(self) -> Json:
            return {**super().get_config(), "theta": self.theta}

    class TensorFlowFunction(keras.layers.Layer):  # type: ignore[misc]
        """A function of TensorFlow that only computes."""

        def __init__(self, function: str, first: Any, words: Json, **more: Any) -> None:
            super().__init__(**more)
            self.function, self.first, self.words = function, first, words

        def call(self, *tensors: Any) -> Any:
            return tf_functions.call(self.function, self.first, self.words, tensors)

        def get_config(self) -> Json:
            own = {"function": self.function, "first": self.first, "words": self.words}
            return {**super().get_config(), **own}

    register = keras.saving.register_keras_serializable
    return {
        keras2.HARD_SIGMOID: register("EdgeZoo", "keras2_hard_sigmoid")(keras2_hard_sigmoid),
        "EdgeZoo>ThresholdedReLU": register("EdgeZoo", "ThresholdedReLU")(ThresholdedReLU),
        tf_functions.REGISTERED: register("EdgeZoo", "TensorFlowFunction")(TensorFlowFunction),
    }
