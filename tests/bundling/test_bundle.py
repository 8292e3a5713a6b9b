"""A bundle is whole, the same each time, and proves itself where EdgeZoo is not installed."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgezoo.bundling.place import check_folder
from edgezoo.errors import UsageError
from tests.conftest import ROOT, Ended, Exported, Trained, environment, made_once, run_cli
from tests.support.foreign import strip_contract
from tests.support.hidden import SITECUSTOMIZE

# A device has numpy, Pillow and one TFLite runtime, and nothing of EdgeZoo.
ABSENT = "edgezoo,click,tensorflow,keras,onnx,onnxruntime,openvino,nncf,scipy,h5py,rich,flatbuffers"


@pytest.fixture(scope="module")
def bundle(common: Path, exported: Exported) -> Path:
    """The int8 and the float32 file of the trained network, with their C sources."""

    def make(folder: Path) -> None:
        files = [exported.path("tflite", precision) for precision in ("int8", "float32")]
        ended = run_cli("bundle", *files, "-o", folder / "made", "--c-array", "--json")
        assert ended.code == 0, ended.stderr
        (folder / "bundle.json").write_text(ended.stdout)

    return made_once(common / "bundle", make) / "made"


def _on_device(folder: Path, program: Path, *arguments: str | Path) -> Ended:
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    ended = subprocess.run(
        [sys.executable, str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**environment(), "PYTHONPATH": str(folder), "HIDDEN_PACKAGES": ABSENT},
        timeout=120,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_holds_what_it_says(bundle: Path, exported: Exported) -> None:
    facts = json.loads((bundle.parent / "bundle.json").read_text())
    tree = _tree(bundle)
    assert {file["path"]: file["bytes"] for file in facts["files"]} == {
        name: len(data) for name, data in tree.items()
    }
    assert facts["bytes"] == sum(map(len, tree.values()))
    for precision in ("int8", "float32"):
        file = exported.path("tflite", precision)
        assert tree[file.name] == file.read_bytes()
        contract = json.loads(tree[f"{file.stem}.contract.json"])
        assert contract["precision"] == precision
        labels = tree[f"{file.stem}.labels.txt"].decode().splitlines()
        assert labels == contract["labels"] and len(labels) == contract["classes"]
        assert f"| `{file.name}` | RGB pixels" in tree["README.md"].decode()
    bounded = [line for line in tree["requirements.txt"].decode().splitlines() if line[0] != "#"]
    assert all(">=" in line and "<" in line for line in bounded) and len(bounded) == 3


def test_same_bytes_as_folder_and_as_zip(exported: Exported, tmp_path: Path) -> None:
    file = exported.path("tflite", "int8")
    for name in ("one", "two", "one.zip", "two.zip"):
        assert run_cli("bundle", file, "-o", tmp_path / name).code == 0
    assert _tree(tmp_path / "one") == _tree(tmp_path / "two")
    assert (tmp_path / "one.zip").read_bytes() != (tmp_path / "two.zip").read_bytes(), "folder name"
    again = tmp_path / "elsewhere" / "one.zip"
    assert run_cli("bundle", file, "-o", again).code == 0
    assert again.read_bytes() == (tmp_path / "one.zip").read_bytes()
    with zipfile.ZipFile(again) as archive:
        inside = {name.removeprefix("one/"): archive.read(name) for name in archive.namelist()}
    assert inside == _tree(tmp_path / "one")


def test_selftest_passes_without_edgezoo(bundle: Path, tmp_path: Path) -> None:
    ended = _on_device(tmp_path, bundle / "selftest.py", "--exact", "--json")
    assert ended.code == 0, ended.stdout + ended.stderr
    facts = ended.json
    assert facts["passed"] and len(facts["models"]) == 2
    for model in facts["models"]:
        assert model["runtime"] == "ai-edge-litert"
        assert [p["faults"] for p in model["pictures"]] == [[]] * 4
    shown = _on_device(tmp_path, bundle / "selftest.py")
    assert shown.code == 0 and shown.stdout.endswith("PASSED\n")


def test_classify_answers_as_edgezoo_does(
    bundle: Path, exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    pictures = sorted(trained.test.rglob("*.png"))[:20]
    model = bundle / exported.path("tflite", "int8").name
    ended = _on_device(tmp_path, bundle / "classify.py", *pictures, "--model", model, "--json")
    assert ended.code == 0, ended.stderr
    ours = run_cli("classify", model, *pictures, "--json").json
    assert ended.json["results"] == ours["results"]
    which = _on_device(tmp_path, bundle / "classify.py", pictures[0])
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
    ended = _on_device(tmp_path, bundle / "selftest.py", "--using", broken)
    assert ended.code == 1
    failures = [line for line in ended.stdout.splitlines() if "FAILED: " in line]
    assert len(failures) == 2, ended.stdout  # one a model
    assert all(f"FAILED: {kind}: " in line and word in line for line in failures)


def test_damage_and_other_outputs_are_found(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    facts = json.loads((copy / "bundle.json").read_text())
    golden = copy / facts["models"][0]["golden"]
    arrays = dict(np.load(golden))
    arrays["output/leaves.jpg"][0] ^= 1  # one bit
    np.savez_compressed(golden, **arrays)
    ended = _on_device(tmp_path, copy / "selftest.py")
    assert ended.code == 1 and f"{golden.name} is missing or was changed" in ended.stdout
    del facts["sha256"][facts["models"][0]["golden"]]
    (copy / "bundle.json").write_text(json.dumps(facts))
    assert _on_device(tmp_path, copy / "selftest.py").code == 0, "one step is within reason"
    ended = _on_device(tmp_path, copy / "selftest.py", "--exact")
    assert ended.code == 1 and "FAILED: runtime" in ended.stdout


# C


def test_c_sources_hold_the_model(bundle: Path, exported: Exported, tmp_path: Path) -> None:
    """Compiled strictly; a program prints model, labels and golden picture back."""
    compiler = shutil.which("gcc")
    if compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail("gcc is missing")
        pytest.skip("needs gcc")
    file = exported.path("tflite", "int8")
    name = file.stem.replace(".", "_")
    (tmp_path / "main.c").write_text(
        f'#include <stdio.h>\n#include "{name}.h"\n#include "{name}_golden.h"\n'
        "int main(void) {\n"
        f"  fwrite({name}, 1, {name}_len, stdout);\n"
        f"  fwrite({name}_golden_input, 1, sizeof {name}_golden_input, stdout);\n"
        f"  fwrite({name}_golden_output, 1, sizeof {name}_golden_output, stdout);\n"
        f"  for (int i = 0; i < {name.upper()}_CLASSES; i++) puts({name}_labels[i]);\n"
        f'  printf("%d %d %.9g %d %lu\\n", {name.upper()}_INPUT_WIDTH, '
        f"{name.upper()}_RESIZE_SHORTER_SIDE,\n    {name.upper()}_OUTPUT_SCALE, "
        f"{name.upper()}_OUTPUT_ZERO_POINT, (unsigned long)(((uintptr_t){name}) % 16));\n"
        "  return 0;\n}\n"
    )
    program = tmp_path / "main"
    sources = [str(bundle / "c" / f"{name}{end}.c") for end in ("", "_golden")]
    subprocess.run(
        [compiler, "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror",
         f"-I{bundle / 'c'}", "main.c", *sources, "-o", str(program)],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    printed = subprocess.run([str(program)], capture_output=True, check=True).stdout
    golden = np.load(bundle / "golden" / f"{file.stem}.npz")
    data = file.read_bytes()
    data += golden["input/stripes.png"].tobytes() + golden["output/stripes.png"].tobytes()
    assert printed[: len(data)] == data
    *labels, numbers = printed[len(data) :].decode().splitlines()
    assert labels == (bundle / f"{file.stem}.labels.txt").read_text().splitlines()
    assert numbers == "32 37 0.00390625 0 0"


@pytest.mark.parametrize(
    ("text", "literal"), [('a"b\\', '"a\\042b\\134"'), ("é?", '"\\303\\251\\077"'), ("", '""')]
)
def test_c_strings(text: str, literal: str) -> None:
    from edgezoo.bundling import c_source

    assert c_source._string(text) == literal


# Refusals


def test_other_formats_are_refused(exported: Exported, output: Path) -> None:
    message = run_cli("bundle", exported.path("onnx", "int8"), "-o", output).error(3)
    assert ".tflite" in message and not output.exists()


def test_places_that_are_taken(exported: Exported, tmp_path: Path) -> None:
    file = exported.path("tflite", "int8")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    assert "no bundle" in run_cli("bundle", file, "-o", tmp_path / "mine").error(2)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    assert "same name" in run_cli("bundle", file, file, "-o", tmp_path / "x").error(2)
    made = tmp_path / "made"
    for arguments in ((file, "--c-array"), (file,)):
        assert run_cli("bundle", *arguments, "-o", made).code == 0
    assert not (made / "c").exists(), "an earlier bundle is replaced as a whole"


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", "no JSON", '{"schema": 1, "models": [], "sha256": {}}',
     '{"schema": 1, "models": [], "sha256": {}, "others": {}}', "[" * 100_000],
)  # fmt: skip
def test_folder_with_a_list_of_its_own_is_kept(
    text: str, exported: Exported, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "bundle.json").write_text(text)
    (project / "thesis.txt").write_text("keep")
    run_cli("bundle", exported.path("tflite", "int8"), "-o", project).error(2)
    assert _tree(project) == {"bundle.json": text.encode(), "thesis.txt": b"keep"}


@pytest.mark.parametrize(
    ("added", "named"),
    [("v/bin/python", "v/"), ("golden/mine.png", "golden/mine.png"), ("my.py", "my.py"),
     ("classify.py", "classify.py"), ("README.md", "README.md"), ("c/mine.c", "c/mine.c")],
)  # fmt: skip
def test_what_a_user_added_or_changed_is_kept(
    added: str, named: str, bundle: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    (copy / added).parent.mkdir(parents=True, exist_ok=True)
    (copy / added).write_text("mine")
    with pytest.raises(UsageError) as refused:
        check_folder(copy)
    assert f"{named} in it is not as EdgeZoo wrote it" in refused.value.message
    assert f"Move {named} out of it" in refused.value.hint


def test_links_in_a_bundle_are_foreign(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    check_folder(copy)
    shutil.move(copy / "golden", tmp_path / "golden")
    (copy / "golden").symlink_to(tmp_path / "golden")
    with pytest.raises(UsageError, match="golden/ in it"):
        check_folder(copy)
    (copy / "golden").unlink()
    (copy / "README.md").rename(tmp_path / "README.md")
    (copy / "README.md").symlink_to(tmp_path / "README.md")
    with pytest.raises(UsageError, match="README.md in it"):
        check_folder(copy)


def test_bundle_that_was_used_is_replaced(exported: Exported, tmp_path: Path) -> None:
    file, made = exported.path("tflite", "int8"), tmp_path / "made"
    assert run_cli("bundle", file, "-o", made).code == 0
    before = _tree(made)
    (made / "__pycache__").mkdir()
    (made / "__pycache__" / "classify.cpython-311.pyc").write_bytes(b"")
    (made / "README.md").unlink()
    assert run_cli("bundle", file, "-o", made).code == 0
    assert _tree(made) == before


def test_file_of_another_tool(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    file = strip_contract(exported.path("tflite", "int8"), tmp_path)
    assert "--preprocessing" in run_cli("bundle", file, "-o", tmp_path / "b").error(5)
    told = ("--preprocessing", "tf", "-o", tmp_path / "b")
    assert run_cli("bundle", file, *told).code == 0
    ended = _on_device(tmp_path, tmp_path / "b" / "selftest.py", "--exact")
    assert ended.code == 0, ended.stdout + ended.stderr
    picture = sorted(trained.test.rglob("*.png"))[0]
    given = _on_device(tmp_path, tmp_path / "b" / "classify.py", picture, "--json").json
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
