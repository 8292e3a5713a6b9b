"""Classify image files; needs only numpy, Pillow and one runtime."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.core.errors import DataError, UsageError
from edgezoo.core.input_options import InputOptions, Size
from edgezoo.core.ran_on import RanOn, Remote
from edgezoo.core.sequences import OneOrMany, PathLike, path, paths
from edgezoo.core.spec import THRESHOLD
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
        above_threshold: indices of all classes that are found, where classes do not exclude one
            another
    """

    image: Path
    classes: tuple[ClassScore, ...]
    above_threshold: tuple[Count, ...] | None = optional()


@dataclass(frozen=True, slots=True)
class ClassifyResult(JsonObject):
    """The classes of images by one file.

    Attributes:
        trained: false where the weights are random
        ran_on: what the runtime reports that it ran on
        notes: what was assumed for a file without a contract
    """

    artifact: Path
    trained: bool
    ran_on: RanOn
    results: tuple[ImageClasses, ...]
    remote: Remote | None = optional()
    notes: tuple[str, ...] | None = optional()


def classify(
    artifact: PathLike,
    images: OneOrMany[PathLike],
    *,
    top: int = 5,
    device: str = "cpu",
    runtime: str | None = None,
    threads: int = 1,
    preprocessing: str | None = None,
    scale: OneOrMany[float] | None = None,
    offset: OneOrMany[float] | None = None,
    bgr: bool = False,
    resize: str | None = None,
    crop_fraction: float | None = None,
    input_size: Size | None = None,
    labels: PathLike | None = None,
    head: str | None = None,
    output_name: str | None = None,
    threshold: float = THRESHOLD,
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
        preprocessing, scale, offset, bgr, resize, crop_fraction: for a file without a contract; see
            `open_artifact`.
        input_size, labels, head, output_name: the same.
        threshold: least probability of a class that does not exclude others.
        trust: allow a Keras model to run the code that it contains.
        on: a device to run on, as ssh://user@host; see `remote.device.call`.

    Raises:
        RefusedError: the file produces features instead of classes.
        UsageError, MissingError, DataError: the file cannot be run, or an image cannot be read.
    """
    stated = InputOptions(
        preprocessing,
        scale,
        offset,
        bgr,
        resize,
        crop_fraction,
        input_size,
        labels,
        head,
        output_name,
    )
    if not 0 <= threshold <= 1:
        raise UsageError(f"--threshold {threshold:g} is no probability.", "Give 0 to 1.")
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
            scale=scale,
            offset=offset,
            bgr=bgr,
            resize=resize,
            crop_fraction=crop_fraction,
            input_size=input_size,
            labels=path(labels),
            head=head,
            output_name=output_name,
            threshold=threshold,
            trust=trust,
        )
        return replace(result, remote=place)
    # Not at the top: the process that calls this one in a child needs the types alone.
    import numpy as np

    from edgezoo.images.preprocessing import load_pixels
    from edgezoo.inference import heads
    from edgezoo.inference.predict import open_as_stated, require_classes, values_of

    opened, session = open_as_stated(artifact, stated, device, runtime, threads, trust)
    contract = opened.required_contract()
    results = []
    with session:
        require_classes(opened)
        for image in paths(images):
            pixels = load_pixels(image, contract.frame, contract.resize)
            values = values_of(session, contract, pixels[None])
            scores = heads.probabilities(values, contract)[0]
            if not np.isfinite(scores).all():
                raise DataError(f"{artifact} produces values that are not numbers for {image}.")
            order = heads.ranking(values, contract)[0]
            best = np.argsort(-order, kind="stable")[: max(1, top)]
            classes = (ClassScore(int(i), label(contract, int(i)), float(scores[i])) for i in best)
            above = np.flatnonzero(scores >= threshold) if contract.multi_label else None
            chosen = None if above is None else tuple(map(int, above))
            results.append(ImageClasses(image, tuple(classes), chosen))
    notes = opened.notes or None
    return ClassifyResult(
        Path(artifact), contract.weights.trained, session.ran_on, tuple(results), notes=notes
    )


def label(contract: InputContract, index: int) -> str:
    """Return the name of a class, or its number where the file has no names."""
    return contract.labels[index] if index < len(contract.labels) else f"class {index}"
