"""Builds networks with every argument, and asks Keras what it makes of the same; prints JSON.

Run by tests/networks/test_built.py in a child process, since it loads TensorFlow. Takes a weights
file of MobileNet 0.25.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import keras
import numpy as np

import edgezoo
from edgezoo.core import registry
from edgezoo.core.errors import DataError
from edgezoo.images import imagenet_classes

SMALL: dict[str, Any] = {"alpha": 0.25, "input_size": 32}


def shapes() -> dict[str, list[int | None]]:
    """What networks give."""
    options: dict[str, dict[str, Any]] = {
        "whole": {},
        "map": {"include_top": False},
        "avg": {"include_top": False, "pooling": "avg"},
        "classes": {"classes": 7, "weights": "random"},
        "cut": {"output_layer": "conv_pw_3_relu"},
        "wide": {"depth_multiplier": 2, "include_top": False, "weights": "random"},
    }
    weights = sys.argv[1]
    found = {}
    for name, given in options.items():
        network = edgezoo.build("mobilenet", **{"weights": weights, **SMALL, **given})
        found[name] = [list(network.output_shape), network.count_params()]
    return found


def same_body() -> dict[str, float]:
    """Largest differences of features between networks that share a body."""
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    found = {}
    for weights in (sys.argv[1], "random"):
        options = {**SMALL, "weights": weights}
        whole = edgezoo.build("mobilenet", **options)
        layer = next(x for x in whole.layers if isinstance(x, keras.layers.GlobalAveragePooling2D))
        wanted = keras.Model(whole.inputs, layer.output).predict_on_batch(pixels)
        got = edgezoo.build(
            "mobilenet", include_top=False, pooling="avg", **options
        ).predict_on_batch(pixels)
        found["random" if weights == "random" else "file"] = float(
            np.abs(wanted.reshape(got.shape) - got).max()
        )
    return found


def over_a_tensor() -> dict[str, Any]:
    """A network on a tensor that comes from pixels, and on an input of its own."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    image = keras.Input((32, 32, 3), name="photograph")
    # A layer with weights in front, which must keep them.
    scaled = keras.layers.Dense(3, kernel_initializer="identity", name="mine")(
        keras.layers.Rescaling(1 / 127.5, -1)(image)
    )
    network = edgezoo.build("mobilenet", alpha=0.25, weights=sys.argv[1], input_tensor=scaled)
    own = edgezoo.build("mobilenet", weights=sys.argv[1], **SMALL)
    difference = network.predict_on_batch(pixels) - own.predict_on_batch(pixels / 127.5 - 1)
    return {
        "input": network.inputs[0].name,
        "layers": len(network.layers) - len(own.layers),
        "difference": float(np.abs(difference).max()),
    }


def misfits() -> dict[str, str]:
    """What is said of weights files that do not fit."""
    with TemporaryDirectory() as folder:
        fewer, other = Path(folder, "fewer.h5"), Path(folder, "other.h5")
        with h5py.File(sys.argv[1]) as whole, h5py.File(fewer, "w") as file:
            names = list(whole.attrs["layer_names"])[:-6]
            for name in names:
                whole.copy(name, file)
            file.attrs["layer_names"] = names
        with h5py.File(other, "w") as file:
            file["values"] = np.zeros(3)
        cases: dict[str, tuple[str, dict[str, Any]]] = {
            "another model": ("mobilenetv2", {"weights": sys.argv[1], "alpha": 0.35}),
            "classes": ("mobilenet", {"weights": sys.argv[1], "alpha": 0.25, "classes": 7}),
            "fewer layers": ("mobilenet", {"weights": str(fewer), "alpha": 0.25}),
            "no weights": ("mobilenet", {"weights": str(other), "alpha": 0.25}),
        }
        said = {}
        for name, (model, options) in cases.items():
            try:
                edgezoo.build(model, input_size=32, **options)
            except DataError as error:
                said[name] = error.message
    return said


def densenet() -> list[int]:
    """Parameters with the blocks of DenseNet121, and with few."""
    spec = registry.model("densenet121")
    function = getattr(importlib.import_module(spec.module), spec.keras_name)
    options = {"weights": None, "input_shape": (32, 32, 3)}
    return [
        function(blocks=(6, 12, 24, 16), **options).count_params(),
        edgezoo.build(
            "densenet121", blocks=(1, 1, 1, 1), input_size=32, weights="random"
        ).count_params(),
    ]


def dropouts() -> dict[str, list[float]]:
    """Rates of the dropout layers before the last one."""
    found = {}
    for name, weights in (("mobilenet", sys.argv[1]), ("mobilenetv3small", "random")):
        alpha = 0.25 if name == "mobilenet" else 0.75
        network = edgezoo.build(name, dropout=0.3, input_size=32, alpha=alpha, weights=weights)
        layers = [x for x in network.layers if isinstance(x, keras.layers.Dropout)]
        found[name] = [layer.rate for layer in layers]
    return found


def preprocessing() -> dict[str, list[str]]:
    """Models whose numbers differ from Keras', with the kind of array that shows it."""
    generator = np.random.default_rng(1)
    pixels = generator.integers(0, 256, (2, 5, 4, 3), np.uint8)
    arrays = {
        "uint8": pixels,
        "float32": generator.uniform(0, 255, pixels.shape).astype(np.float32),
        "float64": generator.uniform(0, 255, pixels.shape),
        "one": pixels[0],
    }
    differing: dict[str, list[str]] = {}
    for name, spec in registry.models().items():
        module = getattr(keras.applications, spec.family, None)
        if module is None:
            continue  # EfficientNet-Lite is not Keras'
        for kind, array in arrays.items():
            for order in ("channels_last", "channels_first"):
                given = array if order == "channels_last" else np.moveaxis(array, -1, -3)
                wanted = module.preprocess_input(given.copy(), data_format=order)
                before = given.copy()
                got = edgezoo.preprocess_input(name, given, data_format=order)
                if not (np.array_equal(wanted, got) and np.array_equal(before, given)):
                    differing.setdefault(name, []).append(f"{kind} {order}")
    return differing


def decoding() -> list[str]:
    """Cases in which classes, order or scores differ from Keras'."""
    from keras.src.applications import imagenet_utils

    # Keras would fetch this table; tests/models compares ours with it.
    table = {str(i): list(entry) for i, entry in enumerate(imagenet_classes.classes())}
    imagenet_utils.CLASS_INDEX = table
    generator = np.random.default_rng(2)
    cases = {
        "scores": generator.uniform(size=(3, 1000)).astype(np.float32),
        "ties": generator.integers(0, 3, (2, 1000)).astype(np.float32),
    }
    return [
        f"{name} {top}"
        for name, scores in cases.items()
        for top in (1, 5, 1000)
        if keras.applications.vgg16.decode_predictions(scores, top=top)
        != edgezoo.decode_predictions("vgg16", scores, top=top)
    ]


def main() -> None:
    facts = {
        "shapes": shapes(),
        "same_body": same_body(),
        "over_a_tensor": over_a_tensor(),
        "misfits": misfits(),
        "densenet": densenet(),
        "dropouts": dropouts(),
        "preprocessing": preprocessing(),
        "decoding": decoding(),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
