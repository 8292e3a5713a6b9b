"""What a user states about a file or network without a contract.

Each option replaces what the file itself states in other terms; see `inference.assumed`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from edgezoo.core.errors import UsageError, did_you_mean
from edgezoo.core.labels import preprocessing_mode
from edgezoo.core.sequences import OneOrMany, many
from edgezoo.core.spec import (
    CUSTOM,
    HEADS,
    NORMALIZATIONS,
    RESIZE_MODES,
    USUAL_RESIZE,
    Head,
    Normalization,
    Resize,
    named,
)

_CHANNELS = (1, 3)
_LEAST_FRACTION = 0.1
_RECTANGLE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})", re.IGNORECASE)
Size = int | str | Sequence[int]


@dataclass(frozen=True, slots=True)
class InputOptions:
    """Preprocessing, resize and output of a file; None and false where nothing is stated.

    Attributes:
        preprocessing: a key of `spec.NORMALIZATIONS`, or "none" for "raw".
        scale, offset: of each channel in the network's order or of all: input = pixel * scale +
            offset.
        bgr: the network's channels are blue, green, red.
        resize: one of `spec.RESIZE_MODES`.
        crop_fraction: of "crop".
        input_size: height and width, of a network that takes images of any size.
        labels: a text file with a class name a line.
        head: what the output values are, one of `spec.HEADS`.
        output_name: of the output to read, where there are several.
    """

    preprocessing: str | None = None
    scale: OneOrMany[float] | None = None
    offset: OneOrMany[float] | None = None
    bgr: bool = False
    resize: str | None = None
    crop_fraction: float | None = None
    input_size: Size | None = None
    labels: str | Path | None = None
    head: str | None = None
    output_name: str | None = None

    def __post_init__(self) -> None:
        """Check each option, before a file is read.

        Raises:
            UsageError: an unknown word, an invalid number, or options that exclude each other.
        """
        self.normalization()
        self.resized(USUAL_RESIZE)
        self.size()
        self.asked_head()

    def given(self) -> tuple[str, ...]:
        """Names of the options that were given, as in a command."""
        names = [f.name for f in fields(self) if getattr(self, f.name) not in (None, False)]
        return tuple(f"--{name.replace('_', '-')}" for name in names)

    def normalization(self) -> Normalization | None:
        """The normalization that is stated; None where none is."""
        mode = preprocessing_mode(self.preprocessing)
        own = self.scale is not None or self.offset is not None
        if mode is not None and own:
            raise UsageError(
                f"--preprocessing {self.preprocessing} has numbers of its own, which --scale and "
                "--offset contradict.",
                "Give one of them.",
            )
        if mode is not None and not self.bgr:
            return NORMALIZATIONS[mode]
        if mode is not None:
            return _swapped(NORMALIZATIONS[mode])
        if not own:
            if self.bgr:
                raise UsageError(
                    "--bgr swaps the channels of a preprocessing, and none is given.",
                    "Add --preprocessing, or --scale and --offset.",
                )
            return None
        scale = numbers("--scale", 1.0 if self.scale is None else self.scale)
        offset = numbers("--offset", 0.0 if self.offset is None else self.offset)
        count = max(len(scale), len(offset), 3)
        if 0.0 in scale:
            raise UsageError("--scale 0 makes all images the same.", "Give another number.")
        each = (scale * (count // len(scale)), offset * (count // len(offset)))
        return named(Normalization(CUSTOM, *each, "BGR" if self.bgr else "RGB"))

    def resized(self, usual: Resize) -> Resize | None:
        """The resize that is stated, with the filter of `usual`; None where none is."""
        mode, fraction = self.resize, self.crop_fraction
        if mode is None and fraction is None:
            return None
        for known in RESIZE_MODES:
            if mode == known:
                break
        else:
            if mode is not None:
                hint = did_you_mean(mode, RESIZE_MODES)
                raise UsageError(f"--resize {mode} is unknown.", hint)
            known = "crop"
        if fraction is not None and known != "crop":
            raise UsageError(
                f"--crop-fraction {fraction:g} has no effect: --resize {known} cuts nothing off.",
                "Give --resize crop, or omit it.",
            )
        if fraction is not None and not _LEAST_FRACTION <= fraction <= 1:
            raise UsageError(
                f"--crop-fraction {fraction:g} is not a share.", f"Give {_LEAST_FRACTION:g} to 1."
            )
        if known == "crop":
            return Resize(fraction or USUAL_RESIZE.crop_fraction, usual.filter, known)
        return Resize(1.0, usual.filter, known)

    def size(self) -> tuple[int, int] | None:
        """Height and width; None where they are not stated."""
        return None if self.input_size is None else parse_size(self.input_size)

    def asked_head(self) -> Head | None:
        """What the output values are; None where it is not stated."""
        for known in HEADS:
            if self.head == known:
                return known
        if self.head is not None:
            raise UsageError(f"--head {self.head} is unknown.", did_you_mean(self.head, HEADS))
        return None


def _swapped(how: Normalization) -> Normalization:
    """Return a known normalization with blue first; "caffe" has that already."""
    if how.channel_order == "BGR":
        return how
    return named(Normalization(CUSTOM, how.scale[::-1], how.offset[::-1], "BGR"))


def numbers(option: str, given: object) -> tuple[float, ...]:
    """Read one number, or one for each channel; a text may have fractions, as 1/255.

    Raises:
        UsageError: it is neither.
    """
    words = given.split(",") if isinstance(given, str) else many(given)
    try:
        values = tuple(_number(word) for word in words)
    except (TypeError, ValueError, ZeroDivisionError):
        values = ()
    if len(values) not in _CHANNELS or not all(math.isfinite(value) for value in values):
        raise UsageError(
            f"{option} {given} is neither one number nor three.",
            f"Write {option} 1/255, or {option} 0.017,0.0175,0.0174 for each channel.",
        )
    return values


def _number(word: object) -> float:
    if isinstance(word, str) and word.count("/") == 1:
        over, under = word.split("/")
        return float(over) / float(under)
    return float(word)  # type: ignore[arg-type]


def parse_size(given: Size) -> tuple[int, int]:
    """Return height and width of `224`, `96x128` or a pair of numbers.

    Raises:
        UsageError: it is none of them.
    """
    found: tuple[int, ...] = ()
    if isinstance(given, str):
        match = _RECTANGLE.fullmatch(given.strip())
        if match is not None:
            found = int(match[1]), int(match[2])
        elif given.strip().isdecimal() and len(given.strip()) <= len("65536"):
            found = (int(given),) * 2
    elif isinstance(given, int):
        found = (given, given)
    elif len(given) == 2 and all(isinstance(side, int) for side in given):
        found = tuple(given)
    if len(found) != 2 or min(found) < 1:
        raise UsageError(
            f"--input-size {given} is not a size in pixels.",
            "Write --input-size 224, or height x width: --input-size 96x128.",
        )
    return found[0], found[1]
