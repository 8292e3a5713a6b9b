"""Classify a photograph with ResNet50, in Keras and then in the files made of it.

    python docs/examples/classify_resnet50.py PHOTO.jpg

The first usage example of https://keras.io/api/applications/.
"""

from __future__ import annotations

from _options import parse

import edgezoo
from edgezoo.images.preprocessing import load_pixels


def main() -> None:
    """Run the example."""
    given = parse(__doc__ or "", 224)
    network = {"weights": given.weights, "input_size": given.input_size}

    pixels = load_pixels(given.picture, given.input_size)[None]
    keras_model = edgezoo.build("resnet50", **network)
    scores = keras_model.predict(edgezoo.preprocess_input("resnet50", pixels), verbose=0)
    print("Keras:", edgezoo.decode_predictions("resnet50", scores, top=3)[0])

    made = edgezoo.export("resnet50", formats=given.format, output=given.output, **network)
    for entry in made.artifacts:
        (answer,) = edgezoo.classify(entry["path"], [given.picture], top=3).results
        best = [(found.label, round(found.probability, 4)) for found in answer.classes]
        print(f"{entry['path']} ({entry['verification']['verdict']}):", best)


if __name__ == "__main__":
    main()
