"""The C sources compile strictly, and what they say of the input and the labels is true."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgezoo.bundling import c_source
from edgezoo.core import escapes
from edgezoo.core.artifact import Artifact, InputContract, WeightsRecord
from edgezoo.core.protocols import TensorInfo
from edgezoo.inference.conversion import to_input
from tests.bundling.conftest import tree
from tests.conftest import Exported, run_cli
from tests.support import needs

CONTRACT = InputContract(
    model="m", precision="int8", input_size=16, preprocessing="tf", input_kind="normalized",
    weights=WeightsRecord("random", ""), classes=3, labels=("a", "b", "c"),
)  # fmt: skip


def _run(work: Path, sources: Path, name: str, main: str) -> bytes:
    """Compile a program with the sources of a model, and give what it prints."""
    needs.require("gcc")
    (work / "main.c").write_text(main)
    files = [str(sources / f"{name}{end}.c") for end in ("", "_golden")]
    subprocess.run(
        ["gcc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{sources}",
         "main.c", *files, "-lm", "-o", "main"],
        cwd=work, check=True,
    )  # fmt: skip
    return subprocess.run([str(work / "main")], capture_output=True, check=True).stdout


def _write(folder: Path, contract: InputContract, taken: TensorInfo, outputs: int) -> str:
    """Sources of a model m that holds nothing; the text of its header."""
    model = folder / "m.tflite"
    model.write_bytes(b"model")
    given = TensorInfo("out", (1, outputs), "uint8", 1 / 256, 0)
    example = ("x.png", np.zeros((1, 2), taken.dtype), np.zeros((1, outputs), np.uint8))
    sources = c_source.write(Artifact(model, "tflite", (model,), contract), taken, given, example)
    for name, text in sources.items():
        (folder / name).write_text(text)
    return sources["m.h"]


def test_c_sources_hold_the_model(bundle: Path, exported: Exported, tmp_path: Path) -> None:
    """Compiled strictly; a program prints model, labels and golden image back."""
    file = exported.path("tflite", "int8")
    name = file.stem.replace(".", "_")
    printed = _run(
        tmp_path, bundle / "c", name,
        f'#include <stdio.h>\n#include "{name}.h"\n#include "{name}_golden.h"\n'
        "int main(void) {\n"
        f"  fwrite({name}, 1, {name}_len, stdout);\n"
        f"  fwrite({name}_golden_input, 1, sizeof {name}_golden_input, stdout);\n"
        f"  fwrite({name}_golden_output, 1, sizeof {name}_golden_output, stdout);\n"
        f"  for (int i = 0; i < {name.upper()}_OUTPUT_COUNT; i++) puts({name}_labels[i]);\n"
        f'  printf("%d %d %.9g %d %lu\\n", {name.upper()}_INPUT_WIDTH, '
        f"{name.upper()}_RESIZE_SHORTER_SIDE,\n    {name.upper()}_OUTPUT_SCALE, "
        f"{name.upper()}_OUTPUT_ZERO_POINT, (unsigned long)(((uintptr_t){name}) % 16));\n"
        "  return 0;\n}\n",
    )  # fmt: skip
    golden = np.load(bundle / "golden" / f"{file.stem}.npz")
    data = file.read_bytes()
    data += golden["input/stripes.png"].tobytes() + golden["output/stripes.png"].tobytes()
    assert printed[: len(data)] == data
    *labels, numbers = printed[len(data) :].decode().splitlines()
    assert labels == (bundle / f"{file.stem}.labels.txt").read_text().splitlines()
    assert numbers == "32 37 0.00390625 0 0"


@pytest.mark.parametrize(("outputs", "front"), [(3, []), (4, ["background"])])
def test_labels_are_in_step_with_the_output(outputs: int, front: list[str], tmp_path: Path) -> None:
    taken = TensorInfo("in", (1, 16, 16, 3), "uint8", 1 / 128, 128)
    header = _write(tmp_path, CONTRACT, taken, outputs)
    printed = _run(
        tmp_path, tmp_path, "m",
        '#include <stdio.h>\n#include "m.h"\nint main(void) {\n'
        "  for (unsigned i = 0; i < sizeof m_labels / sizeof *m_labels; i++) puts(m_labels[i]);\n"
        '  printf("%d %d", M_OUTPUT_COUNT, M_CLASSES);\n  return 0;\n}\n',
    )  # fmt: skip
    assert printed.decode().split() == [*front, "a", "b", "c", str(outputs), "3"]
    assert ("background class" in header) == bool(front)


@pytest.mark.parametrize(
    ("dtype", "zero_point", "low", "high"), [("uint8", 128, 0, 255), ("int8", 0, -128, 127)]
)
def test_rule_of_the_header(
    dtype: str, zero_point: int, low: int, high: int, tmp_path: Path
) -> None:
    """A program that does as the header says feeds what EdgeZoo feeds; white is beyond a byte."""
    taken = TensorInfo("in", (1, 16, 16, 3), dtype, 1 / 128, zero_point)
    header = _write(tmp_path, CONTRACT, taken, 3)
    assert (
        "Feed pixel * NORMALIZATION_SCALE + NORMALIZATION_OFFSET, channels in RGB order, divided "
        f"by INPUT_SCALE, rounded, plus INPUT_ZERO_POINT, and clipped to {low} to {high}."
    ) in header
    printed = _run(
        tmp_path, tmp_path, "m",
        '#include <math.h>\n#include <stdio.h>\n#include "m.h"\nint main(void) {\n'
        "  const float scale[] = M_NORMALIZATION_SCALE, offset[] = M_NORMALIZATION_OFFSET;\n"
        "  for (int i = 0; i < 768; i++) {\n"
        "    float value = (float)(i / 3) * scale[i % 3] + offset[i % 3];\n"
        "    long level = lrintf(value / M_INPUT_SCALE) + M_INPUT_ZERO_POINT;\n"
        f"    level = level < {low} ? {low} : level > {high} ? {high} : level;\n"
        "    putchar((int)(level & 255));\n  }\n  return 0;\n}\n",
    )  # fmt: skip
    pixels = np.arange(768).reshape(1, 16, 16, 3) // 3
    wanted = to_input(pixels.astype(np.uint8), CONTRACT, taken)
    assert wanted.max() == high and printed == wanted.tobytes()


def test_rule_of_a_float_input() -> None:
    taken = TensorInfo("in", (1, 16, 16, 3), "float32")
    assert c_source._rule("normalized", taken.dtype, "BGR").endswith("in BGR order.")


def test_file_with_the_name_of_a_keyword(exported: Exported, tmp_path: Path) -> None:
    file = tmp_path / "int.tflite"
    shutil.copy(exported.path("tflite", "int8"), file)
    ended = run_cli("bundle", file, "-o", tmp_path / "made", "--c-array", "--json")
    assert ended.json["models"][0]["c_sources"][0] == "c/int_model.h"
    assert "int.tflite" in tree(tmp_path / "made")
    main = '#include "int_model.h"\nint main(void) { return int_model_len == 0; }\n'
    assert _run(tmp_path, tmp_path / "made" / "c", "int_model", main) == b""


@pytest.mark.parametrize(
    ("text", "literal"), [('a"b\\', '"a\\042b\\134"'), ("é?", '"\\303\\251\\077"'), ("", '""')]
)
def test_c_strings(text: str, literal: str) -> None:
    assert escapes.c_string(text) == literal
