"""The same export from two fresh environments: are the files the same, byte for byte?

Each environment is a new virtual environment with EdgeZoo and the pinned versions from the package
index, in a folder of its own. The two differ in what must not matter: home, working folder,
language, time zone, order of hashes, number of threads and of cores.

Run: python benchmarks/fresh.py
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common

EXPORT = ["export", "mobilenet", "--alpha", "0.5", "--input-size", "160", "--precision",
          "float32,int8", "--calibration-count", "100", "--json"]  # fmt: skip
# What differs: environment variables, and the cores that may be used.
DIFFERENT: tuple[tuple[dict[str, str], set[int]], ...] = (
    ({"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "LANG": "C", "OMP_NUM_THREADS": "1"}, {0}),
    ({"PYTHONHASHSEED": "4711", "TZ": "America/Lima", "LANG": "C.UTF-8"}, os.sched_getaffinity(0)),
)


def _install(folder: Path) -> Path:
    """A virtual environment; its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-q", "--no-compile"]
    constraints = ["-c", str(common.ROOT / "constraints.txt")]
    subprocess.run([*pip, *constraints, f"{common.ROOT}[export]"], check=True)
    return python


def _export(python: Path, folder: Path, changes: dict[str, str], cores: set[int]) -> dict[str, str]:
    """SHA-256 of every file that an export writes, by name."""
    home = folder / "home"
    home.mkdir(parents=True)
    command = [str(python), "-m", "edgezoo", *EXPORT, "-o", "made",
               "--calibration", str(common.SHARED / "imagenet" / "calibration")]  # fmt: skip
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, cwd=folder,
        env={**common.keras_environment(), "HOME": str(home), **changes},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    files = [path for path in sorted((folder / "made").iterdir()) if path.suffix != ".json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> int:
    common.require_shared()
    with tempfile.TemporaryDirectory() as scratch:
        found = [
            _export(_install(Path(scratch, f"env{n}")), Path(scratch, f"place{n}"), *different)
            for n, different in enumerate(DIFFERENT)
        ]
    first, second = found
    rows: list[dict[str, Any]] = [
        {
            "file": name,
            "sha256": digest,
            "again": second.get(name),
            "same": second.get(name) == digest,
        }
        for name, digest in first.items()
    ]
    missed = [row["file"] for row in rows if not row["same"]]
    missed += sorted(second.keys() - first.keys())
    path = common.save(
        "fresh", {"different": [d for d, _ in DIFFERENT], "files": rows, "missed": missed}
    )
    for row in rows:
        print(f"{row['file']:40} {row['sha256'][:16]} {'same' if row['same'] else 'DIFFERS'}")
    print(f"{path.relative_to(common.ROOT)}: {missed or 'all the same'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
