"""The wrapper of edgetpu_compiler, with a program in its place that prints what the real one does.

The real one is closed and comes from Google's own package source only; the shapes of its output
are those of version 16.0.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgezoo.core import registry
from edgezoo.runtimes._edgetpu import read_package
from edgezoo.targets._edgetpu_compiler import read_log
from edgezoo.targets._tool import copy_contract
from tests.conftest import Ended, Exported
from tests.docs.test_schemas import check
from tests.support.coral import CORAL, require

HEAD = (
    "Edge TPU Compiler version 16.0.384591198\n"
    "Started a compilation timeout timer of 180 seconds.\n"
)
WHOLE = """
Model compiled successfully in 912 ms.

Input model: {file}
Input size: 604.10KiB
Output model: {made}
Output size: 780.09KiB
On-chip memory used for caching model parameters: 553.62KiB
On-chip memory remaining for caching model parameters: 7.14MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 33
Operation log: {log}

Operator                       Count      Status

QUANTIZE                       2          Mapped to Edge TPU
CONV_2D                        15         Mapped to Edge TPU
DEPTHWISE_CONV_2D              13         Mapped to Edge TPU
MEAN                           1          Mapped to Edge TPU
RESHAPE                        1          Mapped to Edge TPU
SOFTMAX                        1          Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""
PART = """
Model compiled successfully in 3400 ms.
Number of Edge TPU subgraphs: 1
Total number of operations: 72

Model successfully compiled but not all operations are supported by the Edge TPU.
Number of operations that will run on Edge TPU: 64
Number of operations that will run on CPU: 8

Operator                       Count      Status

CONV_2D                        2          More than one subgraph is not supported
CONV_2D                        36         Mapped to Edge TPU
DEPTHWISE_CONV_2D              17         Mapped to Edge TPU
ADD                            10         Mapped to Edge TPU
AVERAGE_POOL_2D                1          Mapped to Edge TPU
RESIZE_BILINEAR                1          Operation is otherwise supported, but not mapped due to some unspecified limitation
RESIZE_BILINEAR                2          More than one subgraph is not supported
QUANTIZE                       1          More than one subgraph is not supported
CONCATENATION                  1          More than one subgraph is not supported
ARG_MAX                        1          Operation is working on an unsupported data type
"""  # noqa: E501
NONE = """
Number of operations that will run on Edge TPU: 0
Number of operations that will run on CPU: 9
"""
# What it prints, exit code, whether it writes the compiled file.
CASES = {
    "whole": (HEAD + WHOLE, 0, True),
    "part": (HEAD + PART, 0, True),
    "none": (HEAD + NONE, 0, True),
    "float": (HEAD + "Invalid model: x.tflite\nModel not quantized\n", 1, False),
    "internal": (HEAD + "Internal compiler error. Aborting! \n", 1, False),
    "silent": (HEAD + "Compilation succeeded!\n", 0, False),
    "full": (HEAD + "write: No space left on device\n", 1, False),
    "unknown": (HEAD + "ERROR: Attempting to use a delegate\n", 1, False),
}
Compile = Callable[..., Ended]


@pytest.fixture
def compile_as(
    tmp_path: Path, exported: Exported, cli: Callable[..., Ended]
) -> Callable[..., Ended]:
    """`edgezoo compile --target coral` where edgetpu_compiler does what a case says."""
    source = tmp_path / "model.tflite"
    shutil.copy(exported.path("tflite", "int8"), source)

    def run(case: str, *options: str) -> Ended:
        printed, code, writes = CASES.get(case, ("", 0, False))
        (tmp_path / "printed.txt").write_text(printed)
        program = tmp_path / "bin" / "edgetpu_compiler"
        program.parent.mkdir()
        program.write_text(
            f"#!{sys.executable} -S\n"
            "import shutil, subprocess, sys, time\n"
            "folder, source = sys.argv[sys.argv.index('-o') + 1], sys.argv[-1]\n"
            f"print(open({str(tmp_path / 'printed.txt')!r}).read(), flush=True)\n"
            f"if {writes}: shutil.copyfile(source, folder + '/model_edgetpu.tflite')\n"
            f"if {case == 'hang'}:\n"
            "    open(folder + '/model_edgetpu.tflite', 'w').write('half')\n"
            "    time.sleep(3600)\n"
            f"sys.exit({code})\n"
        )
        program.chmod(0o755)
        path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        return cli("compile", source, "--target", "coral", "-o", tmp_path / "out", *options,
                   PATH=path)  # fmt: skip

    return run


