"""Features of a photograph from an inner layer of VGG19, with the exported files.

    python docs/examples/layer_features_vgg19.py PHOTO.jpg

The third usage example of https://keras.io/api/applications/: the output of `block4_pool`. Only the
layers up to it are in the files.
"""

from __future__ import annotations

from _options import parse

import edgezoo
from edgezoo.images.preprocessing import load_pixels
from edgezoo.inference.predict import predict

LAYER = "block4_pool"


def main() -> None:
    """Run the example."""
    given = parse(__doc__ or "", 224)
    made = edgezoo.export(
        "vgg19", include_top=False, output_layer=LAYER, weights=given.weights,
        input_size=given.input_size, format=given.format, output=given.output,
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
