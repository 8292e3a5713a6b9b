"""Teach InceptionV3 new classes: the top first, then the last blocks; and make files of it.

    python docs/examples/finetune_inceptionv3.py FOLDER

The fourth usage example of https://keras.io/api/applications/, in Keras' own words; FOLDER holds a
folder of pictures for each class. `edgezoo finetune inceptionv3 --data FOLDER` does all of it, and
watches over the training.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import edgezoo

# The two last inception blocks of the three hundred layers.
FIRST_TO_LEARN = 249


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder with a folder a class")
    parser.add_argument("--weights", default="imagenet", help="imagenet (default), random, a file")
    parser.add_argument("--input-size", type=int, default=299, metavar="PX")
    parser.add_argument("--epochs", type=int, default=5, help="of the top, and of the blocks")
    parser.add_argument("--format", default="all", help="tflite, onnx, openvino or all (default)")
    parser.add_argument("-o", "--output", type=Path, default=Path("exported"), metavar="DIR")
    return parser.parse_args()


def train(network: Any, given: argparse.Namespace) -> Any:
    """Train a base without a top, and what is put on it.

    Returns:
        The network with a top, and the names of its classes.
    """
    import keras

    size = (given.input_size, given.input_size)
    pictures = keras.utils.image_dataset_from_directory(
        given.data, image_size=size, crop_to_aspect_ratio=True, seed=0, verbose=False
    )
    names = pictures.class_names
    # What edgezoo.preprocess_input("inceptionv3", …) computes.
    ready = pictures.map(lambda pixels, label: (pixels / 127.5 - 1, label))

    hidden = keras.layers.Dense(1024, activation="relu")(network.output)
    answer = keras.layers.Dense(len(names), activation="softmax")(hidden)
    model = keras.Model(network.input, answer, name="inceptionv3_own_classes")

    for layer in network.layers:
        layer.trainable = False
    # Of two thousand inputs each, a fresh top is thrown far off by Keras' usual 0.001.
    model.compile(keras.optimizers.RMSprop(0.0001), "sparse_categorical_crossentropy")
    model.fit(ready, epochs=given.epochs, verbose=2)

    for layer in model.layers[FIRST_TO_LEARN:]:
        layer.trainable = True
    slow = keras.optimizers.SGD(learning_rate=0.0001, momentum=0.9)
    model.compile(slow, "sparse_categorical_crossentropy")
    model.fit(ready, epochs=given.epochs, verbose=2)
    return model, names


def main() -> None:
    """Run the example."""
    given = arguments()
    base = edgezoo.build(
        "inceptionv3", include_top=False, pooling="avg", weights=given.weights,
        input_size=given.input_size,
    )  # fmt: skip
    model, names = train(base, given)
    with TemporaryDirectory() as folder:
        path, labels = Path(folder, f"{model.name}.keras"), Path(folder, "labels.txt")
        model.save(path)
        labels.write_text("\n".join(names) + "\n", encoding="utf-8")
        made = edgezoo.export(
            str(path), preprocessing="tf", labels=labels, formats=given.format,
            output=given.output,
        )  # fmt: skip
    picture = next(path for path in sorted(given.data.rglob("*.*")) if path.is_file())
    for entry in made.artifacts:
        (answer,) = edgezoo.classify(entry["path"], [picture], top=2).results
        best = [(found.label, round(found.probability, 4)) for found in answer.classes]
        print(f"{entry['path']} ({entry['verification']['verdict']}):", best)


if __name__ == "__main__":
    main()
