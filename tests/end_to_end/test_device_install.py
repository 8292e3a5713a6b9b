"""What pip brings to a device, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Ended, Exported, Trained, environment, run_cli

pytestmark = pytest.mark.slow


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and os.environ.get("CI") != "true" and "No matching" in done.stderr:
        pytest.skip("needs a package index")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime 2.14 is for Python 3.11")
def test_tflite_runtime_and_its_clash(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "v")], check=True)
    python = tmp_path / "v" / "bin" / "python"
    _pip(python, f"{ROOT}[tflite-runtime]")

    def run(*arguments: str | Path) -> Ended:
        env = {k: v for k, v in environment().items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [str(python), "-m", "edgezoo", *map(str, arguments)],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)

    file, pictures = exported.path("tflite", "int8"), sorted(trained.test.rglob("*.png"))[:3]
    assert run("doctor", "--json").json["problems"] == []
    assert run("inspect", file, "--json").json["quantized"] is True
    best = [
        [result["classes"][0]["index"] for result in command("classify", file, *pictures,
                                                             "--json").json["results"]]
        for command in (run, run_cli)
    ]  # fmt: skip
    assert best[0] == best[1]
    scored = run("evaluate", file, "--images", trained.test, "--limit", "40", "--json").json
    assert scored["results"][0]["runtime"] == "tflite-runtime 2.14.0"
    assert scored["results"][0]["top1"] > 0.8
    bundle = tmp_path / "bundle"
    assert run_cli("bundle", file, "-o", bundle).code == 0
    subprocess.run([str(python), str(bundle / "selftest.py")], check=True, capture_output=True)

    _pip(python, "numpy>=2")
    (problem,) = run("doctor", "--json").json["problems"]
    assert "tflite-runtime 2.14.0 was built for numpy 1" in problem["what"]
    assert '"numpy<2"' in problem["fix"]
    assert '"numpy<2"' in run("classify", file, *pictures).error(4)
