"""The names under which folders, lists and labels files call a model's classes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Literal

from edgezoo.core.artifact import InputContract
from edgezoo.images import imagenet_classes

# How folders name classes: as labels in sorted order, by the number of the output, or by wnid.
LabelsFrom = Literal["folders", "index", "wnid"]
LABELS_FROM: tuple[LabelsFrom, ...] = ("folders", "index", "wnid")
# Longer numbers are not indices, and Python refuses to parse the longest.
INDEX = re.compile(r"[0-9]{1,9}")
_WNID = re.compile(r"(?<![A-Za-z0-9])n[0-9]{8}(?![A-Za-z0-9])")
_LEADING_WNID = re.compile(r"(n[0-9]{8})[ _\-.]")
_GAPS = re.compile(r"[\s_\-]+")


class ClassNames:
    """Looks up the index of a class by wnid or label; a label of two classes is none.

    Labels are compared exactly first, then without regard to case and to what separates words:
    "great white shark" is "great_white_shark".
    """

    def __init__(self, contract: InputContract) -> None:
        labels = list(enumerate(contract.labels))
        known = imagenet_classes.classes()
        self.count = contract.classes
        self.has_wnids = contract.classes == len(known)
        wnids = [(i, wnid) for i, (wnid, _) in enumerate(known)] if self.has_wnids else []
        self._wnids = {wnid: i for i, wnid in wnids}
        # ImageNet has two cranes and two maillots.
        self._exact = {**_unique(labels), **self._wnids}
        self._loose = _unique((i, _loosely(label)) for i, label in labels)

    def find(self, name: str) -> int | None:
        """Return the class that a name stands for."""
        if name in self._exact:
            return self._exact[name]
        if (leading := _LEADING_WNID.match(name)) and leading[1] in self._wnids:
            return self._wnids[leading[1]]
        # Data sets of ImageNet name synonyms: "tench, Tinca tinca".
        return self._loose.get(_loosely(name), self._loose.get(_loosely(name.partition(",")[0])))

    def by_index(self, name: str) -> int | None:
        """Return the class of that number, counted from 0."""
        return int(name) if INDEX.fullmatch(name) and int(name) < self.count else None

    def by_wnid(self, name: str) -> int | None:
        """Return the class of a wnid, alone or with a label behind it."""
        found = _LEADING_WNID.match(f"{name}.")
        return self._wnids.get(found[1]) if found else None

    def in_file_name(self, stem: str) -> int | None:
        """Return the class of the only wnid within the name of a file."""
        found = set(_WNID.findall(stem.replace("_", " ")))
        return self._wnids.get(next(iter(found))) if len(found) == 1 else None


def _loosely(name: str) -> str:
    return _GAPS.sub("_", name.strip()).casefold()


def _unique(pairs: Iterable[tuple[int, str]]) -> dict[str, int]:
    found: dict[str, list[int]] = defaultdict(list)
    for index, name in pairs:
        found[name].append(index)
    return {name: indices[0] for name, indices in found.items() if len(indices) == 1}


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)
