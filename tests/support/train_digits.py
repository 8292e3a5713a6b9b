"""Trains a small MobileNet on scikit-learn's digits and writes it with its pictures.

Run in a process of its own (it loads TensorFlow): python train_digits.py OUTPUT WNID...
(ten wnids, for the digits 0 to 9). Writes weights.h5, network.keras, calibration/<wnid>/*.png,
test/<wnid>/*.png and facts.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIZE = 32
STORED = 37  # the side before the centre crop of 32, so that nothing is resampled
CALIBRATION, TEST = 200, 400
EPOCHS, BATCH = 16, 32
# Ink and paper differ in each channel, so that swapped channels give other answers.
INK, PAPER = np.array([235.0, 150.0, 60.0]), np.array([20.0, 45.0, 90.0])


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """All digits: uint8 RGB (n, 37, 37, 3) and their classes, in a seeded order."""
    digits = load_digits()
    generator = np.random.default_rng(0)
    order = generator.permutation(len(digits.target))
    grey = digits.images[order] / 16
    drawn = np.empty((len(grey), STORED, STORED, 3), np.uint8)
    for i, values in enumerate(grey):
        mask = Image.fromarray((values * 255).astype(np.uint8)).resize((SIZE, SIZE), 2)
        canvas = np.zeros((STORED, STORED))
        canvas[2 : 2 + SIZE, 2 : 2 + SIZE] = np.asarray(mask) / 255
        light = generator.uniform(0.8, 1.05)
        drawn[i] = np.clip((PAPER + canvas[..., None] * (INK - PAPER)) * light, 0, 255)
    return drawn, digits.target[order]


def crop(images: np.ndarray) -> np.ndarray:
    """What `edgezoo.images.preprocessing.load_pixels` gives for them at 32 px."""
    return images[:, 2 : 2 + SIZE, 2 : 2 + SIZE]


def shifted(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Crops that stand up to two pixels off the centre."""
    moved = np.empty((len(images), SIZE, SIZE, 3), np.uint8)
    for i, (top, left) in enumerate(generator.integers(0, STORED - SIZE, (len(images), 2))):
        moved[i] = images[i, top : top + SIZE, left : left + SIZE]
    return moved


def write(folder: Path, images: np.ndarray, classes: np.ndarray, wnids: list[str]) -> None:
    for i, (pixels, digit) in enumerate(zip(images, classes, strict=True)):
        place = folder / wnids[digit]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i:04}.png")


def main(output: Path, wnids: list[str]) -> None:
    images, classes = pictures()
    test, rest = slice(0, TEST), slice(TEST, None)
    write(output / "test", images[test], classes[test], wnids)
    write(output / "calibration", images[rest][:CALIBRATION], classes[rest][:CALIBRATION], wnids)

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(0)
    network = keras.applications.MobileNet(
        input_shape=(SIZE, SIZE, 3), alpha=0.25, weights=None, classes=1000
    )
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # statistics settle within these few epochs
    rate = keras.optimizers.schedules.CosineDecay(4e-3, EPOCHS * (len(classes[rest]) // BATCH))
    network.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", jit_compile=False
    )
    generator = np.random.default_rng(1)
    for _ in range(EPOCHS):
        x = shifted(images[rest], generator).astype(np.float32) / 127.5 - 1
        network.fit(x, classes[rest], batch_size=BATCH, verbose=0)
    answers = network.predict(crop(images[test]).astype(np.float32) / 127.5 - 1, verbose=0)
    top1 = float(np.mean(answers.argmax(1) == classes[test]))
    save_legacy(network, output / "weights.h5")
    network.save(str(output / "network.keras"))
    facts = {"top1": top1, "spread": float(answers.max(1).mean())}
    (output / "facts.json").write_text(json.dumps(facts))


def save_legacy(network: object, path: Path) -> None:
    """The HDF5 layout in which Keras publishes its ImageNet weights."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
