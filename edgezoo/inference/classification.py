"""Classify image files; needs only numpy, Pillow and one runtime."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.core.errors import DataError
from edgezoo.core.ran_on import RanOn, Remote
from edgezoo.core.sequences import OneOrMany, PathLike, path, paths
from edgezoo.core.typed_json import Count, JsonObject, optional

if TYPE_CHECKING:
    from edgezoo.core.artifact import InputContract


@dataclass(frozen=True, slots=True)
class ClassScore:
    """A class and its probability."""

    index: Count
    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class ImageClasses:
    """The most probable classes of an image.

    Attributes:
        classes: best first
    """

    image: Path
    classes: tuple[ClassScore, ...]


@dataclass(frozen=True, slots=True)
class ClassifyResult(JsonObject):
    """The classes of images by one file.

    Attributes:
        trained: false where the weights are random
        ran_on: what the runtime reports that it ran on
    """

    artifact: Path
    trained: bool
    ran_on: RanOn
    results: tuple[ImageClasses, ...]
    remote: Remote | None = optional()


def classify(
    artifact: PathLike,
    images: OneOrMany[PathLike],
    *,
    top: int = 5,
    device: str = "cpu",
    runtime: str | None = None,
    threads: int = 1,
    preprocessing: str | None = None,
    labels: PathLike | None = None,
    trust: bool = False,
    on: str | None = None,
) -> ClassifyResult:
    """Classify image files.

    Args:
        artifact: a .tflite, .onnx or .xml file.
        images: image files.
        top: number of classes to return for each image.
        device: "cpu", "gpu" or "coral"; one that is not available is refused.
        runtime: name of a runtime to use instead of the usual one of the format.
        threads: of the runtime.
        preprocessing, labels: for a file without a contract.
        trust: allow a Keras model to run the code that it contains.
        on: a device to run on, as ssh://user@host; see `remote.device.call`.

    Raises:
        RefusedError: the file produces features instead of classes.
        UsageError, MissingError, DataError: the file cannot be run, or an image cannot be read.
    """
    if on is not None:
        from edgezoo.system import remote

        result, place = remote.call_limited(
            on,
            ("artifact",),
            classify,
            artifact=Path(artifact),
            images=paths(images),
            top=top,
            device=device,
            runtime=runtime,
            threads=threads,
            preprocessing=preprocessing,
            labels=path(labels),
            trust=trust,
        )
        return replace(result, remote=place)
    # Not at the top: the process that calls this one in a child needs the types alone.
    import numpy as np

    from edgezoo.images.preprocessing import load_pixels
    from edgezoo.inference.predict import open_artifact, predict, require_classes

    opening = partial(open_artifact, preprocessing=preprocessing, labels=labels, trust=trust)
    opened, session = opening(artifact, device=device, runtime=runtime, threads=threads)
    contract = opened.required_contract()
    results = []
    with session:
        require_classes(opened)
        for image in paths(images):
            pixels = load_pixels(image, contract.input_size, contract.resize)
            scores = predict(session, contract, pixels[None])[0]
            if not np.isfinite(scores).all():
                raise DataError(f"{artifact} produces values that are not numbers for {image}.")
            best = np.argsort(-scores, kind="stable")[: max(1, top)]
            classes = (ClassScore(int(i), label(contract, int(i)), float(scores[i])) for i in best)
            results.append(ImageClasses(image, tuple(classes)))
    trained = contract.weights.trained
    return ClassifyResult(Path(artifact), trained, session.ran_on, tuple(results))


def label(contract: InputContract, index: int) -> str:
    """Return the name of a class, or its number where the file has no names."""
    return contract.labels[index] if index < len(contract.labels) else f"class {index}"
