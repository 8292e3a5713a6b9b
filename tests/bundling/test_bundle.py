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
from PIL import Image

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
        assert [p["faults"] for p in model["images"]] == [[]] * 4
    shown = on_device(tmp_path, bundle / "selftest.py")
    assert shown.code == 0 and shown.stdout.endswith("PASSED\n")


def test_classify_answers_as_edgezoo_does(
    bundle: Path, exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    images = sorted(trained.test.rglob("*.png"))[:20]
    model = bundle / exported.path("tflite", "int8").name
    ended = on_device(tmp_path, bundle / "classify.py", *images, "--model", model, "--json")
    assert ended.code == 0, ended.stderr
    ours = run_cli("classify", model, *images, "--json").json
    assert ended.json["results"] == ours["results"]
    which = on_device(tmp_path, bundle / "classify.py", images[0])
    assert which.code == 1 and "--model" in which.stderr


@pytest.mark.parametrize(
    ("before", "after", "kind", "word"),
    [
        ("channels)\n", "channels)[..., ::-1]\n", "colours", "BGR"),
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


def test_int8_input_and_output(io_types: Path, tmp_path: Path) -> None:
    passed = on_device(tmp_path, io_types / "selftest.py", "--exact", "--json")
    assert passed.code == 0 and len(passed.json["models"]) == 2, passed.stdout + passed.stderr
    broken = tmp_path / "mine.py"
    for change, kinds in (("[..., ::-1]", {"colours"}), ("[::-1]", {"resize"})):
        source = (io_types / "classify.py").read_text()
        broken.write_text(source.replace("channels)\n", f"channels){change}\n"))
        ended = on_device(tmp_path, io_types / "selftest.py", "--using", broken, "--json")
        for model in ended.json["models"]:
            faults = [fault for entry in model["images"] for fault in entry["faults"]]
            assert {fault["kind"] for fault in faults} == kinds, faults


def test_other_kernels_of_an_int8_file_that_gives_floats(io_types: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(io_types, copy)
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


def _last_words(ended: Ended) -> str:
    """What a program said; the runtime greets in lines of its own."""
    (said,) = [line for line in ended.stderr.splitlines() if not line.startswith("INFO: ")]
    return said


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def prepare(path, contract, tensor):\n    return 1 // 0\n",
         "ZeroDivisionError: integer division or modulo by zero ({}, line 2)."),
        ("def prepare(path, contract, tensor):\n    return int('x')\n",
         "ValueError: invalid literal for int() with base 10: 'x' ({}, line 2)."),
        ("import sys\nsys.exit(1)\n", "SystemExit: 1 ({}, line 2)."),
        ("\nx = = 1\n", "SyntaxError: invalid syntax ({}, line 2)."),
        ("import cv3\n", "ModuleNotFoundError: No module named 'cv3' ({}, line 1)."),
        ("x = 1\n", "{} has no function prepare(path, contract, tensor)."),
        ("def prepare(image):\n    return None\n", "takes 1 positional argument but 3"),
        (None, "{} is not a Python file."),
    ],
)  # fmt: skip
def test_program_that_fails(source: str | None, words: str, bundle: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    if source is not None:
        mine.write_text(source)
    ended = on_device(tmp_path, bundle / "selftest.py", "--using", mine)
    assert ended.code == 2 and ended.stdout == ""
    said = _last_words(ended)
    assert said.startswith("The test could not run: ") and words.format(mine) in said


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", "", "null", '{"models": [], "sha256": {}}', '{"models": [1], "sha256": {}}',
     '{"models": [{"file": "m.tflite"}], "sha256": {}}', '{"models": 3, "sha256": {}}'],
)  # fmt: skip
def test_list_that_is_damaged(text: str, bundle: Path, tmp_path: Path) -> None:
    shutil.copy(bundle / "selftest.py", tmp_path)
    (tmp_path / "bundle.json").write_text(text)
    ended = on_device(tmp_path, tmp_path / "selftest.py")
    assert ended.code == 2
    said = _last_words(ended)
    assert said.endswith("bundle.json is not what EdgeZoo wrote: copy the bundle again.")


@pytest.mark.parametrize(("module", "package"), [("numpy", "numpy"), ("PIL", "pillow")])
def test_package_that_is_missing(module: str, package: str, bundle: Path, tmp_path: Path) -> None:
    words = f"{package} is not installed: pip install numpy pillow"
    image, model = bundle / "golden" / "leaves.jpg", next(bundle.glob("*.tflite"))
    rest: tuple[str | Path, ...] = (image, "--model", model)
    for program, more in (("classify.py", rest), ("selftest.py", ())):
        ended = on_device(tmp_path, bundle / program, *more, absent=module)
        assert ended.code == (1 if more else 2)
        assert words in _last_words(ended)


def test_image_that_cannot_be_read(bundle: Path, tmp_path: Path) -> None:
    short, bomb, text = (tmp_path / name for name in ("short.jpg", "bomb.png", "text.jpg"))
    text.write_text("not an image")
    whole = (bundle / "golden" / "leaves.jpg").read_bytes()
    short.write_bytes(whole[: len(whole) // 2])
    Image.new("1", (20_000, 10_000)).save(bomb)
    model = next(bundle.glob("*.tflite"))
    for image, word in ((short, "truncated"), (bomb, "pixels"), (text, "unknown.")):
        ended = on_device(tmp_path, bundle / "classify.py", image, "--model", model)
        assert ended.code == 1
        said = _last_words(ended)
        assert said.startswith(f"Error: {image} is not a readable image: ") and word in said


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
    image = sorted(trained.test.rglob("*.png"))[0]
    assert on_device(tmp_path, made / "classify.py", image).code == 0


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
    plain = strip_contract(exported.path("tflite", "float32"), tmp_path / "float")
    assert "--preprocessing" in run_cli("bundle", plain, "-o", tmp_path / "b").error(5)
    # A quantized input states its range.
    known = run_cli("bundle", file, "-o", tmp_path / "known").stderr
    assert "preprocessing tf, by the range of its quantized input" in known
    options = ("--preprocessing", "tf", "-o", tmp_path / "b")
    assert run_cli("bundle", file, *options).code == 0
    ended = on_device(tmp_path, tmp_path / "b" / "selftest.py", "--exact")
    assert ended.code == 0, ended.stdout + ended.stderr
    image = sorted(trained.test.rglob("*.png"))[0]
    given = on_device(tmp_path, tmp_path / "b" / "classify.py", image, "--json").json
    ours = run_cli("classify", file, image, "--preprocessing", "tf", "--json").json
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
