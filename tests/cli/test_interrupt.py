"""Ctrl-C, SIGTERM and a crashing library in the middle of an export."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Trained, environment, run_cli
from tests.support.processes import PATIENCE, alive, children_of, until


def _stage(output: Path) -> list[Path]:
    return list(output.glob(".edgezoo-*/*/*"))


# What must be on the stage when the signal comes.
MOMENTS: dict[str, Callable[[Path], object]] = {
    "while TensorFlow starts": lambda output: any(p.suffix == ".npy" for p in _stage(output)),
    "while files are written": lambda output: any(
        p.name in ("float.onnx", "prepared.onnx") for p in _stage(output)
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated")],
    ids=["SIGINT", "SIGTERM"],
)
def test_signal_in_the_middle(
    number: int, code: int, word: str, moment: str, trained: Trained, output: Path, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "edgezoo", "export", *trained.options, "--int8", "--format",
               "onnx,openvino", "-o", str(output)]  # fmt: skip
    # A shell that runs the tests in the background hands down an ignored SIGINT.
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(TMPDIR=str(scratch)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert until(lambda: MOMENTS[moment](output)), "the moment never came"
        assert until(lambda: children_of(process.pid)), "no child ever ran"
        children = children_of(process.pid)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == code, stderr
    assert stdout == ""
    assert len(stderr.strip().splitlines()) == 1 and stderr.strip().startswith(word), stderr
    assert not output.exists(), "no artifact, no manifest, no stage, no empty folder"
    assert until(lambda: not any(map(alive, children))), "a child outlived its parent"
    assert list(scratch.iterdir()) == [], "scratch folders are gone too"


def test_children_end_when_the_parent_is_killed(
    trained: Trained, output: Path, tmp_path: Path
) -> None:
    """SIGKILL leaves the stage behind; the next export into that folder sweeps it up."""
    command = [sys.executable, "-m", "edgezoo", "export", *trained.options, "--int8", "--format",
               "tflite", "-o", str(output)]  # fmt: skip
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(TMPDIR=str(scratch)), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert until(lambda: _stage(output) and children_of(process.pid))
        children = children_of(process.pid)
    finally:
        process.kill()
        process.wait()
    assert until(lambda: not any(map(alive, children))), "also within a library's long call"
    assert _stage(output)
    assert not [p for p in _stage(output) if p.suffix == ".tflite"], "ended before their work did"
    assert list(scratch.iterdir()) == [], "what the children leave is on the stage"
    again = run_cli("export", *trained.options, "-o", output, "--format", "tflite")
    assert again.code == 0, again.stderr
    assert _stage(output) == []


def test_library_that_aborts(tmp_path: Path, output: Path) -> None:
    """An abort of TensorFlow in the child becomes one error of ours, and nothing stays."""
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text("import os\nos.abort()\n")
    ended = run_cli("export", "mobilenet", "--weights", "random", "--input-size", "32", "-o",
                    output, "--json", PYTHONPATH=f"{tmp_path}:{ROOT}")  # fmt: skip
    assert ended.code == 1
    assert ended.stderr.startswith("Error: The process for the step 'make source' died (SIGABRT).")
    assert ended.json["error"]["exit_code"] == 1
    assert "--debug" in ended.json["error"]["hint"]
    assert not output.exists()


@pytest.mark.parametrize("unbuffered", ["1", ""])
@pytest.mark.parametrize(("words", "code"), [(("list", "--json"), 0), (("show", "x", "--json"), 2)])
def test_closed_pipe_is_no_error(words: tuple[str, ...], code: int, unbuffered: str) -> None:
    """`edgezoo list | head -1`; what went wrong is told also where nobody reads its JSON."""
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", "edgezoo", *words],
        cwd=ROOT,
        env=environment(PYTHONUNBUFFERED=unbuffered),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert ended.returncode == code


@pytest.mark.parametrize("words", ["list --json", "show mobilenet", "show x --json"])
@pytest.mark.parametrize(
    ("where", "code"), [(">&-", 0), (">/dev/full", 5), ("2>&-", 0), ("<&- >&- 2>&-", 0)]
)
def test_output_that_goes_nowhere(words: str, where: str, code: int) -> None:
    """Closed by the shell: no more is said. A full disk: one sentence."""
    ended = subprocess.run(
        f"{shlex.quote(sys.executable)} -m edgezoo {words} {where}",
        shell=True,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert ended.returncode == (2 if "show x" in words else code), ended.stderr


def test_interrupt_while_modules_are_loaded(tmp_path: Path) -> None:
    """Ctrl-C in the first tenth of a second."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    ended = run_cli("list", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (ended.code, ended.stdout, ended.stderr) == (130, "", "")
