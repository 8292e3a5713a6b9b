"""One suite for every reader: a new file in edgezoo/readers/ is tested on arrival.

Readers that are not installed are asked for their version alone.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core import registry
from tests.conftest import FORMATS, ROOT, Exported, Trained, environment, made_once, run_cli
from tests.docs.test_schemas import check
from tests.support import needs

READERS = registry.readers()
# Slow, or of a machine of their own: `test_on_an_emulated_cpu` asks one.
EMULATED = [name for name in READERS if name.endswith(("-haswell", "-pi4", "-pi5"))]
# OpenCV 4.14 is off by 24 dB on the 32 px of these tests, in float too: `test_opencv` asks it.
HERE = sorted(set(READERS) - {*EMULATED, "opencv"})
# Answers that a reader can give, and a few that it must not survive.
ODD = """
import os, signal
from dataclasses import dataclass

from edgezoo.core.errors import RefusedError
from edgezoo.core.reader_protocol import Scores
from edgezoo.readers._base import BaseReader, RuntimeReader


@dataclass(frozen=True, slots=True)
class Odd(RuntimeReader):
    how: str = ""

    def answer(self, opened, pixels):
        if self.how == "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.how == "refuses":
            raise RefusedError("It takes no such file.", "Use another.")
        if self.how == "raises":
            raise KeyError("of a defect")
        found = RuntimeReader.answer(self, opened, pixels)
        if self.how == "nan":
            return Scores(found.values * float("nan"))
        if self.how == "shape":
            return Scores(found.values[:, 1:])
        return Scores(found.values[:, ::-1], "mirrors")

    def known_fault(self, opened, scores):
        return "It mirrors. Use another." if self.how == "known" else None

    def version(self):
        return None if self.how == "absent" else "odd 1.0"


READERS = tuple(
    Odd("odd-" + how, ("onnx",), "Run: pip install odd.", runtime="onnxruntime", how=how)
    for how in ("dies", "refuses", "raises", "nan", "shape", "mirrors", "known", "absent")
)
"""


# What the table says of them.
WANTED = {
    "dies": "crashed",
    "refuses": "refused",
    "raises": "refused",
    "nan": "differs",
    "shape": "differs",
    "mirrors": "differs",
    "known": "faulty",
    "absent": "missing",
}


@pytest.mark.parametrize("name", READERS)
def test_declares_itself(name: str) -> None:
    reader = READERS[name]
    assert reader.name == name == name.lower() and " " not in name
    assert reader.formats and set(reader.formats) <= set(FORMATS)
    assert re.match(r"(Run|Install|Make it).*[.)]$", reader.install)
    assert reader.patience_s > 0 and (reader.most_images is None or reader.most_images > 1)


def test_versions_are_found_or_not() -> None:
    found = {name: reader.version() for name, reader in READERS.items()}
    for name in ("litert", "litert-reference", "tflite-micro", "onnxruntime", "openvino"):
        assert re.search(r" \d", found[name] or ""), name


@pytest.fixture(scope="module")
def everywhere(exported: Exported, trained: Trained, common: Path) -> dict[str, Any]:
    """Files of EdgeZoo in every reader that is installed, by name; one command for all."""

    def make(folder: Path) -> None:
        files = [exported.path(format, "int8") for format in FORMATS]
        files += [exported.path("onnx", "float32"), exported.path("tflite", "float16")]
        ended = run_cli("verify", *files, "--everywhere", "--json", "--images", trained.test,
                        "--count", "24", "--readers", ",".join(HERE))  # fmt: skip
        (folder / "ended.json").write_text(json.dumps([ended.code, ended.stdout]))

    folder = made_once(common / "everywhere", make)
    code, printed = json.loads((folder / "ended.json").read_text())
    facts: dict[str, Any] = json.loads(printed)
    assert code == 0 and facts["passed"], facts
    return facts


def test_right_or_refused(everywhere: dict[str, Any]) -> None:
    check("verify", everywhere)
    assert len(everywhere["files"]) == 5
    for file in everywhere["files"]:
        verdicts = {reader["reader"]: reader["verdict"] for reader in file["readers"]}
        assert list(verdicts.values()).count("reference") == 1
        assert set(verdicts.values()) <= {"reference", "agrees", "faulty", "refused", "missing"}
        assert verdicts["openvino-plain"] in ("agrees", "refused"), file
        assert file["passed"]
        if file["format"] == "tflite":
            assert verdicts["litert-reference"] == "agrees"
        if (file["format"], file["precision"]) == ("tflite", "int8"):
            assert verdicts["tflite-micro"] == "agrees"


def test_margins_bound_what_can_turn_over(everywhere: dict[str, Any]) -> None:
    for file in everywhere["files"]:
        margins = file["margins"]
        assert 0.1 < margins["firm_share"] <= 1 and 0 < margins["median"] <= 1
        for reader in file["readers"]:
            if reader["verdict"] == "agrees":
                assert reader["max_abs_diff"] <= margins["noise"] and reader["images"] > 1
                assert (reader["largest_flipped_margin"] or 0) <= 2 * margins["noise"]


def test_opencv(exported: Exported, trained: Trained) -> None:
    pytest.importorskip("cv2", reason="needs opencv-python-headless")
    ended = run_cli("verify", exported.path("onnx", "int8"), "--everywhere", "--readers", "opencv",
                    "--images", trained.test, "--count", "24", "--json")  # fmt: skip
    found = ended.json["files"][0]["readers"][1]
    assert found["verdict"] == "faulty" and "--io float32" in found["hint"]
    assert found["agreement_top1"] < 0.9 and found["version"].startswith("opencv-")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EdgeZoo with two more readers: the example of the how-to page, and one of oddities."""
    folder = tmp_path_factory.mktemp("copy")
    package = folder / "edgezoo"
    shutil.copytree(ROOT / "edgezoo", package, ignore=shutil.ignore_patterns("__pycache__"))
    page = (ROOT / "docs" / "adding-a-reader.md").read_text()
    example = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)[0]
    (package / "readers" / "onnx_reference.py").write_text(example)
    (package / "readers" / "odd.py").write_text(ODD)
    return folder


