"""Releases of packages, and what a file asks of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass


def own_version() -> str:
    """EdgeZoo's, also where its files were copied to a device and pip knows nothing of them."""
    return str(sys.modules["edgezoo"].__version__)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing in a file that older runtimes lack.

    Attributes:
        what: in words, such as "CONV_2D version 3".
        since: the first release that knows it, by package; a package that is not named is not
            known to have it.
    """

    what: str
    since: dict[str, str]

    def met_by(self, package: str, release: str) -> bool:
        """Whether a release of a package has it."""
        first = self.since.get(package)
        return first is not None and release_numbers(release) >= release_numbers(first)


def release_numbers(release: str) -> tuple[int, ...]:
    """A release such as 2.14.0 as numbers that can be compared; 2.14 is the same."""
    numbers = [int(digits) for digits in re.findall(r"\d+", release)]
    return tuple(numbers[:3] + [0] * (3 - len(numbers)))


def minimum_releases(requirements: Sequence[Requirement]) -> dict[str, str]:
    """The oldest release that meets all requirements, by package.

    A package that is not known to meet one of them is left out.
    """
    packages = set.intersection(*(set(need.since) for need in requirements)) if requirements else ()
    return {
        package: max((need.since[package] for need in requirements), key=release_numbers)
        for package in sorted(packages)
    }
