"""InceptionV3 on an input tensor of one's own, made into files.

    python docs/examples/custom_input_inceptionv3.py PHOTO.jpg

The fifth usage example of https://keras.io/api/applications/: a network that takes 224 pixels,
where ImageNet's weights were trained at 299.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from _options import parse

import edgezoo
from edgezoo.images.preprocessing import load_pixels


def main() -> None:
    """Run the example."""
    given = parse(__doc__ or "", 224)
    import keras

    # This could also be the output of another Keras layer.
    input_tensor = keras.Input((given.input_size, given.input_size, 3))
    network = edgezoo.build("inceptionv3", input_tensor=input_tensor, weights=given.weights)
    pixels = load_pixels(given.picture, given.input_size)[None]
    scores = network.predict(edgezoo.preprocess_input("inceptionv3", pixels), verbose=0)
    print("Keras:", edgezoo.decode_predictions("inceptionv3", scores, top=3)[0])

    with TemporaryDirectory() as folder:
        weights = Path(folder, "inceptionv3.weights.h5")
        network.save_weights(weights)
        made = edgezoo.export(
            "inceptionv3", input_size=given.input_size, weights=str(weights),
            formats=given.format, output=given.output,
        )  # fmt: skip
    for entry in made.artifacts:
        (answer,) = edgezoo.classify(entry["path"], [given.picture], top=3).results
        best = [(found.label, round(found.probability, 4)) for found in answer.classes]
        print(f"{entry['path']} ({entry['verification']['verdict']}):", best)


if __name__ == "__main__":
    main()
