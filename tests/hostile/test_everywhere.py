"""Every command opens a stranger's files in limited processes: one rule.

What opens such files notes where it is called outside of one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgezoo.system import landlock, seccomp
from tests.conftest import ROOT, Exported, Trained, run_cli

pytestmark = pytest.mark.skipif(
    landlock.version() < 1 or not seccomp.available(), reason="the kernel lacks Landlock or seccomp"
)
_SITE = """
import os, sys
exec(open({usual!r}).read())
def _watched(*names):
    def change(module):
        for name in names:
            setattr(module, name, _noting(module.__name__, name, getattr(module, name)))
    return change
def _noting(module, name, function):
    import functools
    @functools.wraps(function)
    def called(*words, **more):
        from edgezoo.system import limits
        if not limits.confined():
            with open({notes!r}, "a") as stream:
                stream.write(f"{{module}}:{{name}}\\n")
        return function(*words, **more)
    return called
CHANGES.update({{
    "edgezoo.core.registry": _watched("load_artifact"),
    "edgezoo.images.preprocessing": _watched("load_pixels"),
    "edgezoo.formats.keras_files.reading": _watched("usable"),
    "edgezoo.formats.keras_files.load_network": _watched("load"),
    "edgezoo.calibration.sources": _watched("_read_array", "_from_folder"),
    "edgezoo.targets._tool": _watched("_as_program"),
}})
"""


class Watched:
    """Runs commands, and has what they called outside of a limited process."""

    def __init__(self, folder: Path) -> None:
        self._notes = folder / "notes"
        usual = ROOT / "tests" / "support" / "site" / "sitecustomize.py"
        (folder / "site").mkdir()
        text = _SITE.format(usual=str(usual), notes=str(self._notes))
        (folder / "site" / "sitecustomize.py").write_text(text)
        self._site = str(folder / "site")

    def run(self, *words: str | Path) -> list[str]:
        ended = run_cli(*words, PYTHONPATH=self._site)
        assert ended.code in (0, 6), ended.stderr
        seen = self._notes.read_text().splitlines() if self._notes.exists() else []
        self._notes.unlink(missing_ok=True)
        return seen


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_quick_commands(
    watched: Watched, exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    file, onnx = exported.path("tflite", "int8"), exported.path("onnx", "int8")
    image = next(iter(sorted(trained.test.rglob("*.png"))))
    for words in (
        ("inspect", file, "--target", "ethos-u55-128"),
        ("classify", onnx, image),
        ("evaluate", file, "--images", trained.test, "--limit", "20"),
        ("bundle", file, "-o", tmp_path / "bundle.zip"),
        ("compile", file, "--target", "ethos-u55-128", "-o", tmp_path / "compiled"),
        ("benchmark", file, onnx, "--no-self-check", "--images", trained.test, "--limit", "20"),
    ):
        assert watched.run(*words) == [], words[0]


@pytest.mark.slow
def test_long_commands(
    watched: Watched, exported: Exported, trained: Trained, own_networks: Path, tmp_path: Path
) -> None:
    file, weights = exported.path("tflite", "int8"), trained.weights
    network, photos = own_networks / "plain.keras", trained.calibration
    export = ("export", network, "--preprocessing", "none", "--format", "tflite", "--no-cache")
    for words in (
        (*export, "--int8", "--calibration", photos, "-o", tmp_path / "out"),
        ("verify", file, "--weights", weights, "--images", photos, "--count", "8"),
        ("explain", file, "--weights", weights, "--images", photos, "--count", "8"),
        ("finetune", network, "--preprocessing", "none", "--data", photos, "--epochs", "1",
         "--unfreeze-blocks", "0", "-o", tmp_path / "tuned.keras"),
    ):  # fmt: skip
        assert watched.run(*words) == [], words[0]


def test_the_watch_sees_something(watched: Watched, exported: Exported, tmp_path: Path) -> None:
    """In Python, a function works in the caller's process."""
    import subprocess
    import sys

    from tests.conftest import environment

    code = "import edgezoo, sys; edgezoo.open_artifact(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(exported.path("tflite", "int8"))],
                   check=True, env=environment(PYTHONPATH=watched._site))  # fmt: skip
    assert "edgezoo.core.registry:load_artifact" in watched._notes.read_text()
