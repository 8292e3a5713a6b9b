"""Compiles files for a target, and tells what its compiler expects of them."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgezoo.core import registry
from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import RefusedError, ThresholdError
from edgezoo.core.protocols import Compilation, Target
from edgezoo.system import sandbox

TIMEOUT = 600.0


def compile_artifact(
    artifact: Path | str,
    target: str,
    *,
    output: Path | str | None = None,
    min_offload: float | None = None,
    timeout: float = TIMEOUT,
) -> dict[str, Any]:
    """Compile a file for a target.

    Args:
        artifact: a file that the target takes, such as an int8 .tflite.
        target: a name of `registry.targets()`.
        output: folder for the compiled file; the artifact's own by default.
        min_offload: the least share of operations that must run on the accelerator, 0 to 1.
        timeout: seconds that the compiler may take.

    Returns:
        {"artifact", "target", "npu_ops", "cpu_ops", "estimate", "path", "bytes", "remarks"};
        "estimate" is the compiler's and null where it gives none.

    Raises:
        UsageError: no such target.
        RefusedError: the target has no compiler, does not take the file, or nothing maps.
        MissingError: the compiler is not installed.
        ThresholdError: fewer operations than `min_offload` map; the file stays.
    """
    loaded = sandbox.load_artifact(artifact)
    chosen = registry.target_for(loaded, target)
    folder = Path(output) if output is not None else loaded.path.parent
    made = _compiled(chosen, loaded, folder, timeout)
    share = made.npu_ops / max(1, made.npu_ops + made.cpu_ops)
    if min_offload is not None and share < min_offload:
        raise ThresholdError(
            f"Only {share:.1%} of the operations of {loaded.path} run on {chosen.name}, "
            f"{min_offload:.1%} were asked for.",
            f"{made.path} was made. On the CPU stay: {'; '.join(made.remarks[:3]) or 'unknown'}.",
        )
    return {
        "artifact": str(artifact),
        "target": chosen.name,
        "npu_ops": made.npu_ops,
        "cpu_ops": made.cpu_ops,
        "estimate": _estimate(made),
        "path": str(made.path),
        "bytes": made.path.stat().st_size,
        "remarks": list(made.remarks),
    }


def estimate(artifact: Path | str, target: str, timeout: float = TIMEOUT) -> dict[str, Any]:
    """What the target's compiler expects of a file: an estimate, never a measurement.

    Returns:
        {"artifact", "target", "npu_ops", "cpu_ops", "inference_ms", "cycles", "clock_mhz",
        "sram_kib", "dram_kib", "flash_kib", "source"}, ready to stand beside the results of a
        measurement. What was compiled for it is thrown away.

    Raises:
        RefusedError: see `compile_artifact`; also where the compiler gives no estimate.
    """
    loaded = sandbox.load_artifact(artifact)
    chosen = registry.target_for(loaded, target)
    with tempfile.TemporaryDirectory(prefix="edgezoo-") as folder:
        made = _compiled(chosen, loaded, Path(folder), timeout)
    facts = _estimate(made)
    if facts is None:
        raise RefusedError(f"The compiler of {chosen.name} gives no estimate.")
    counts = {"npu_ops": made.npu_ops, "cpu_ops": made.cpu_ops}
    return {"artifact": str(artifact), "target": chosen.name, **counts, **facts}


def _compiled(target: Target, artifact: Artifact, folder: Path, timeout: float) -> Compilation:
    if target.compile is None:
        raise RefusedError(
            f"There is nothing to compile for {target.name}: it takes files as they are exported.",
            f"Export it with --target {target.name}.",
        )
    return target.compile(artifact.path, folder, timeout)


def _estimate(made: Compilation) -> dict[str, Any] | None:
    return asdict(made.estimate) if made.estimate else None
