"""Compile files for a target, and read the estimates of its compiler."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import RefusedError, ThresholdError
from edgezoo.core.protocols import Compilation, Estimate, Target
from edgezoo.core.typed_json import Count, JsonObject, Positive
from edgezoo.system import sandbox
from edgezoo.system.scratch import scratch

TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class CompileResult(JsonObject):
    """A compiled file.

    Attributes:
        npu_ops: operations of the accelerator
        estimate: by the compiler's model of the hardware, not measured; null where it has none
        path: the compiled file
        remarks: what stays on the CPU, and what helps
    """

    artifact: Path
    target: str
    npu_ops: Positive
    cpu_ops: Count
    estimate: Estimate | None
    path: Path
    bytes: int
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetEstimate(Estimate):
    """The compiler's estimate for a file on a target."""

    artifact: Path
    target: str
    npu_ops: Positive
    cpu_ops: Count


def compile_artifact(
    artifact: Path | str,
    target: str,
    *,
    output: Path | str | None = None,
    min_offload: float | None = None,
    timeout: float = TIMEOUT,
) -> CompileResult:
    """Compile a file for a target.

    Args:
        artifact: a file that the target takes, such as an int8 .tflite.
        target: a name of `registry.targets()`.
        output: folder for the compiled file; the artifact's own by default.
        min_offload: the least share of operations that must run on the accelerator, 0 to 1.
        timeout: seconds that the compiler may take.

    Raises:
        UsageError: an unknown target.
        RefusedError: the target has no compiler, does not take the file, or no operation maps.
        MissingError: the compiler is not installed.
        ThresholdError: fewer operations than `min_offload` map; the compiled file is kept.
    """
    loaded = sandbox.load_artifact(artifact)
    chosen = registry.target_for(loaded, target)
    folder = Path(output) if output is not None else loaded.path.parent
    made = _compiled(chosen, loaded, folder, timeout)
    share = made.npu_ops / max(1, made.npu_ops + made.cpu_ops)
    if min_offload is not None and share < min_offload:
        raise ThresholdError(
            f"Only {share:.1%} of the operations of {loaded.path} run on {chosen.name}, less than "
            f"the {min_offload:.1%} of --min-offload.",
            f"{made.path} was written. On the CPU: {'; '.join(made.remarks[:3]) or 'unknown'}.",
        )
    ops, size = (made.npu_ops, made.cpu_ops), made.path.stat().st_size
    return CompileResult(
        Path(artifact), chosen.name, *ops, made.estimate, made.path, size, made.remarks
    )


def estimate(artifact: Path | str, target: str, timeout: float = TIMEOUT) -> TargetEstimate:
    """Return the compiler's estimate for a file, without keeping the compiled file.

    Raises:
        RefusedError: see `compile_artifact`; also where the compiler returns no estimate.
    """
    loaded = sandbox.load_artifact(artifact)
    chosen = registry.target_for(loaded, target)
    with scratch() as folder:
        made = _compiled(chosen, loaded, Path(folder), timeout)
    if made.estimate is None:
        raise RefusedError(f"The compiler of {chosen.name} gives no estimate.")
    figures = {field.name: getattr(made.estimate, field.name) for field in fields(Estimate)}
    npu, cpu = made.npu_ops, made.cpu_ops
    return TargetEstimate(
        **figures, artifact=Path(artifact), target=chosen.name, npu_ops=npu, cpu_ops=cpu
    )


def _compiled(target: Target, artifact: Artifact, folder: Path, timeout: float) -> Compilation:
    if target.compile is None:
        raise RefusedError(
            f"{target.name} has no compiler: it takes files as they are exported.",
            f"Export it with --target {target.name}.",
        )
    return target.compile(artifact.path, folder, timeout)
