"""A built wheel, in a clean environment with each extra; and the check-list of a release."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from types import ModuleType

import pytest

from edgezoo import __version__
from tests.conftest import ROOT, Ended, Exported, Trained, environment, made_once

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# What an install of each extra must be able to do: arguments after `edgezoo`, on {folder}.
WORKS = {
    "": "list --json",
    "tflite": "classify {tflite} {picture} --json",
    "tflite-runtime": "classify {tflite} {picture} --json",
    "onnx": "classify {onnx} {picture} --json",
    "openvino": "classify {openvino} {picture} --json",
    "report": "report {store} --json",
    "parquet": "list --json",
    "heif": "list --json",
    "ethos-u": "compile {tflite} --target ethos-u55-128 -o {out} --json",
    "micro": "classify {tflite} {picture} --runtime tflite_micro --json",
    "pretrained": "list --with-weights --json",
    "demo": "list --with-weights --json",
    "export": "export mobilenet --alpha 0.25 --input-size 32 --weights random --format tflite "
    "--no-verify -o {out} --json",
    "cluster": "doctor --json",
    "all": "doctor --json",
    "dev": "doctor --json",
}
LIGHT = ("", "tflite", "ethos-u")
HEAVY = tuple(name for name in WORKS if name not in LIGHT)


@pytest.fixture(scope="session")
def wheel(common: Path) -> Path:
    """Built from the tree, links followed."""

    def make(folder: Path) -> None:
        subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "--wheel", "-o", str(folder),
             str(ROOT)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip

    (path,) = made_once(common / "release-wheel", make).glob("*.whl")
    return path


def _installed(folder: Path, wheel: Path, extra: str) -> Path:
    """Python of a new environment that has the wheel with an extra."""
    venv.create(folder)  # without pip: ours installs into it
    python = folder / "bin" / "python"
    what = f"{wheel}[{extra}]" if extra else str(wheel)
    constraints = ROOT / ("constraints-device.txt" if extra in ("", "tflite") else
                          "constraints.txt")  # fmt: skip
    pins = [] if extra == "tflite-runtime" else ["-c", str(constraints)]
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet",
               "--no-compile", *pins, what]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip(f"needs a package index: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr[-3000:]
    return python


def _works(python: Path, extra: str, exported: Exported, trained: Trained, out: Path) -> None:
    from tests.support.fake_records import grid, write_store

    if "{store}" in WORKS[extra]:
        write_store(out / "store", grid(3))
    words = {
        **{name: exported.path(name, "int8") for name in ("tflite", "onnx", "openvino")},
        "picture": next(trained.test.rglob("*.png")), "store": out / "store", "out": out / "made",
    }  # fmt: skip
    line = [word.format(**words) for word in WORKS[extra].split()]
    env = {k: v for k, v in environment().items() if k != "PYTHONPATH"}
    done = subprocess.run([str(python.parent / "edgezoo"), *line], cwd=out, env=env,
                          capture_output=True, text=True, check=False)  # fmt: skip
    ended = Ended(done.returncode, done.stdout, done.stderr)
    assert ended.code == 0, ended.stderr
    assert isinstance(ended.json, dict)
    told = subprocess.run([str(python), "-c", "import edgezoo; print(edgezoo.__file__, "
                           "edgezoo.__version__)"], cwd=out, env=env, capture_output=True,
                          text=True, check=True).stdout.split()  # fmt: skip
    assert "site-packages" in told[0] and told[1] == __version__


def test_every_extra_is_installed_somewhere() -> None:
    assert set(WORKS) - {""} == set(EXTRAS)


@pytest.mark.parametrize("extra", LIGHT)
def test_light_install(
    extra: str, wheel: Path, exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    """A few seconds each with pip's cache warm."""
    _works(_installed(tmp_path / "v", wheel, extra), extra, exported, trained, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("extra", HEAVY)
def test_heavy_install(
    extra: str, wheel: Path, exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    if extra == "tflite-runtime" and sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime 2.14 is for Python 3.11")
    _works(_installed(tmp_path / "v", wheel, extra), extra, exported, trained, tmp_path)


def _release() -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))
    return __import__("release")


def test_version_stands_in_one_place(wheel: Path) -> None:
    assert _release().version() == __version__
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert wheel.name == f"edgezoo-{__version__}-py3-none-any.whl"


def test_check_list_tells_what_does_not_hold(tmp_path: Path) -> None:
    """On a changelog that is kept, and on two that are not."""
    release = _release()
    (tmp_path / "edgezoo").mkdir()
    (tmp_path / "edgezoo" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text("## [Unreleased]\n\n## [1.2.3] - 2026-11-23\n\n- it\n")
    assert release.changelog_is_kept(tmp_path) is None
    changelog.write_text("## [Unreleased]\n\n- more\n\n## [1.2.3] - 2026-11-23\n\n- it\n")
    assert "Unreleased" in release.changelog_is_kept(tmp_path)
    changelog.write_text("## [Unreleased]\n\n- it\n")
    assert "1.2.3" in release.changelog_is_kept(tmp_path)


def test_check_list_is_the_page() -> None:
    page = (ROOT / "docs" / "releasing.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 7 and len(_release().CHECKS) == 6  # the version has two rows
