"""What reports state of a manifest, with its types: a stranger's manifest is checked against it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from edgezoo.core.artifact import LARGEST_SIDE, InputContract, InputRecord, WeightsRecord
from edgezoo.core.errors import DataError
from edgezoo.core.typed_json import Count, Length, Range, Share
from edgezoo.results import manifest
from edgezoo.results.manifest import Facts

_Number = Annotated[float, Range(-1e15, 1e15)]


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    sha256: str
    bytes: Count


@dataclass(frozen=True, slots=True)
class _Check:
    verdict: Literal["passed", "failed", "skipped"]
    images: Count = 0
    source: str | None = None
    agreement_top1: Share | None = None
    sqnr_db: _Number | None = None


@dataclass(frozen=True, slots=True)
class _Guard:
    images: Count
    confidence: Share
    float_layers: tuple[str, ...]
    drop_points: _Number | None = None
    drop_bound_points: _Number | None = None
    drop: _Number | None = None
    drop_bound: _Number | None = None

    def __post_init__(self) -> None:
        if None in (self.drop_points, self.drop_bound_points) and None in (
            self.drop,
            self.drop_bound,
        ):
            raise ValueError("it lacks a drop")


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    format: str
    precision: str
    alpha: _Number | None
    input_size: Annotated[int, Range(1, LARGEST_SIDE)]
    input: InputRecord
    files: tuple[_File, ...]
    contract: Facts
    verification: _Check
    guard: _Guard | None = None


@dataclass(frozen=True, slots=True)
class _Weights(WeightsRecord):
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class _Code:
    version: str | None = None
    commit: str | None = None
    code_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class _Platform:
    python: str | None = None
    system: str | None = None
    architecture: str | None = None


@dataclass(frozen=True, slots=True)
class _Manifest:
    model: str
    trained: bool
    weights: _Weights
    versions: dict[str, str]
    artifacts: Annotated[tuple[_Entry, ...], Length(10_000, 1)]
    command: str | None = None
    edgezoo: _Code | None = None
    platform: _Platform | None = None
    reproducible_within: tuple[str, ...] = ()


def read(path: Path) -> Facts:
    """Return the JSON of a manifest, with contracts as this EdgeZoo states them.

    Raises:
        DataError: as of `edgezoo.results.manifest.read`; or it lacks what a report needs.
    """
    facts = manifest.read(path)
    manifest.described(_Manifest, facts, path)
    return {**facts, "artifacts": [_whole(entry, path) for entry in facts["artifacts"]]}


def _whole(entry: dict[str, Any], path: Path) -> Facts:
    """Fill in the fields of the contract that follow from others."""
    try:
        contract = InputContract.from_json(entry["contract"])
    except DataError as error:
        raise DataError(f"{path}: {error.message}", error.hint) from error
    return {**entry, "contract": contract.to_json()}
