"""Releases of packages, and what a file requires of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass


def own_version() -> str:
    """Return EdgeZoo's version, also where its files were copied to a device without pip."""
    return str(sys.modules["edgezoo"].__version__)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A feature of a file that older runtimes lack.

    Attributes:
        what: the feature, such as "CONV_2D version 3".
        since: the first release with it, by package; packages not known to have it are left out.
    """

    what: str
    since: dict[str, str]

    def met_by(self, package: str, release: str) -> bool:
        """Return whether a release of a package has the feature."""
        first = self.since.get(package)
        return first is not None and release_numbers(release) >= release_numbers(first)


def release_numbers(release: str) -> tuple[int, ...]:
    """Return a release as numbers that can be compared; 2.14 equals 2.14.0."""
    numbers = [int(digits) for digits in re.findall(r"\d+", release)]
    return tuple(numbers[:3] + [0] * (3 - len(numbers)))


def minimum_releases(requirements: Sequence[Requirement]) -> dict[str, str]:
    """Return the oldest release that meets all requirements, by package, where that is known."""
    packages = set.intersection(*(set(need.since) for need in requirements)) if requirements else ()
    return {
        package: max((need.since[package] for need in requirements), key=release_numbers)
        for package in sorted(packages)
    }
