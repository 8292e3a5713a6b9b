"""Wheel, sdist and tree hold the same modules; the links in edgezoo/ become real files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support import needs

LINKED = ("exporters", "runtimes", "calibration")


def _run(*command: str | Path, cwd: Path) -> str:
    ended = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return ended.stdout


def _build(tree: Path, output: Path, *kinds: str) -> None:
    _run(sys.executable, "-m", "build", "--no-isolation", *kinds, "-o", output, tree, cwd=tree)


def _copy(folder: Path) -> Path:
    """The tree as git knows it, new files included: nothing built, nothing ignored."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in sorted(filter(None, _run(*listed, cwd=ROOT).split("\0"))):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.exists():
            shutil.copy(source, target)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tree/, made/ (wheel and sdist), sdist/ (unpacked) and again/ (its wheel)."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs the git checkout")
    needs.require("git")
    folder = tmp_path_factory.mktemp("packaging")
    _build(_copy(folder / "tree"), folder / "made", "--wheel", "--sdist")
    (sdist,) = (folder / "made").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "sdist", filter="data")
    (unpacked,) = (folder / "sdist").iterdir()
    _build(unpacked, folder / "again", "--wheel")
    return folder


def _wheel(folder: Path) -> dict[str, bytes]:
    """Contents of a wheel but for its own list of hashes."""
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            assert (info.external_attr >> 16) & 0o170000 != 0o120000, f"{info.filename} is a link"
        return {n: archive.read(n) for n in archive.namelist() if not n.endswith("/RECORD")}


def _modules(root: Path) -> dict[str, bytes]:
    """Files of the package, links followed."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in (root / "edgezoo", *(root / "edgezoo" / name for name in LINKED))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_tree_has_relative_links() -> None:
    for name in LINKED:
        link = ROOT / "edgezoo" / name
        assert link.is_symlink() and str(link.readlink()) == f"../{name}"


def test_wheel_holds_the_tree(built: Path) -> None:
    wheel = _wheel(built / "made")
    tree = _modules(built / "tree")
    packaged = {name: data for name, data in wheel.items() if name.startswith("edgezoo/")}
    assert packaged == tree
    for name in LINKED:
        assert sum(file.startswith(f"edgezoo/{name}/") for file in packaged) >= 3
    assert "edgezoo/py.typed" in packaged and "edgezoo/images/imagenet_classes.tsv" in packaged


def test_wheel_holds_nothing_else(built: Path) -> None:
    tops = {name.split("/")[0] for name in _wheel(built / "made")}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edgezoo"}


def test_sdist_holds_the_tree(built: Path) -> None:
    (unpacked,) = (built / "sdist").iterdir()
    assert _modules(unpacked) == _modules(built / "tree")
    assert not any((unpacked / name).exists() for name in LINKED), (
        "a second copy beside the package"
    )
    for name in ("README.md", "LICENSE", "constraints.txt", "tests/conftest.py"):
        assert (unpacked / name).is_file()


def test_wheel_of_the_sdist_is_the_same(built: Path) -> None:
    assert _wheel(built / "again") == _wheel(built / "made")


def test_metadata(built: Path) -> None:
    wheel = _wheel(built / "made")
    (metadata,) = (data.decode() for name, data in wheel.items() if name.endswith("/METADATA"))
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    plain = {line.split(": ")[1].split(">")[0] for line in required if "extra ==" not in line}
    assert plain == {"numpy", "pillow", "click"}, "a device install is light"
    for extra in ("tflite", "onnx", "openvino", "export", "ethos-u", "micro", "all"):
        assert f"Provides-Extra: {extra}" in metadata
    assert "License-Expression: Apache-2.0" in metadata
    (points,) = (d.decode() for n, d in wheel.items() if n.endswith("/entry_points.txt"))
    assert "edgezoo = edgezoo.__main__:run" in points


def test_wheel_runs_by_itself(built: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, it finds its models, exporters and runtimes."""
    (path,) = (built / "made").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, '.'); import edgezoo\n"
        "from edgezoo.core import registry as r\n"
        "print(edgezoo.__file__, len(r.models()), *r.exporters(), *r.runtimes())"
    )
    where, *words = _run(sys.executable, "-P", "-c", code, cwd=tmp_path).split()
    assert (tmp_path / where).resolve() == (tmp_path / "edgezoo" / "__init__.py").resolve()
    assert words == ["21", "onnx", "openvino", "tflite", "keras", "litert", "onnxruntime",
                     "openvino", "tflite_micro"]  # fmt: skip
