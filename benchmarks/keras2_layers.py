"""Does EdgeZoo read what Keras 2 wrote? Each layer class of tf_keras, as .h5 and as .keras.

    python benchmarks/keras2_layers.py --python OTHER/bin/python

OTHER is an environment with tf_keras, tensorflow and h5py; tf_keras must not be installed where
EdgeZoo is. It writes one network for each layer, with the answers of Keras 2 to four images. Then
EdgeZoo loads the files and compares. The result goes to benchmarks/results/keras2_layers.json.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

SIZE, IMAGES, BOUND = 16, 4, 1e-5
KINDS = (".h5", ".keras")
# Base classes, and layers that do not work on images.
LEFT_OUT = {
    "AbstractRNNCell",
    "CategoryEncoding",
    "DenseFeatures",
    "HashedCrossing",
    "Hashing",
    "InputLayer",
    "InputSpec",
    "IntegerLookup",
    "Lambda",
    "Layer",
    "StringLookup",
    "TextVectorization",
    "Wrapper",
}
_ACTIVATIONS = """
elu exponential gelu hard_sigmoid linear mish relu selu sigmoid softmax softplus softsign swish tanh
"""


def cases(of: Any) -> dict[str, Callable[[Any], Any]]:
    """A function of an image's tensor for each layer class of Keras 2."""

    def flat(layer: Any) -> Callable[[Any], Any]:
        return lambda x: layer(of.Reshape((16, 48))(x))

    def deep(layer: Any) -> Callable[[Any], Any]:
        return lambda x: layer(of.Reshape((4, 8, 8, 3))(x))

    def pair(layer: Any) -> Callable[[Any], Any]:
        return lambda x: layer([x, of.ReLU()(x)])

    def tokens(layer: Any) -> Callable[[Any], Any]:
        return flat(lambda x: layer([x, x]))

    found: dict[str, Callable[[Any], Any]] = {
        "AdditiveAttention": tokens(of.AdditiveAttention()),
        "Attention": tokens(of.Attention()),
        "MultiHeadAttention": flat(lambda x: of.MultiHeadAttention(2, 4)(x, x)),
        "Bidirectional": flat(of.Bidirectional(of.GRU(3))),
        "TimeDistributed": deep(of.TimeDistributed(of.Conv2D(2, 3))),
        "SpectralNormalization": of.SpectralNormalization(of.Conv2D(4, 3)),
        "RNN": flat(of.RNN(of.LSTMCell(3))),
        "StackedRNNCells": flat(of.RNN(of.StackedRNNCells([of.LSTMCell(3), of.GRUCell(2)]))),
        "LSTMCell": flat(of.RNN(of.LSTMCell(3))),
        "GRUCell": flat(of.RNN(of.GRUCell(3))),
        "SimpleRNNCell": flat(of.RNN(of.SimpleRNNCell(3))),
        "LSTM": flat(of.LSTM(3, recurrent_activation="hard_sigmoid")),
        "GRU": flat(of.GRU(3, reset_after=False)),
        "SimpleRNN": flat(of.SimpleRNN(3)),
        "ConvLSTM1D": lambda x: of.ConvLSTM1D(2, 3)(of.Reshape((4, 16, 12))(x)),
        "ConvLSTM2D": deep(of.ConvLSTM2D(2, 3)),
        "ConvLSTM3D": lambda x: of.ConvLSTM3D(2, 2)(of.Reshape((2, 4, 4, 8, 3))(x)),
        "Discretization": of.Discretization([0.2, 0.5]),
        "Embedding": lambda x: of.Embedding(9, 2)(of.Discretization([0.2, 0.5])(of.Flatten()(x))),
        "EinsumDense": of.EinsumDense("bhwc,cd->bhwd", (16, 16, 4)),
        "Normalization": of.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3]),
        "GroupNormalization": of.GroupNormalization(3),
        "Dot": tokens(of.Dot(2)),
        "Permute": of.Permute((3, 1, 2)),
        "Reshape": of.Reshape((8, 32, 3)),
        "RepeatVector": lambda x: of.RepeatVector(2)(of.Flatten()(x)),
        "Masking": flat(of.Masking()),
        "CenterCrop": of.CenterCrop(8, 8),
        "RandomCrop": of.RandomCrop(8, 8),
        "RandomHeight": lambda x: of.GlobalAveragePooling2D()(of.RandomHeight(0.1)(x)),
        "RandomWidth": lambda x: of.GlobalAveragePooling2D()(of.RandomWidth(0.1)(x)),
        "RandomTranslation": of.RandomTranslation(0.1, 0.1),
        "Resizing": of.Resizing(8, 8),
        "Rescaling": of.Rescaling(0.5, 0.1),
        "Activation": of.Activation("relu"),
        "Dense": of.Dense(4),
        "ReLU": of.ReLU(2.0, 0.1, 0.2),
        "Softmax": of.Softmax([1, 2]),
        "LayerNormalization": of.LayerNormalization([1, 2]),
    }
    for name in ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"):
        found[name] = pair(getattr(of, name)())
    for end, reshape in (("1D", flat), ("2D", lambda layer: layer), ("3D", deep)):
        for name in ("Conv", "LocallyConnected", "SeparableConv"):
            if hasattr(of, name + end):
                found[name + end] = reshape(getattr(of, name + end)(3, 2))
        for name in ("Cropping", "UpSampling", "ZeroPadding", "GlobalAveragePooling",
                     "GlobalMaxPooling", "AveragePooling", "MaxPooling"):  # fmt: skip
            found[name + end] = reshape(getattr(of, name + end)())
        found[f"SpatialDropout{end}"] = reshape(getattr(of, f"SpatialDropout{end}")(0.2))
        found[f"Conv{end}Transpose"] = reshape(getattr(of, f"Conv{end}Transpose")(3, 2))
        if end != "3D":
            found[f"DepthwiseConv{end}"] = reshape(getattr(of, f"DepthwiseConv{end}")(2))
    for name in ("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "RandomBrightness",
                 "RandomContrast", "RandomRotation", "RandomZoom"):  # fmt: skip
        found[name] = getattr(of, name)(0.2)
    for name in sorted(dir(of)):
        kind = getattr(of, name)
        if inspect.isclass(kind) and kind.__name__ == name and name not in {*found, *LEFT_OUT}:
            found[name] = cast("Callable[[Any], Any]", kind())
    for word in _ACTIVATIONS.split():
        found[f"activation {word}"] = of.Activation(word)
    return found