def test_one_new_file_and_whatever_it_does(
    copy: Path, exported: Exported, trained: Trained
) -> None:
    file = exported.path("onnx", "float32")
    names = [*(f"odd-{how}" for how in WANTED), "onnx-reference"]
    ended = subprocess.run(
        [sys.executable, "-m", "edgezoo", "verify", file, "--everywhere",
         "--readers", ",".join(names), "--images", trained.test,
         "--count", "8", "--json"],
        cwd=copy, env=environment(PYTHONPATH=str(copy)), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 6, ended.stderr
    (facts,) = json.loads(ended.stdout)["files"]
    found = {reader["reader"]: reader for reader in facts["readers"]}
    verdicts = {how: found[f"odd-{how}"]["verdict"] for how in WANTED}
    assert verdicts == WANTED and not facts["passed"]
    assert "SIGSEGV" in found["odd-dies"]["reason"]
    assert found["odd-refuses"]["reason"] == "It takes no such file."
    assert found["odd-mirrors"]["agreement_top1"] < 0.5
    assert found["odd-known"]["hint"] == "It mirrors. Use another."
    assert found["odd-absent"]["hint"] == "Run: pip install odd."
    example = found["onnx-reference"]
    assert example["verdict"] == "agrees" and example["images"] == 4, example
    failed = [line for line in ended.stderr.splitlines() if line.startswith("Failed: ")]
    assert len(failed) == 4


def test_on_an_emulated_cpu(exported: Exported, trained: Trained) -> None:
    """int8 weights that do not overflow without VNNI; the emulator's process is limited, too."""
    needs.require("qemu-x86_64-static")
    ended = run_cli("verify", exported.path("onnx", "int8"), "--everywhere", "--readers",
                    "onnxruntime-haswell", "--images", trained.test, "--count", "16",
                    "--json")  # fmt: skip
    found = ended.json["files"][0]["readers"][1]
    assert found["verdict"] == "agrees" and found["agreement_top1"] == 1, found
    assert found["version"].startswith("onnxruntime ")


def test_wrong_usage(exported: Exported, trained: Trained) -> None:
    file = exported.path("onnx", "int8")
    for words, said in (
        (("--everywhere", "--readers", "onnxruntme"), "no reader 'onnxruntme'"),
        (("--readers", "opencv"), "--everywhere"),
        (("--everywhere", "--weights", "w.h5"), "--weights"),
        (("--everywhere", "--min-agreement", "0.5"), "--min-agreement"),
        (("--everywhere", "--reproduce"), "manifests"),
    ):
        assert said in run_cli("verify", file, *words).error(2)
    assert "opens keras files" in run_cli("verify", trained.keras, "--everywhere").error(3)
    said = run_cli("verify", file, "--everywhere", "--readers", "tflite-micro").error(3)
    assert "None of these readers opens onnx files" in said
