"""What a device install costs: megabytes installed, and CPU seconds of a first classification.

The wheel of this checkout goes with its extra `tflite` and constraints-device.txt into a fresh
virtual environment, and the same set of wheels for a 64-bit Raspberry Pi is laid out and run by
emulation. Emulated seconds say
nothing of a Pi's speed: they are recorded as a ratio to this machine's, in one run, to see when a
start becomes heavier. Writes results/device.json and exits 1 where a bound does not hold.

    python benchmarks/device.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common

RUNS = 5
MAX_INSTALLED_MB = 120
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64",
             "manylinux2014_aarch64")  # fmt: skip
CONSTRAINTS = common.ROOT / "constraints-device.txt"
SCRIPT = common.ROOT / "docs" / "examples" / "raspberry_pi.py"


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=common.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stdout[-1000:]}{done.stderr[-3000:]}")
    return done.stdout


def installed(folder: Path) -> dict[str, Any]:
    """Megabytes of each package in a folder of packages, pip and what it brings left out."""
    own = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")
    sizes: dict[str, int] = {}
    for path in folder.rglob("*"):
        top = path.relative_to(folder).parts[0]
        if path.is_file() and not top.startswith(own) and "__pycache__" not in path.parts:
            sizes[top] = sizes.get(top, 0) + path.stat().st_size
    return {
        "mb": round(sum(sizes.values()) / 1e6, 1),
        "largest": {
            name: round(size / 1e6, 1)
            for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:8]
        },
        "tensorflow": any(name.startswith(("tensorflow", "keras")) for name in sizes),
    }


def x86(folder: Path, wheel: Path) -> tuple[Path, dict[str, Any]]:
    """A fresh environment of this machine, as a user makes it."""
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-compile",
        "--constraint", CONSTRAINTS, f"{wheel}[tflite]")  # fmt: skip
    (packages,) = (folder / "lib").glob("python3*/site-packages")
    return python, installed(packages)


def aarch64(folder: Path, wheel: Path) -> dict[str, Any]:
    """The wheels that pip would take on a 64-bit Raspberry Pi OS."""
    platforms = [f"--platform={name}" for name in PLATFORMS]
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary=:all:",
        "--implementation=cp", "--python-version=3.11", *platforms, "--target", folder,
        "--constraint", CONSTRAINTS, f"{wheel}[tflite]")  # fmt: skip
    return installed(folder)


def cold_start(folder: Path, command: list[str | Path], **env: str) -> dict[str, Any]:
    """Median CPU seconds of a whole process; the first run, which compiles, is left out.

    `folder` is where it runs: this checkout would be imported in place of the wheel.
    """
    samples = []
    for _ in range(RUNS + 1):
        before = os.times()
        subprocess.run([str(word) for word in command], env={**os.environ, **env}, check=True,
                       cwd=folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        after = os.times()
        spent = after.children_user + after.children_system
        samples.append(round(spent - before.children_user - before.children_system, 2))
    return {"cpu_s": statistics.median(samples[1:]), "samples": samples[1:]}


def export(folder: Path) -> Path:
    command = [*common.EDGEZOO, "export", "mobilenet", "--alpha", "0.5", "--input-size", "160",
               "--int8", "--format", "tflite", "--calibration",
               str(common.SHARED / "imagenet" / "calibration"), "--calibration-count", "100",
               "--output", str(folder), "--json"]  # fmt: skip
    done = common.measure(command)
    if done["exit"]:
        sys.exit(done["stderr"])
    return Path(json.loads(done["stdout"])["artifacts"][0]["path"])


def main() -> int:
    common.require_shared()
    photo = next((common.SHARED / "imagenet" / "val").rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "-o", folder, common.ROOT)
        (wheel,) = folder.glob("*.whl")
        python, here = x86(folder / "venv", wheel)
        there = aarch64(folder / "aarch64", wheel)
        model = export(folder / "files")
        arguments: list[str | Path] = ["-m", "edgezoo", "classify", model, photo]
        run(sys.executable, SCRIPT, folder / "pi", "--board", "pi4")
        starts = {
            "x86": cold_start(folder, [python, *arguments]),
            # PYTHONPATH comes before the board's own packages.
            "pi4_emulated": cold_start(
                folder,
                [folder / "pi" / "bin" / "pi4", *arguments],
                PYTHONPATH=str(folder / "aarch64"),
            ),
        }
    ratio = round(starts["pi4_emulated"]["cpu_s"] / starts["x86"]["cpu_s"], 1)
    missed = [
        f"{name}: {facts['mb']} MB installed, TensorFlow: {facts['tensorflow']}"
        for name, facts in (("x86", here), ("aarch64", there))
        if facts["mb"] >= MAX_INSTALLED_MB or facts["tensorflow"]
    ]
    installed = {"x86_64": here, "aarch64": there}
    facts = {
        "extra": "tflite",
        "installed": installed,
        "classify_cold_start": {
            **starts, "emulated_over_x86": ratio,
            "note": "CPU seconds of whole processes; emulation says nothing of a Pi's latency",
        },
        "missed": missed,
    }  # fmt: skip
    path = common.save("device", facts)
    for name, size in installed.items():
        print(f"{name:8} {size['mb']:6.1f} MB installed (below {MAX_INSTALLED_MB})")
    print(f"classify {starts['x86']['cpu_s']:6.2f} CPU s; emulated {ratio} times that")
    print(f"{path.relative_to(common.ROOT)}: {missed or 'all bounds hold'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
