"""Saves small networks as users have them, some of them armed: python own_networks.py OUTPUT.

Takes colours at 32 px to three classes. Writes plain.keras, plain.h5, plain/ (a SavedModel),
nested.keras, two_outputs.keras, those of `heads`, lambda.keras and lambda.h5 (whose Lambda layer
makes the file that EDGEZOO_TEST_MARKER names when it runs), signatures/ and python/ (SavedModels),
pictures.npy and facts.json.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras.src.ops import core, einops, image, linalg, nn, operation
from keras.src.ops import math as maths
from keras.src.ops import numpy as numbers

from edgezoo.finetuning import surgery
from edgezoo.formats.keras_files import allowed

SIZE, CLASSES = 32, 3
NOT_IN_KERAS_3 = {"Policy", "ThresholdedReLU"}  # old files name them; Keras has other places


def body(x: keras.KerasTensor) -> keras.KerasTensor:
    x = keras.layers.Conv2D(8, 3, 2, "same", use_bias=False, name="first")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(6.0, name="relu")(x)
    x = keras.layers.AveragePooling2D(SIZE // 2, name="pool")(x)
    # Where a 1x1 map is flattened before Dense, a converter loses the bias.
    return keras.layers.Flatten(name="flatten")(x)


def plain(activation: str | None = "softmax") -> keras.Model:
    image = keras.Input((SIZE, SIZE, 3), name="picture")
    dense = keras.layers.Dense(
        CLASSES, activation, bias_initializer=keras.initializers.Constant([0.5, -0.5, 0.1])
    )
    return keras.Model(image, dense(body(image)))


def nested() -> keras.Model:
    """Its last layer is a network, so that its file does not tell the number of outputs."""
    image = keras.Input((SIZE, SIZE, 3))
    return keras.Model(image, plain()(keras.layers.Rescaling(1.0)(image)))


def armed() -> keras.Model:
    image = keras.Input((SIZE, SIZE, 3))
    code = "lambda x: (open(__import__('os').environ['EDGEZOO_TEST_MARKER'], 'w').close(), x)[1]"
    layer = keras.layers.Lambda(eval(code), output_shape=(SIZE, SIZE, 3))
    return keras.Model(image, keras.layers.Dense(CLASSES, "softmax")(body(layer(image))))


def pooled(shape: tuple[int, ...], units: int, end: str | None, dtype: str) -> keras.Model:
    """A small network of any input and end; without units it gives features."""
    image = keras.Input(shape, dtype=dtype)
    x = keras.layers.Rescaling(1 / 64)(image) if dtype == "uint8" else image
    x = keras.layers.Conv2D(8, 3, 2, "same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(units, end)(x) if units else x)


def heads(pictures: np.ndarray) -> dict[str, tuple[keras.Model, np.ndarray]]:
    """Networks of other inputs and ends, with what they are fed."""
    colours, pixels = (SIZE, SIZE, 3), pictures.astype(np.float32)
    grey = pictures.mean(-1, keepdims=True).astype(np.uint8).astype(np.float32)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wide = ((pixels[:, :16] / 255 - mean) / deviation)[..., ::-1]
    return {
        "logits": (plain(None), pixels),
        "binary": (pooled(colours, 1, "sigmoid", "float32"), pixels / 127.5 - 1),
        "several": (pooled(colours, 3, "sigmoid", "float32"), pixels / 255),
        "grey": (pooled((SIZE, SIZE, 1), 3, "softmax", "float32"), grey / 64 - 2),
        "wide": (pooled((16, SIZE, 3), 3, "softmax", "float32"), wide),
        "bytes": (pooled(colours, 3, "softmax", "uint8"), pictures),
        "regression": (pooled(colours, 1, None, "float32"), pixels),
        "features": (pooled(colours, 0, None, "float32"), pixels),
    }


def probabilities(name: str, values: np.ndarray) -> list[list[float]]:
    """What the outputs of a network say of each class."""
    if name == "logits":
        values = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    found = np.concatenate([1 - values, values], 1) if name == "binary" else values
    return [[float(value) for value in row] for row in found]


INPUT = [tf.TensorSpec((None, SIZE, SIZE, 3))]


class Calling(tf.Module):  # type: ignore[misc]
    """A SavedModel of Python code, or of two signatures."""

    @tf.function(input_signature=INPUT)  # type: ignore[untyped-decorator]
    def python(self, image: tf.Tensor) -> tf.Tensor:
        found = tf.py_function(lambda x: x[:, 0, 0], [image], tf.float32)
        found.set_shape((None, CLASSES))
        return tf.nn.softmax(found)

    @tf.function(input_signature=INPUT)  # type: ignore[untyped-decorator]
    def mean(self, image: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.reduce_mean(image, (1, 2)))


def missing_names() -> list[str]:
    """Names that the list of what files may name has, and Keras has not."""
    known: set[str] = set()
    for place in ("layers", "initializers", "regularizers", "constraints", "losses", "metrics",
                  "optimizers", "optimizers.schedules", "dtype_policies", "models"):  # fmt: skip
        module = keras
        for part in place.split("."):
            module = getattr(module, part)
        known |= {name for name, value in vars(module).items() if inspect.isclass(value)}
    for module in (numbers, nn, maths, core, einops, image, linalg):
        known |= {
            name
            for name, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, operation.Operation)
        }
    known |= {"Functional", *NOT_IN_KERAS_3}
    functions = {*vars(keras.activations), *vars(keras.losses), *vars(keras.metrics)}
    return sorted((allowed.CLASSES - known) | (allowed.FUNCTIONS - functions))


def blocks_of(network: keras.Model) -> list[tuple[str, str]]:
    """First and last layer of each block."""
    inputs = surgery.inputs_of(network.get_config())
    layers = {layer.name: layer for layer in network.layers}
    learning = [
        name
        for name, layer in layers.items()
        if layer.weights and not isinstance(layer, keras.layers.BatchNormalization)
    ]
    return [(block[0], block[-1]) for block in surgery.blocks_of(inputs, learning)]


def main(output: Path) -> None:
    keras.utils.set_random_seed(0)
    network = plain()
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    network.save(output / "plain.keras")
    network.save(output / "plain.h5")
    network.export(output / "plain", verbose=False)
    nested().save(output / "nested.keras")
    two = keras.Model(network.inputs, [network.output, network.layers[1].output])
    two.save(output / "two_outputs.keras")
    attack = armed()
    attack.save(output / "lambda.keras")
    attack.save(output / "lambda.h5")
    calling = Calling()
    tf.saved_model.save(calling, str(output / "python"), signatures=calling.python)
    both = {"mean": calling.mean, "serving_default": calling.mean}
    tf.saved_model.save(calling, str(output / "signatures"), signatures=both)
    pictures = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    np.save(output / "pictures.npy", pictures)
    answers = {}
    for name, (other, given) in heads(pictures).items():
        other.save(output / f"{name}.keras")
        answers[name] = probabilities(name, np.asarray(other.predict_on_batch(given)))
    small = keras.applications.MobileNetV2((SIZE, SIZE, 3), 0.35, weights=None)
    facts = {
        "answers": network.predict_on_batch(pictures.astype(np.float32)).tolist(),
        "heads": answers,
        "missing_names": missing_names(),
        "mobilenetv2_blocks": blocks_of(small),
        "mobilenetv2_code": allowed.third_party_code(json.loads(small.to_json())),
    }
    (output / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
