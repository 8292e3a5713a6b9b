"""What the tests of bundles share: a bundle, and a device without EdgeZoo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Ended, Exported, Trained, environment, made_once, run_cli
from tests.support.hidden import SITECUSTOMIZE
from tests.support.processes import PATIENCE

# A device has numpy, Pillow and one TFLite runtime, and nothing of EdgeZoo.
ABSENT = "edgezoo,click,tensorflow,keras,onnx,onnxruntime,openvino,nncf,scipy,h5py,rich,flatbuffers"


@pytest.fixture(scope="session")
def bundle(common: Path, exported: Exported) -> Path:
    """The int8 and the float32 file of the trained network, with their C sources."""

    def make(folder: Path) -> None:
        files = [exported.path("tflite", precision) for precision in ("int8", "float32")]
        ended = run_cli("bundle", *files, "-o", folder / "made", "--c-array", "--json")
        assert ended.code == 0, ended.stderr
        (folder / "bundle.json").write_text(ended.stdout)

    return made_once(common / "bundle", make) / "made"


def on_device(folder: Path, program: Path, *arguments: str | Path, absent: str = "") -> Ended:
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    ended = subprocess.run(
        [sys.executable, str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **environment(),
            "PYTHONPATH": str(folder),
            "EDGEZOO_HIDDEN_PACKAGES": f"{ABSENT},{absent}",
        },
        timeout=PATIENCE,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="session")
def io_types(common: Path, trained: Trained) -> Path:
    """A bundle of two int8 files, with int8 and with float32 as input and output type."""

    def make(folder: Path) -> None:
        files = []
        for io in ("int8", "float32"):
            ended = run_cli("export", *trained.options, "--format", "tflite", "--int8", "--io",
                            io, "--effort", "fast", "--no-verify", "-o", folder / io,
                            "--json")  # fmt: skip
            assert ended.code == 0, ended.stderr
            files.append(ended.json["artifacts"][0]["path"])
        assert run_cli("bundle", *files, "-o", folder / "made").code == 0

    return made_once(common / "bundle_of_io_types", make) / "made"
