"""What the fields of a contract may hold: a stranger may have written it."""

from __future__ import annotations

from typing import Any

from edgezoo.core.checks import (
    Check,
    fault,
    flag,
    list_of,
    mapping,
    number,
    one_of,
    or_none,
    text,
    whole,
)
from edgezoo.core.errors import DataError
from edgezoo.core.spec import (
    INPUT_KINDS,
    LAYOUTS,
    NORMALIZATIONS,
    POOLINGS,
    PRECISIONS,
    RESIZE_FILTERS,
)

# Beyond these a contract is no contract: pictures of 8192 x 8192 take 800 MB as float32.
LARGEST_SIDE, MOST_CLASSES = 8192, 10_000_000
_MOST_AXES = 8
_SMALLEST_CROP = 0.1

_FIELDS: dict[str, Check] = {
    "model": text,
    "precision": one_of(PRECISIONS),
    "input_size": whole(1, LARGEST_SIDE),
    "preprocessing": one_of(NORMALIZATIONS),
    "weights": mapping,
    "classes": whole(0, MOST_CLASSES),
    "alpha": or_none(number(0, 1000)),
    "depth_multiplier": or_none(whole(1, 1000)),
    "include_top": flag,
    "pooling": or_none(one_of(POOLINGS)),
    "dropout": or_none(number(0, 1)),
    "blocks": or_none(list_of(whole(1, 1000), _MOST_AXES)),
    "output_layer": or_none(text),
    "input_kind": one_of(INPUT_KINDS),
    "input_dtype": text,
    "output_dtype": text,
    "output_kind": one_of(("probabilities", "features")),
    "output_shape": or_none(list_of(whole(0, 2**31), _MOST_AXES)),
    "layout": one_of(LAYOUTS),
    "color_order": text,
    "batch": whole(1, 2**16),
    "resizes": flag,
    "crop_fraction": number(_SMALLEST_CROP, 1),
    "resize_filter": one_of(RESIZE_FILTERS),
    "labels": or_none(list_of(text, MOST_CLASSES)),
    "calibration": or_none(mapping),
    "quantization": or_none(mapping),
    "versions": mapping,
}
_WEIGHTS_FIELDS: dict[str, Check] = {
    "source": text,
    "sha256": text,
    "file": or_none(text),
    "seed": or_none(whole(0, 2**64)),
    "trained": flag,
    "licence": or_none(text),
    "note": or_none(text),
}
_REQUIRED = (
    "model",
    "precision",
    "input_size",
    "preprocessing",
    "weights",
    "classes",
    "source",
    "sha256",
)


def check(contract: dict[str, Any]) -> None:
    """Look at every field of a contract, and of the record of weights in it.

    Args:
        contract: fields of `InputContract`, as JSON has them.

    Raises:
        DataError: one that must be there is not, or one holds what it cannot hold.
    """
    _look("", contract, _FIELDS)
    _look("weights.", contract["weights"], _WEIGHTS_FIELDS)


def _look(prefix: str, values: dict[str, Any], fields: dict[str, Check]) -> None:
    missing = [name for name in _REQUIRED if name in fields and name not in values]
    unknown = [name for name in values if name not in fields]
    wrong = fault(values, fields)
    for word, found in (
        ("lacks", missing and missing[0]),
        ("has an unknown", unknown and unknown[0]),
        ("has an impossible", wrong),
    ):
        if found:
            raise DataError(
                f"The contract inside the file {word} {prefix}{found}.",
                "It is damaged, or of another version of EdgeZoo.",
            )
