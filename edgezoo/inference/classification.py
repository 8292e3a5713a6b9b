"""Names what is on a picture; runs on a device with numpy, Pillow and one runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgezoo.core import typed_json
from edgezoo.core.artifact import InputContract
from edgezoo.core.errors import DataError
from edgezoo.images.preprocessing import load_pixels
from edgezoo.inference.predict import open_artifact, predict, require_classes
from edgezoo.system import remote


def classify(
    artifact: Path | str,
    images: Sequence[Path | str],
    *,
    top: int = 5,
    device: str = "cpu",
    runtime: str | None = None,
    threads: int = 1,
    preprocessing: str | None = None,
    labels: Path | str | None = None,
    trust: bool = False,
    on: str | None = None,
) -> dict[str, Any]:
    """Classify image files.

    Args:
        artifact: a .tflite, .onnx or .xml file.
        images: image files.
        top: how many classes to name.
        device: "cpu", "gpu" or "coral"; one that is not there is refused.
        runtime: name of another runtime than the usual one of the format.
        threads: of the runtime.
        preprocessing, labels: for a file without a contract of EdgeZoo's.
        trust: code in a network of Keras may run.
        on: a device to run it on, as ssh://user@host; see `remote.device.call`.

    Returns:
        {"artifact", "trained", "ran_on", "results": [{"image", "classes": [{"index", "label",
        "probability"}]}]}, best class first; "ran_on" is what the runtime says it ran on.

    Raises:
        EdgeZooError: what stands in the way, in words.
    """
    if on is not None:
        facts, place = remote.call_limited(
            on,
            ("artifact",),
            classify,
            artifact=Path(artifact),
            images=[Path(image) for image in images],
            top=top,
            device=device,
            runtime=runtime,
            threads=threads,
            preprocessing=preprocessing,
            labels=labels and Path(labels),
            trust=trust,
        )
        return {**facts, "remote": typed_json.encode(place)}
    import numpy as np

    opened, session = open_artifact(
        artifact,
        preprocessing=preprocessing,
        labels=labels,
        trust=trust,
        device=device,
        runtime=runtime,
        threads=threads,
    )
    contract = opened.required_contract()
    results = []
    with session:
        require_classes(opened)
        for image in images:
            pixels = load_pixels(Path(image), contract.input_size, contract.resize)
            scores = predict(session, contract, pixels[None])[0]
            if not np.isfinite(scores).all():
                raise DataError(f"{artifact} gives figures that are no numbers for {image}.")
            best = np.argsort(-scores, kind="stable")[: max(1, top)]
            classes = [
                {"index": int(i), "label": label(contract, int(i)), "probability": float(scores[i])}
                for i in best
            ]
            results.append({"image": str(image), "classes": classes})
    return {
        "artifact": str(artifact),
        "trained": contract.weights.trained,
        "ran_on": asdict(session.ran_on),
        "results": results,
    }


def label(contract: InputContract, index: int) -> str:
    """The name of a class, or its number where the file has no names."""
    return contract.labels[index] if index < len(contract.labels) else f"class {index}"
