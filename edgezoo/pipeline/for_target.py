"""What a target asks of an export: it fills in what was left open, and refuses what contradicts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgezoo.core import registry
from edgezoo.core.errors import RefusedError
from edgezoo.core.protocols import Target

if TYPE_CHECKING:
    from edgezoo.pipeline.plan import ExportRequest

_DEFAULT_PRECISION = "float32"


def completed(request: ExportRequest) -> ExportRequest:
    """The request with precisions, formats and border as its target, or the default, wants them.

    Raises:
        UsageError: there is no such target.
        RefusedError: the request asks for something that the target does not load.
    """
    given = request.precisions
    if request.target is None:
        return replace(request, precisions=(_DEFAULT_PRECISION,) if given is None else given)
    target = registry.target(request.target)
    formats = target.formats[:1] if "all" in request.formats else request.formats
    precisions = target.precisions[:1] if given is None else given
    _check(target, "--format", formats, target.formats)
    _check(target, "--precision", precisions, target.precisions)
    _check(target, "--input", (request.input_kind,), target.input_kinds)
    if request.io is not None:
        _check(target, "--io", (request.io,), target.io)
    return replace(request, formats=formats, precisions=precisions, io=request.io or target.io[0])


def _check(target: Target, option: str, asked: tuple[str, ...], taken: tuple[str, ...]) -> None:
    for word in asked:
        if word not in taken:
            raise RefusedError(
                f"--target {target.name} and {option} {word} contradict each other: it takes "
                f"{' or '.join(taken)}.",
                f"Leave {option} or --target out.",
            )
