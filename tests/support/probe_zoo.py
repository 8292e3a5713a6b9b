"""Builds networks of the zoo without weights and prints what they are, as one JSON object.

Run by tests/networks/test_building.py in a child process, since it loads TensorFlow.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgezoo.core import registry
from edgezoo.networks.building import multiply_adds


def function(name: str) -> Any:
    """The function that builds a model."""
    spec = registry.model(name)
    return getattr(importlib.import_module(spec.module), spec.keras_name)


def counts(name: str) -> list[int]:
    """Parameters, multiply-adds and depth at the default size."""
    size = registry.model(name).default_input_size
    network = function(name)(weights=None, input_shape=(size, size, 3))
    depth = sum(bool(layer.weights) for layer in network.layers)
    return [network.count_params(), multiply_adds(network), depth]


def widths(name: str) -> dict[str, int]:
    """Parameters at each width that has ImageNet weights."""
    spec = registry.model(name)
    assert spec.width
    return {
        str(alpha): function(name)(
            alpha=alpha, weights=None, input_shape=(32, 32, 3)
        ).count_params()
        for alpha in spec.width.alpha_codes
    }


def headless(name: str) -> list[list[int | None]]:
    """Output shapes with the arguments that Keras Applications functions share."""
    options = {"weights": None, "input_shape": (64, 64, 3)}
    build = function(name)
    return [
        list(build(include_top=False, **options).output.shape),
        list(build(include_top=False, pooling="avg", **options).output.shape),
        list(build(classes=7, classifier_activation=None, **options).output.shape),
    ]


def efficientnet(folder: Path) -> dict[str, float]:
    """Largest differences to the network that Keras builds when it loads ImageNet's weights."""
    from keras.src.applications import efficientnet as source

    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (2, 224, 224, 3)).astype(np.float32)
    options = {"input_shape": (224, 224, 3), "classifier_activation": None}
    bare = keras.applications.EfficientNetB0(weights=None, **options)
    norm = next(x for x in bare.layers if isinstance(x, keras.layers.Normalization))
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    norm.set_weights([np.array(mean, np.float32), np.array(deviation, np.float32), np.int32(1)])
    path = folder / "models" / "efficientnetb0.h5"
    path.parent.mkdir()
    bare.save(path)
    ours = function("efficientnetb0")(weights=None, **options)
    for network in (ours, bare):
        network.load_weights(path)
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    source.WEIGHTS_HASHES["b0"] = (digest, "")
    theirs = keras.applications.EfficientNetB0(weights="imagenet", **options)
    answers = [network.predict_on_batch(pixels) for network in (ours, theirs, bare)]
    spread = answers[1].std()
    return {
        "imagenet": float(np.abs(answers[0] - answers[1]).max() / spread),
        "bare": float(np.abs(answers[2] - answers[1]).max() / spread),
    }


def main() -> None:
    names, with_widths, folder = sys.argv[1].split(","), sys.argv[2].split(","), Path(sys.argv[3])
    facts = {
        "counts": {name: counts(name) for name in names},
        "widths": {name: widths(name) for name in with_widths},
        "headless": {name: headless(name) for name in ("efficientnet_lite0", "efficientnetb0")},
        "efficientnetb0": efficientnet(folder),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