def test_all_mapped(compile_as: Compile, tmp_path: Path) -> None:
    facts = compile_as("whole", "--json").json
    check("compile", facts)
    assert (facts["npu_ops"], facts["cpu_ops"], facts["estimate"]) == (33, 0, None)
    assert facts["remarks"] == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model_edgetpu.tflite"]


def test_partly_mapped_reports_causes_and_fixes(compile_as: Compile) -> None:
    ended = compile_as("part")
    assert ended.code == 0
    assert "64 operations" in ended.stdout and "8 operations" in ended.stdout
    assert ended.stderr.count("Warning") == 6
    assert "1 ARG_MAX: Operation is working on an unsupported data type (export with --target" in (
        " ".join(ended.stderr.split())
    )


def test_offload_below_what_was_asked(compile_as: Compile) -> None:
    message = compile_as("part", "--min-offload", "0.95").error(6)
    assert "88.9%" in message and "RESIZE_BILINEAR" in message


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("float", "not quantized"),
        ("none", "maps none"),
        ("internal", "internal error"),
        ("silent", "Compilation succeeded!"),
        ("unknown", "Attempting to use a delegate"),
    ],
)
def test_failures_leave_nothing(compile_as: Compile, tmp_path: Path, case: str, words: str) -> None:
    assert words in compile_as(case).error(3)
    assert not (tmp_path / "out").exists()


def test_full_disk(compile_as: Compile, tmp_path: Path) -> None:
    assert "could not write its files" in compile_as("full").error(5)
    assert not (tmp_path / "out").exists()


def test_hang_is_stopped(compile_as: Compile, tmp_path: Path) -> None:
    assert "did not finish within 1 s" in compile_as("hang", "--timeout", "1").error(3)
    assert not (tmp_path / "out").exists()


def test_without_the_compiler(exported: Exported, cli: Callable[..., Ended]) -> None:
    message = cli("compile", exported.path("tflite", "int8"), "--target", "coral",
                  PATH="/nowhere").error(4)  # fmt: skip
    assert "edgetpu_compiler is not installed" in message and "coral.ai" in message


def test_float_file_is_refused_before_the_compiler_is_looked_for(
    exported: Exported, cli: Callable[..., Ended]
) -> None:
    path = exported.path("tflite", "float32")
    assert "float32" in cli("compile", path, "--target", "coral", PATH="/nowhere").error(3)


def test_contract_goes_on_with_the_compiled_file(exported: Exported, tmp_path: Path) -> None:
    """The compiler drops what stands behind the flatbuffer."""
    require()
    compiled = tmp_path / "compiled.tflite"
    shutil.copy(CORAL / "mobilenet_v1_0.25_128_quant_edgetpu.tflite", compiled)
    assert registry.load_artifact(compiled).contract is None
    source = exported.path("tflite", "int8")
    copy_contract(source, compiled)
    assert registry.load_artifact(compiled).contract == registry.load_artifact(source).contract
    assert read_package(compiled).minimum_runtime == 12


def test_log_with_several_rows_of_one_operation() -> None:
    verdict = read_log(PART)
    assert (verdict.npu_ops, verdict.cpu_ops) == (64, 8)
    assert [row for row in verdict.rows if row[0] == "CONV_2D"] == [
        ("CONV_2D", 2, "More than one subgraph is not supported"),
        ("CONV_2D", 36, "Mapped to Edge TPU"),
    ]
