"""The contract to assume for a file without one: options, then what the file states, then values.

What an option says counts. Where none does, metadata of other tools in the file counts, then the
range of a quantized input. Nothing else is guessed: a preprocessing that is not known is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.core.artifact import (
    BINARY,
    LARGEST_SIDE,
    MOST_CLASSES,
    Artifact,
    InputContract,
    WeightsRecord,
)
from edgezoo.core.errors import DataError, RefusedError, UsageError, counted, either, interpreting
from edgezoo.core.input_options import InputOptions
from edgezoo.core.labels import read_labels
from edgezoo.core.protocols import Activation, Hints, Session, TensorInfo
from edgezoo.core.spec import (
    CUSTOM,
    NORMALIZATIONS,
    STRETCH,
    Frame,
    Head,
    Layout,
    Normalization,
    Resize,
)
from edgezoo.inference import input_range
from edgezoo.inference.conversion import dequantize, to_input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BACKGROUND = 1001  # outputs of ImageNet's classes with one for the background
_SUM_TOLERANCE = 1e-3
_HEAD_HINT = (
    "If they are classes all the same, say how: --head softmax, logits, sigmoid or sigmoid-logits. "
    'Features are read with edgezoo.open_artifact(…, head="features") in Python.'
)
_ENDS: dict[Activation | None, Head] = {
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "linear": "logits",
}


@dataclass(frozen=True, slots=True)
class _Input:
    """The input of a file: its tensor, the images that it takes, and its layout."""

    tensor: TensorInfo
    frame: Frame
    layout: Layout


def describe(
    artifact: Artifact, session: Session, hints: Hints, stated: InputOptions
) -> Artifact | None:
    """Return the artifact with the contract to assume, and what to say about it.

    None where its preprocessing is not known. An output other than the first is chosen in the
    session.

    Raises:
        RefusedError: several inputs, outputs that are no classes, a preprocessing that the input
            has no room for.
        UsageError: an option contradicts the file, or the file leaves open what none states.
        DataError: the input is no image.
    """
    path = artifact.path
    with interpreting(path):
        position = _choose(session, stated.output_name, path)
        taken = _input(session, stated, path)
    activation = hints.activations[position] if position < len(hints.activations) else None
    how, notes = _normalization(hints, stated, taken, path)
    if how is None:
        return None
    resize, more = _resize(hints, stated, path)
    names, labels_notes = _labels(hints, stated)
    contract = InputContract(
        model=path.stem,
        precision="int8" if taken.tensor.dtype in ("uint8", "int8") else "float32",
        input_size=taken.frame.height,
        input_width=None if taken.frame.width == taken.frame.height else taken.frame.width,
        channels=1 if taken.frame.channels == 1 else None,
        color_order="GREY" if taken.frame.channels == 1 else "RGB",
        preprocessing=how.mode,
        custom_normalization=how if how.mode == CUSTOM else None,
        crop_fraction=resize.crop_fraction,
        resize_filter=resize.filter,
        resize_mode=None if resize.mode == "crop" else resize.mode,
        weights=WeightsRecord("unknown", ""),
        classes=0,
        input_kind="normalized",
        input_dtype=taken.tensor.dtype,
        output_dtype=session.outputs[0].dtype,
        output_name=session.outputs[0].name if len(session.outputs) > 1 else None,
        layout=taken.layout,
    )
    contract, head_notes = _with_output(contract, session, activation, stated, names, path)
    said = (*notes, *more, *labels_notes, *head_notes)
    return replace(artifact, contract=contract, notes=said)


def _choose(session: Session, wanted: str | None, path: Path) -> int:
    """Choose the output, and return its position in the file."""
    if len(session.inputs) != 1:
        given = ", ".join(tensor.name for tensor in session.inputs)
        raise RefusedError(
            f"{path} has {len(session.inputs)} inputs ({given}), and EdgeZoo feeds one image.",
            "Use a file that takes one image.",
        )
    names = [tensor.name for tensor in session.outputs]
    if wanted is None:
        if len(names) > 1:
            shapes = (f"{t.name} {list(t.shape)}" for t in session.outputs)
            raise RefusedError(
                f"{path} has {len(names)} outputs: {', '.join(shapes)}.",
                "Choose one with --output-name NAME.",
            )
        return 0
    if wanted not in names:
        raise UsageError(f"{path} has no output {wanted!r}.", f"Its outputs: {', '.join(names)}.")
    position = names.index(wanted)
    session.choose_output(position)
    return position


def _input(session: Session, stated: InputOptions, path: Path) -> _Input:
    tensor = session.inputs[0]
    shape, layout = tensor.shape, "NHWC"
    if len(shape) == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        layout = "NCHW"
    if len(shape) != 4 or shape[3 if layout == "NHWC" else 1] not in (1, 3):
        raise DataError(f"{path} takes shape {shape}, which is not one image in colour or grey.")
    height, width, channels = shape[1:] if layout == "NHWC" else (*shape[2:], shape[1])
    asked = stated.size()
    if min(height, width) < 1 and asked is None:
        raise UsageError(
            f"{path} takes images of any size, and does not state which it was trained on.",
            "Give --input-size 224, or height x width: --input-size 96x128.",
        )
    for side, wanted in zip((height, width), asked or (height, width), strict=True):
        if side > 0 and side != wanted:
            raise UsageError(
                f"{path} takes images of {height} x {width} pixels.", "Leave --input-size out."
            )
    height, width = asked or (height, width)
    if max(height, width) > LARGEST_SIDE:
        raise DataError(f"{path} takes images of {height} x {width} pixels.")
    return _Input(tensor, Frame(height, width, channels), "NCHW" if layout == "NCHW" else "NHWC")


def _normalization(
    hints: Hints, stated: InputOptions, taken: _Input, path: Path
) -> tuple[Normalization | None, tuple[str, ...]]:
    """Return the normalization, and where it comes from; None where it is not known."""
    channels, tensor, notes = taken.frame.channels, taken.tensor, list[str]()
    asked, inside = stated.normalization(), hints.normalization
    whole = tensor.dtype == "uint8" and tensor.scale is None
    how = asked or inside
    if asked is not None and inside is not None and asked != inside:
        notes.append(
            f"{path}: the {hints.source} says {text(inside)}, which the options replace by "
            f"{text(asked)}."
        )
    elif asked is None and inside is not None:
        notes.append(f"{path}: preprocessing by its {hints.source}: {text(inside)}.")
    if whole and how is None:
        notes.append(f"{path} takes uint8 without quantization: pixels as they are (raw).")
        how = NORMALIZATIONS["raw"]
    fits = input_range.fitting(tensor, channels)
    if how is None and len(fits) == 1:
        how = fits[0]
        low, high = input_range.real_range(tensor) or (0.0, 0.0)
        notes.append(
            f"{path}: preprocessing {how.mode}, by the range of its quantized input, "
            f"{low:.4g} to {high:.4g}."
        )
    if how is None:
        return None, ()
    try:
        how = how.of_channels(channels)
    except ValueError as error:
        raise UsageError(
            f"{path} takes grey images, and {error}.", "Give --preprocessing unit, tf or none."
        ) from error
    _check_range(how, fits, taken, whole, path)
    return how, tuple(notes)


def _check_range(
    how: Normalization, fits: tuple[Normalization, ...], taken: _Input, whole: bool, path: Path
) -> None:
    """Refuse numbers that the input cannot hold."""
    tensor = taken.tensor
    if whole and how.mode != "raw":
        raise RefusedError(
            f"{path} takes uint8 without quantization, so it normalises inside: --preprocessing "
            f"{how.mode} would leave hardly anything of an image.",
            "Give --preprocessing none, or leave it out.",
        )
    share = input_range.clipped(how, tensor)
    if share > input_range.MOST_CLIPPED:
        low, high = input_range.real_range(tensor) or (0.0, 0.0)
        right = [mode.mode for mode in fits]
        hint = (
            f"Give --preprocessing {either(right)}, or leave it out."
            if right
            else "Give --scale and --offset that stay within this range."
        )
        raise RefusedError(
            f"The quantized input of {path} represents {low:.4g} to {high:.4g}, which clips "
            f"{share:.0%} of the pixel values with {text(how)}.",
            hint,
        )


def text(how: Normalization) -> str:
    """Return a normalization in words."""
    if how.mode != CUSTOM:
        return how.mode
    parts = (how.scale[:1], how.offset[:1]) if how.alike else (how.scale, how.offset)
    scale, offset = (",".join(f"{n:.4g}" for n in part) for part in parts)
    order = " in BGR order" if how.channel_order == "BGR" else ""
    return f"pixel * {scale} + {offset}{order}"


def stretched(path: Path | str) -> str:
    """Return what to say where images are stretched because nothing is known."""
    return (
        f"{path} does not record how images become its input: the whole image is resized to it "
        "(--resize stretch; fit and crop are others)."
    )


def _resize(hints: Hints, stated: InputOptions, path: Path) -> tuple[Resize, tuple[str, ...]]:
    asked = stated.resized(STRETCH)
    if asked is not None:
        if hints.resize not in (None, asked.mode):
            said = (
                f"{path}: the {hints.source} says resize {hints.resize}, which --resize replaces."
            )
            return asked, (said,)
        return asked, ()
    if hints.resize is not None:
        found = Resize(1.0, STRETCH.filter, hints.resize)
        return found, (f"{path}: resize {hints.resize}, by its {hints.source}.",)
    return STRETCH, (stretched(path),)


def _labels(hints: Hints, stated: InputOptions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if stated.labels is None:
        return hints.labels, ()
    names = read_labels(Path(stated.labels))
    if hints.labels and hints.labels != names:
        return names, (f"The labels of the {hints.source} are replaced by {stated.labels}.",)
    return names, ()


def _with_output(
    contract: InputContract,
    session: Session,
    activation: Activation | None,
    stated: InputOptions,
    names: tuple[str, ...],
    path: Path,
) -> tuple[InputContract, tuple[str, ...]]:
    """Add classes, labels and head to a contract."""
    values = _probe(contract, session, path)
    count, asked = values.shape[1], stated.asked_head()
    if not 0 < count <= MOST_CLASSES:
        raise DataError(f"{path} produces {count} values.")
    shape = tuple(n for n in session.outputs[0].shape[1:] if n > 0) or (count,)
    if sum(n > 1 for n in shape) > 1 and asked is None:
        asked = "features"
    head, notes = _head(values, activation, asked, names, session.outputs[0], path)
    if head == "features":
        found = replace(contract, output_kind="features", output_shape=shape)
        return found, notes
    binary = count == 1
    classes = BINARY if binary else 1000 if count == _BACKGROUND else count
    if names and len(names) == count == classes + 1:
        names = names[1:]
    if names and len(names) != classes:
        if stated.labels is None:
            return _unlabelled(contract, head, classes, count, (*notes, _other(names, count, path)))
        raise DataError(
            f"{stated.labels} has {counted(len(names), 'label')}, but the file has "
            f"{counted(count, 'output')}.",
            "One sigmoid has two labels: the second is what its value says." if binary else "",
        )
    found, _ = _unlabelled(contract, head, classes, count, ())
    return replace(found, labels=names), notes


def _unlabelled(
    contract: InputContract, head: Head, classes: int, count: int, notes: tuple[str, ...]
) -> tuple[InputContract, tuple[str, ...]]:
    known = None if head in ("softmax", "features") else head
    # `known` is one of the words that a contract has.
    found = replace(contract, classes=classes, output_shape=(count,), head=known)  # type: ignore[arg-type]
    return found, notes


def _other(names: tuple[str, ...], count: int, path: Path) -> str:
    return f"{path}: its {counted(len(names), 'label')} do not fit {counted(count, 'output')}."


def _probe(contract: InputContract, session: Session, path: Path) -> NDArray[np.float32]:
    """Return the output for one image of noise: float32, shape (1, values)."""
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 256, (1, *contract.frame.shape), np.uint8)
    with interpreting(path):
        raw = session.run(to_input(noise, contract, session.inputs[0]))
        return dequantize(raw, session.outputs[0])


def _head(
    values: NDArray[np.float32],
    activation: Activation | None,
    asked: Head | None,
    names: tuple[str, ...],
    tensor: TensorInfo,
    path: Path,
) -> tuple[Head, tuple[str, ...]]:
    """Return what the values of an output are, and what to say about it."""
    count = values.shape[1]
    sums = _sum_to_one(values, tensor)
    if asked is not None:
        _check_stated(asked, activation, values, sums, path)
        return asked, ()
    head = _ENDS.get(activation)
    if head in (None, "logits") and sums:
        head = "softmax"
    if head == "softmax" and count == 1:
        raise RefusedError(
            f"{path} gives one value behind a softmax, which is 1 for every image.",
            "Use another file: nothing can be read from this one.",
        )
    if head == "logits" and count == 1:
        if len(names) != BINARY:
            raise RefusedError(
                f"{path} gives one value without a sigmoid: it may be a measured number as well "
                "as a class.",
                "If it is the logit of the second of two classes, say --head sigmoid-logits.",
            )
        head = "sigmoid-logits"
    if head is None:
        found = f"sum to {float(values.sum()):.3g} and end in no activation of a classifier"
        return "features", (f"The {count} outputs of {path} {found}: features.",)
    notes: dict[Head, str] = {
        "logits": f"{path} ends without a softmax: its outputs are taken as logits, and a softmax "
        "makes probabilities of them (--head features, if they are none).",
        "sigmoid-logits": f"{path} ends without a sigmoid, which makes a probability of its "
        "output.",
    }
    if head == "sigmoid" and count > 1:
        return head, (
            f"{path} has a sigmoid for each output: its classes do not exclude one another.",
        )
    return head, (notes[head],) if head in notes else ()


def _sum_to_one(values: NDArray[np.float32], tensor: TensorInfo) -> bool:
    step = tensor.scale or 0.0
    tolerance = _SUM_TOLERANCE + step * values.shape[1] / 2
    near = abs(float(values.sum()) - 1) <= min(tolerance, 0.5)
    return values.shape[1] > 1 and near and float(values.min()) >= 0


def _check_stated(
    asked: Head, activation: Activation | None, values: NDArray[np.float32], sums: bool, path: Path
) -> None:
    """Refuse an option that the file contradicts."""
    low, high = float(values.min()), float(values.max())
    why = None
    if asked == "softmax" and not sums and activation != "softmax":
        why = f"the outputs sum to {float(values.sum()):.3g}, not to 1"
    elif asked == "sigmoid" and not 0 <= low <= high <= 1:
        why = f"the outputs go from {low:.3g} to {high:.3g}, not from 0 to 1"
    elif asked in ("logits", "sigmoid-logits") and activation in ("softmax", "sigmoid"):
        why = f"a {activation} ends the file"
    if why:
        raise RefusedError(f"--head {asked} contradicts {path}: {why}.", "Leave --head out.")


def not_classes(path: Path, shape: tuple[int, ...]) -> RefusedError:
    """Return the refusal of a file whose output is features."""
    sides = " x ".join(map(str, shape))
    return RefusedError(
        f"{path} produces features ({sides}), an embedding, instead of classes.", _HEAD_HINT
    )
