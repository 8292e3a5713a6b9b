"""The 1000 ILSVRC2012 classes, in the order of every model's output."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

_TABLE = Path(__file__).with_name("imagenet_classes.tsv")


@lru_cache(maxsize=1)
def classes() -> tuple[tuple[str, str], ...]:
    """Return (wnid, name) of each class; the position is the index in the output.

    The order is Keras': sorted by wnid, from 0. The ILSVRC2012 development kit numbers classes
    differently (ILSVRC2012_ID, from 1), also in its validation ground truth.
    Names are those of `decode_predictions`, with underscores. A wnid is unique, a name is not:
    "crane" is the bird (134) and the machine (517), "maillot" is 638 and 639.
    """
    lines = _TABLE.read_text(encoding="utf-8").splitlines()
    return tuple((wnid, name) for wnid, name in (line.split("\t") for line in lines))
