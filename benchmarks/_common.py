"""What the benchmark scripts share: where the data is, the environment block, whole processes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
RESULTS = Path(__file__).resolve().parent / "results"
EDGEZOO = [sys.executable, "-m", "edgezoo"]
# A benchmark of an export must not be answered with files that were made before.
os.environ["EDGEZOO_CACHE_LIMIT"] = "0"


def environment() -> dict[str, Any]:
    """Machine, versions and commit, so that a figure can be placed."""
    from edgezoo.inspection.diagnosis import diagnose
    from edgezoo.pipeline.children import versions

    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "edgezoo", "exporters", "runtimes", "calibration"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    machine = diagnose().machine
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "uncommitted_changes": bool(changed.stdout.strip()),
        "machine": {
            "cpu": machine.cpu,
            "architecture": machine.architecture,
            "cores": machine.cores,
            "features": machine.features,
        },
        "python": machine.python,
        "versions": versions(),
    }


def has_vnni() -> bool:
    """Whether this CPU multiplies int8 with instructions that do not saturate."""
    from edgezoo.inspection.diagnosis import diagnose

    return any(name.endswith("vnni") for name in diagnose().machine.features)


def keras_environment() -> dict[str, str]:
    """The environment in which Keras finds the weights of ../shared."""
    return {**os.environ, "KERAS_HOME": str(SHARED / "keras")}


def measure(command: list[str]) -> dict[str, Any]:
    """Run a process to its end.

    Returns:
        CPU seconds of it and all its children, wall seconds, peak memory of the largest process
        in MB, exit code, standard output.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=err, env=keras_environment())
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        # A child starts as a copy of this process: a peak below ours is ours, not the child's.
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        out.seek(0)
        err.seek(0)
        return {
            "cpu_s": round(used.ru_utime + used.ru_stime, 3),
            "wall_s": round(wall, 3),
            "peak_rss_mb": round(used.ru_maxrss / 1024, 1) if used.ru_maxrss > own else None,
            "exit": child.returncode,
            "stdout": out.read().decode(),
            "stderr": err.read().decode(),
        }


def score(artifact: Path, alpha: float, size: int, emulator: Sequence[str] = ()) -> dict[str, Any]:
    """The arbiter's verdict: the bare runtime's default session on the validation images.

    `emulator` is a command that runs Python as another processor would.
    """
    python = [*emulator, sys.executable]
    done = subprocess.run(
        [*python, SHARED / "tools" / "score.py", artifact, str(alpha), str(size)],
        capture_output=True,
        text=True,
        check=True,
        env=keras_environment(),
    )
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def require_shared() -> None:
    """Stop with a sentence where the images are not there."""
    if not (SHARED / "imagenet").is_dir():
        sys.exit("These figures need ImageNet images and MobileNet weights in ../shared.")


def save(name: str, facts: dict[str, Any]) -> Path:
    """Write a raw result."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"environment": environment(), **facts}, indent=1) + "\n")
    return path
