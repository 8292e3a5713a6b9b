"""The arguments of a network: completed with defaults, and checked for each family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgezoo.core import registry
from edgezoo.core.artifact import LARGEST_SIDE, MOST_CLASSES
from edgezoo.core.errors import UsageError, did_you_mean
from edgezoo.core.input_options import Size, parse_size
from edgezoo.core.spec import IMAGENET_CLASSES, POOLINGS, BuildArguments, Frame, ModelSpec

FAMILY = ("alpha", "depth_multiplier", "dropout", "blocks")  # that only some families have
_BLOCKS = 4


def complete(spec: ModelSpec, given: BuildArguments) -> BuildArguments:
    """Fill in input size, alpha, depth multiplier and classes, where the family has them.

    Raises:
        UsageError: an argument that the family does not have, an invalid value, or two that
            contradict each other.
    """
    for name in FAMILY:
        if getattr(given, name) is not None and name not in spec.arguments:
            raise UsageError(f"{spec.name} has no {_option(name)}.", _having(name))
    size = spec.default_input_size if given.input_size is None else given.input_size
    width = None if given.input_width == size else given.input_width
    if min(size, width or size) < spec.min_input_size:
        text = Frame(size, width or size).text
        raise UsageError(
            f"{spec.name} cannot take {text} px images.",
            f"Its smallest input size is {spec.min_input_size} px.",
        )
    alpha, multiplier = given.alpha, given.depth_multiplier
    if alpha is None and "alpha" in spec.arguments:
        alpha = 1.0
    if multiplier is None and "depth_multiplier" in spec.arguments:
        multiplier = 1
    filled = replace(
        given, input_size=size, input_width=width, alpha=alpha, depth_multiplier=multiplier
    )
    _check_values(spec, filled)
    return _with_output(filled)


# No file can state more in its contract.
_MOST = {
    "input_size": LARGEST_SIDE,
    "alpha": 1000,
    "depth_multiplier": 1000,
    "classes": MOST_CLASSES,
    "blocks": 1000,
}


def _check_bounds(filled: BuildArguments) -> None:
    for name, most in _MOST.items():
        given = getattr(filled, name)
        for value in given if isinstance(given, tuple) else (given,):
            if value is not None and value > most:
                raise UsageError(
                    f"{_option(name)} {value:.6g} is beyond what a file can have.",
                    f"Give at most {most}.",
                )


def _check_values(spec: ModelSpec, filled: BuildArguments) -> None:
    _check_bounds(filled)
    alpha, multiplier = filled.alpha, filled.depth_multiplier
    if alpha is not None and not 0 < alpha < math.inf:
        raise UsageError(f"--alpha {alpha:g} is not a width.", "Give a number above 0.")
    if alpha is not None and spec.width is not None and alpha < spec.width.least_alpha:
        raise UsageError(
            f"--alpha {alpha:g} leaves a layer without channels.",
            f"Give at least {spec.width.least_alpha:g}.",
        )
    if multiplier is not None and multiplier < 1:
        raise UsageError(
            f"--depth-multiplier {multiplier} is invalid.", "Give an integer of 1 or more."
        )
    if filled.dropout is not None and not 0 <= filled.dropout < 1:
        raise UsageError(f"--dropout {filled.dropout:g} is not a rate.", "Give 0 or more, below 1.")
    if filled.blocks is not None and (len(filled.blocks) != _BLOCKS or min(filled.blocks) < 1):
        raise UsageError(
            f"--blocks {','.join(map(str, filled.blocks))} does not fit {spec.name}.",
            f"Give {_BLOCKS} integers of 1 or more, such as 6,12,24,16.",
        )


def _with_output(filled: BuildArguments) -> BuildArguments:
    """Complete the arguments of the output: a top, or features."""
    pooling = None if filled.pooling == "none" else filled.pooling
    if pooling is not None and pooling not in POOLINGS:
        raise UsageError(
            f"There is no --pooling {pooling!r}.", did_you_mean(pooling, ("none", *POOLINGS))
        )
    if filled.include_top and pooling is not None:
        raise UsageError(
            f"--pooling {pooling} contradicts the top, which has its own pooling.",
            "Add --no-top, or omit --pooling.",
        )
    if filled.output_layer is not None and pooling is not None:
        raise UsageError(
            f"--pooling {pooling} comes after the last layer, which --output-layer removes.",
            "Omit one of them.",
        )
    for name in ("classes", "dropout"):
        if getattr(filled, name) is not None and not filled.include_top:
            raise UsageError(
                f"{_option(name)} belongs to the top, which --no-top removes.", "Omit one of them."
            )
    if filled.classes is not None and filled.output_layer is not None:
        raise UsageError(
            "--classes belongs to the last layer, which --output-layer removes.",
            "Omit one of them.",
        )
    if filled.classes is not None and filled.classes < 2:
        raise UsageError(
            f"--classes {filled.classes} is not enough to classify.", "Give 2 or more."
        )
    classes = filled.classes or IMAGENET_CLASSES
    classified = filled.output_kind == "probabilities"
    return replace(filled, pooling=pooling, classes=classes if classified else None)


def taken_from(options: dict[str, object]) -> BuildArguments:
    """Take the fields of `BuildArguments` out of the options of a command."""
    if isinstance(options.get("input_size"), str):
        height, width = side(str(options["input_size"]), None)
        options |= {"input_size": height, "input_width": width}
    names = sorted({*BuildArguments.__slots__} & options.keys())
    return BuildArguments.from_json({name: options.pop(name) for name in names})


def side(
    input_size: Size | None, input_shape: Sequence[Any] | None
) -> tuple[int | None, int | None]:
    """Return height, and width where it differs, of a size or of (height, width, 3).

    Raises:
        UsageError: the shape is not that of RGB pixels, or contradicts the size.
    """
    asked = None if input_size is None else parse_size(input_size)
    if input_shape is not None:
        shape = tuple(input_shape)
        sides = all(isinstance(side, int) and side > 0 for side in shape[:2])
        if len(shape) != 3 or not sides or shape[2] != 3:
            raise UsageError(
                f"input_shape {shape} is not that of RGB pixels.",
                "Give it as (224, 224, 3), height first.",
            )
        if asked not in (None, shape[:2]):
            raise UsageError(
                f"input_shape {shape} and input_size {input_size} contradict each other.",
                "Give one of them.",
            )
        asked = shape[0], shape[1]
    if asked is None:
        return None, None
    return asked[0], None if asked[1] == asked[0] else asked[1]


def words(arguments: BuildArguments) -> list[str]:
    """Return what distinguishes this network from others of its model, as parts of a file name."""
    facts: Mapping[str, Any] = {
        "": None if arguments.alpha is None else f"{arguments.alpha:g}",
        "dm": arguments.depth_multiplier if arguments.depth_multiplier != 1 else None,
        "dropout": None if arguments.dropout is None else f"{arguments.dropout:g}",
        "blocks": "-".join(map(str, arguments.blocks)) if arguments.blocks else None,
        "classes": arguments.classes if arguments.classes != IMAGENET_CLASSES else None,
    }
    parts = [f"{key}{value}" for key, value in facts.items() if value is not None]
    if not arguments.include_top:
        parts.append("notop")
    ends = (arguments.pooling, arguments.output_layer)
    return [*parts, *(end.replace("/", "-") for end in ends if end)]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _having(name: str) -> str:
    """List the models that have an argument, as a sentence."""
    names = [spec.name for spec in registry.models().values() if name in spec.arguments]
    return f"Models with it: {', '.join(names)}."
