"""Features of a photograph from VGG16 without its top, with the exported files.

    python docs/examples/features_vgg16.py PHOTO.jpg

The second usage example of https://keras.io/api/applications/. On a device the same lines run with
`pip install edgezoo[tflite]`: everything from `open_artifact` on needs no Keras.
"""

from __future__ import annotations

from _options import parse

import edgezoo
from edgezoo.images.preprocessing import load_pixels
from edgezoo.inference.predict import predict


def main() -> None:
    """Run the example."""
    given = parse(__doc__ or "", 224)
    made = edgezoo.export(
        "vgg16", include_top=False, weights=given.weights, input_size=given.input_size,
        format=given.format, output=given.output,
    )  # fmt: skip
    pixels = load_pixels(given.image, given.input_size)[None]
    for entry in made.artifacts:
        artifact, session = edgezoo.open_artifact(entry.path)
        with session:
            features = predict(session, artifact.required_contract(), pixels)
        check = entry.verification
        print(f"{entry.path} ({check.verdict}, cosine {check.cosine:.6f}):", features.shape)


if __name__ == "__main__":
    main()
