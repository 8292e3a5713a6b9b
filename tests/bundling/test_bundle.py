"""A bundle is whole, the same each time, and proves itself where EdgeZoo is not installed."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bundling.conftest import on_device, tree
from tests.conftest import ROOT, Ended, Exported, Trained, environment, run_cli
from tests.support.foreign import strip_contract


def test_holds_what_it_says(bundle: Path, exported: Exported) -> None:
    facts = json.loads((bundle.parent / "bundle.json").read_text())
    held = tree(bundle)
    assert {file["path"]: file["bytes"] for file in facts["files"]} == {
        name: len(data) for name, data in held.items()
    }
    assert facts["bytes"] == sum(map(len, held.values()))
    for precision in ("int8", "float32"):
        file = exported.path("tflite", precision)
        assert held[file.name] == file.read_bytes()
        contract = json.loads(held[f"{file.stem}.contract.json"])
        assert contract["precision"] == precision
        labels = held[f"{file.stem}.labels.txt"].decode().splitlines()
        assert labels == contract["labels"] and len(labels) == contract["classes"]
        assert f"| `{file.name}` | RGB pixels" in held["README.md"].decode()
    bounded = [line for line in held["requirements.txt"].decode().splitlines() if line[0] != "#"]
    assert all(">=" in line and "<" in line for line in bounded) and len(bounded) == 3


def test_same_bytes_as_folder_and_as_zip(exported: Exported, tmp_path: Path) -> None:
    file = exported.path("tflite", "int8")
    for name in ("one", "two", "one.zip", "two.zip"):
        assert run_cli("bundle", file, "-o", tmp_path / name).code == 0
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert (tmp_path / "one.zip").read_bytes() != (tmp_path / "two.zip").read_bytes(), "folder name"
    again = tmp_path / "elsewhere" / "one.zip"
    assert run_cli("bundle", file, "-o", again).code == 0
    assert again.read_bytes() == (tmp_path / "one.zip").read_bytes()
    with zipfile.ZipFile(again) as archive:
        inside = {name.removeprefix("one/"): archive.read(name) for name in archive.namelist()}
    assert inside == tree(tmp_path / "one")


def test_selftest_passes_without_edgezoo(bundle: Path, tmp_path: Path) -> None:
    ended = on_device(tmp_path, bundle / "selftest.py", "--exact", "--json")
    assert ended.code == 0, ended.stdout + ended.stderr
    facts = ended.json
    assert facts["passed"] and len(facts["models"]) == 2
    for model in facts["models"]:
        assert model["runtime"] == "ai-edge-litert"
        assert [p["faults"] for p in model["pictures"]] == [[]] * 4
    shown = on_device(tmp_path, bundle / "selftest.py")
    assert shown.code == 0 and shown.stdout.endswith("PASSED\n")


def test_classify_answers_as_edgezoo_does(
    bundle: Path, exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    pictures = sorted(trained.test.rglob("*.png"))[:20]
    model = bundle / exported.path("tflite", "int8").name
    ended = on_device(tmp_path, bundle / "classify.py", *pictures, "--model", model, "--json")
    assert ended.code == 0, ended.stderr
    ours = run_cli("classify", model, *pictures, "--json").json
    assert ended.json["results"] == ours["results"]
    which = on_device(tmp_path, bundle / "classify.py", pictures[0])
    assert which.code == 1 and "--model" in which.stderr


@pytest.mark.parametrize(
    ("before", "after", "kind", "word"),
    [
        ("np.uint8)\n", "np.uint8)[..., ::-1]\n", "colours", "BGR"),
        ("[contract[\"resize\"][\"filter\"].upper()]", ".NEAREST", "resize", "nearest pixel"),
        ("values[None]", "(values[None] / 255)", "scale", "the model takes"),
    ],
)  # fmt: skip
def test_broken_program_is_named(
    before: str, after: str, kind: str, word: str, bundle: Path, tmp_path: Path
) -> None:
    source = (bundle / "classify.py").read_text()
    assert before in source
    broken = tmp_path / "mine.py"
    broken.write_text(source.replace(before, after))
    ended = on_device(tmp_path, bundle / "selftest.py", "--using", broken)
    assert ended.code == 1
    failures = [line for line in ended.stdout.splitlines() if "FAILED: " in line]
    assert len(failures) == 2, ended.stdout  # one a model
    assert all(f"FAILED: {kind}: " in line and word in line for line in failures)


def test_int8_at_the_border(bordered: Path, tmp_path: Path) -> None:
    passed = on_device(tmp_path, bordered / "selftest.py", "--exact", "--json")
    assert passed.code == 0 and len(passed.json["models"]) == 2, passed.stdout + passed.stderr
    broken = tmp_path / "mine.py"
    for change, kinds in (("[..., ::-1]", {"colours"}), ("[::-1]", {"resize"})):
        source = (bordered / "classify.py").read_text()
        broken.write_text(source.replace("np.uint8)\n", f"np.uint8){change}\n"))
        ended = on_device(tmp_path, bordered / "selftest.py", "--using", broken, "--json")
        for model in ended.json["models"]:
            faults = [fault for entry in model["pictures"] for fault in entry["faults"]]
            assert {fault["kind"] for fault in faults} == kinds, faults


def test_other_kernels_of_an_int8_file_that_gives_floats(bordered: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bordered, copy)
    facts = json.loads((copy / "bundle.json").read_text())
    name = facts["models"][1]["golden"]
    del facts["sha256"][name]
    (copy / "bundle.json").write_text(json.dumps(facts))
    right = dict(np.load(copy / name))
    assert right["output/leaves.jpg"].dtype == np.float32
    for steps, code in ((3, 0), (40, 1)):
        moved = right["output/leaves.jpg"].copy()
        moved[0] += np.float32(steps / 256)
        np.savez_compressed(copy / name, **{**right, "output/leaves.jpg": moved})
        assert on_device(tmp_path, copy / "selftest.py").code == code


def test_damage_and_other_outputs_are_found(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    facts = json.loads((copy / "bundle.json").read_text())
    golden = copy / facts["models"][0]["golden"]
    arrays = dict(np.load(golden))
    arrays["output/leaves.jpg"][0] ^= 1  # one bit
    np.savez_compressed(golden, **arrays)
    ended = on_device(tmp_path, copy / "selftest.py")
    assert ended.code == 1 and f"{golden.name} is missing or was changed" in ended.stdout
    del facts["sha256"][facts["models"][0]["golden"]]
    (copy / "bundle.json").write_text(json.dumps(facts))
    assert on_device(tmp_path, copy / "selftest.py").code == 0, "one step is within reason"
    ended = on_device(tmp_path, copy / "selftest.py", "--exact")
    assert ended.code == 1 and "FAILED: runtime" in ended.stdout


# Refusals


def test_other_formats_are_refused(exported: Exported, output: Path) -> None:
    message = run_cli("bundle", exported.path("onnx", "int8"), "-o", output).error(3)
    assert ".tflite" in message and not output.exists()


def test_ending_in_capitals(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    file = tmp_path / "UP.TFLITE"
    shutil.copy(exported.path("tflite", "int8"), file)
    made = tmp_path / "made"
    assert run_cli("bundle", file, "-o", made).code == 0
    assert on_device(tmp_path, made / "selftest.py", "--exact").code == 0
    (made / "UP.tflite").rename(made / "UP.TFLITE")
    picture = sorted(trained.test.rglob("*.png"))[0]
    assert on_device(tmp_path, made / "classify.py", picture).code == 0


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [("a.b", "a_b", "a_b"), ("m", "M", "M"), ("m", "m_golden", "m_golden"),
     ("m_labels", "m", "m_labels")],
)  # fmt: skip
def test_same_name_in_c(
    first: str, second: str, name: str, exported: Exported, tmp_path: Path
) -> None:
    files = [tmp_path / f"{stem}.tflite" for stem in (first, second)]
    for file in files:
        shutil.copy(exported.path("tflite", "int8"), file)
    message = run_cli("bundle", *files, "-o", tmp_path / "made", "--c-array").error(2)
    assert files[0].name in message and files[1].name in message and f"in C, {name}." in message
    assert not (tmp_path / "made").exists()


def test_file_of_another_tool(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    file = strip_contract(exported.path("tflite", "int8"), tmp_path)
    assert "--preprocessing" in run_cli("bundle", file, "-o", tmp_path / "b").error(5)
    told = ("--preprocessing", "tf", "-o", tmp_path / "b")
    assert run_cli("bundle", file, *told).code == 0
    ended = on_device(tmp_path, tmp_path / "b" / "selftest.py", "--exact")
    assert ended.code == 0, ended.stdout + ended.stderr
    picture = sorted(trained.test.rglob("*.png"))[0]
    given = on_device(tmp_path, tmp_path / "b" / "classify.py", picture, "--json").json
    ours = run_cli("classify", file, picture, "--preprocessing", "tf", "--json").json
    assert given["results"] == ours["results"]


def _limited(size: int, *arguments: str | Path) -> Ended:
    ended = subprocess.run(
        [sys.executable, "-m", "edgezoo", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("name", ["made", "made.zip"])
def test_full_disk(name: str, exported: Exported, tmp_path: Path) -> None:
    file: Any = exported.path("tflite", "int8")
    assert name in _limited(100_000, "bundle", file, "-o", tmp_path / name).error(5)
    assert list(tmp_path.iterdir()) == []