def write(folder: Path) -> None:
    """Write the files of all cases and Keras 2's answers; runs where tf_keras is."""
    import numpy as np

    keras = importlib.import_module("tf_keras")

    of = keras.layers
    images = np.random.default_rng(0).uniform(0, 1, (IMAGES, SIZE, SIZE, 3)).astype("float32")
    np.save(folder / "images.npy", images)
    told = {}
    for name, layer in cases(of).items():
        keras.utils.set_random_seed(1)
        image = keras.Input((SIZE, SIZE, 3))
        stem = name.replace(" ", "_")
        try:
            x = layer(of.Rescaling(4.0, -2.0)(image) if name.startswith("activation") else image)
            network = keras.Model(image, of.Dense(4)(of.Flatten()(x)))
            np.save(folder / f"{stem}.npy", network.predict(images, verbose=0))
            for kind in KINDS:
                network.save(folder / f"{stem}{kind}")
            told[name] = ""
        except Exception as error:
            told[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    (folder / "written.json").write_text(json.dumps(told))


def read(folder: Path) -> list[dict[str, Any]]:
    """Load what `write` wrote, and compare; runs where EdgeZoo is."""
    import numpy as np

    from edgezoo.core.errors import EdgeZooError
    from edgezoo.formats.keras_files import load_network

    images, rows = np.load(folder / "images.npy"), []
    for name, failure in json.loads((folder / "written.json").read_text()).items():
        stem = name.replace(" ", "_")
        row: dict[str, Any] = {"layer": name, "not_written": failure or None}
        for kind in KINDS if not failure else ():
            try:
                network = load_network.load(folder / f"{stem}{kind}")
                got, wanted = network.predict(images, verbose=0), np.load(folder / f"{stem}.npy")
                row[kind] = float(np.abs(got - wanted).max())
            except EdgeZooError as error:
                row[kind] = error.message.replace(str(folder), "").removeprefix("/")
            except Exception as error:  # Keras 3 fails on what it has loaded
                row[kind] = math.inf
                print(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="interpreter of an environment with tf_keras")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    if given.write:
        write(given.write)
        return
    with tempfile.TemporaryDirectory() as folder:
        own = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": ""}
        command = [given.python, __file__, "--write", folder]
        subprocess.run(command, check=True, env=own, stderr=subprocess.DEVNULL)
        rows = read(Path(folder))
    result = Path(__file__).parent / "results/keras2_layers.json"
    result.write_text(json.dumps({"bound": BOUND, "layers": rows}, indent=1) + "\n")
    wrong = [row for row in rows for kind in KINDS
             if isinstance(row.get(kind), float) and not row[kind] <= BOUND]  # fmt: skip
    for row in rows:
        if row in wrong or any(isinstance(row.get(kind), str) for kind in KINDS):
            print(row)
    print(f"{len(rows)} layers, {len(wrong)} differ by more than {BOUND}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    main()
