"""Environments of their own for programs whose packages clash with ours."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SUPPORT, made_once
from tests.support.processes import PATIENCE

# What pip installs by name of the environment; no versions float.
CLIENTS = {
    # opencv-contrib 5 comes with it, which Model API cannot stand.
    "mediapipe": ("mediapipe==1.2.2", "pillow==13.0.0"),
    "model-api": ("openvino-model-api==0.4.7", "openvino==2026.4.1"),
    # Built for numpy 1. This onnxruntime is the first with wheels for Python 3.11.
    "old": ("tflite-runtime==2.14.0", "onnxruntime==1.15.0", "numpy<2"),
}


class Client:
    """A Python with one of CLIENTS; `ask` runs a program of tests/support in it."""

    def __init__(self, python: Path) -> None:
        self._python = python

    def run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """One process a model, with a time limit: a process with many classifiers once hung."""
        env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        return subprocess.run(
            [str(self._python), "-P", str(SUPPORT / f"{program}.py"), *map(str, arguments)],
            capture_output=True, text=True, timeout=3 * PATIENCE, check=False, env=env,
        )  # fmt: skip

    def ask(self, program: str, *arguments: str | Path) -> Any:
        """The JSON that a program prints; it must end well."""
        ended = self.run(program, *arguments)
        assert ended.returncode == 0, ended.stderr[-3000:]
        return json.loads(ended.stdout)


def client(name: str, common: Path) -> Client:
    """Make an environment, once a run; EDGEZOO_TEST_CACHE keeps it for later ones.

    With pip's cache warm, mediapipe takes 15 s and Model API 8 s.
    """
    packages = CLIENTS[name]
    mark = hashlib.sha256(f"{packages}{sys.version_info[:2]}".encode()).hexdigest()[:8]
    folder = Path(os.environ.get("EDGEZOO_TEST_CACHE") or common) / f"client-{name}-{mark}"

    def make(part: Path) -> None:
        venv.create(part)  # without pip: ours installs into it
        command = [sys.executable, "-m", "pip", "--python", str(part / "bin" / "python"),
                   "install", "--quiet", "--no-compile", *packages]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and os.environ.get("CI") != "true":
            pytest.skip(f"{name} needs a package index: {done.stderr[-200:]}")
        assert done.returncode == 0, done.stderr[-3000:]

    return Client(made_once(folder, make) / "bin" / "python")
