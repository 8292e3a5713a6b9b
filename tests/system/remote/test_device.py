"""--on ssh://…, against a real sshd on the loopback device."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, Ended, Exported, Trained, environment, run_cli
from tests.docs.test_schemas import check
from tests.support import needs
from tests.support.devices import Machine, Pi
from tests.support.processes import PATIENCE, until


@pytest.fixture(autouse=True)
def _clean(machine: Machine) -> Iterator[None]:
    machine.configure()
    yield
    runs = machine.store / "runs"
    assert not runs.exists() or list(runs.iterdir()) == [], "the device is cleaned up"


def _on(machine: Machine, *arguments: str | Path, python: str | Path = sys.executable) -> Ended:
    return run_cli(*arguments, "--on", machine.url(python), PATH=machine.path)


@pytest.fixture
def pictures(trained: Trained) -> list[Path]:
    return sorted(trained.test.rglob("*.png"))[:3]


def _program(folder: Path, *lines: str, sitecustomize: str = "") -> Path:
    """A Python that first does something else."""
    (folder / "sitecustomize.py").write_text(sitecustomize)
    place = folder / "python"
    place.write_text(
        "\n".join(["#!/bin/sh", *lines, f'PYTHONPATH={folder} exec {sys.executable} "$@"', ""])
    )
    place.chmod(0o755)
    return place


# The same answers


@pytest.mark.parametrize("format", ["tflite", "openvino"])
def test_classify_and_what_is_copied(
    format: str, machine: Machine, exported: Exported, pictures: list[Path], tmp_path: Path
) -> None:
    mine = [Path(shutil.copy(path, tmp_path)) for path in pictures]
    command: tuple[str | Path, ...]
    command = ("classify", exported.path(format, "int8"), *mine, "--json")
    here = run_cli(*command).json
    # The machine is shared: an earlier test may have copied the same contents there.
    shutil.rmtree(machine.store / "blobs", ignore_errors=True)
    there = _on(machine, *command).json
    remote = there.pop("remote")
    assert there == here
    assert remote["device"] in machine.url()
    assert remote["python"] == ".".join(map(str, sys.version_info[:3]))
    assert os.path.samefile(remote["executable"], sys.executable)
    assert remote["runtimes"]["litert"].startswith("ai-edge-litert ")
    assert remote["copied"]["files"] >= (2 if format == "openvino" else 1)
    assert _on(machine, *command).json["remote"]["copied"] == {"files": 0, "bytes": 0}
    noise = np.random.default_rng(len(format)).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(mine[1])
    changed = _on(machine, *command).json
    copied = changed.pop("remote")["copied"]
    assert copied == {"files": 1, "bytes": mine[1].stat().st_size}
    assert changed == run_cli(*command).json != here


def test_evaluate_copies_what_it_scores(
    machine: Machine, exported: Exported, trained: Trained
) -> None:
    chosen, reference = (exported.path("tflite", precision) for precision in ("int8", "float32"))
    command = ("evaluate", chosen, "--images", trained.test, "--limit", "12", "--reference",
               reference, "--json")  # fmt: skip
    there = _on(machine, *command).json
    copied = there.pop("remote")["copied"]["files"]
    assert there == run_cli(*command).json
    assert there["results"][0]["images"] == 12
    assert copied <= 14 + 300, "twelve pictures, two models and EdgeZoo, not 400 pictures"
    flat = ("evaluate", chosen, "--images", trained.test.parent / "flat", "--json")
    _make_flat(trained, flat[3])
    there = _on(machine, *flat).json
    del there["remote"]
    assert there == run_cli(*flat).json


def test_benchmark_on_the_device(machine: Machine, exported: Exported, trained: Trained) -> None:
    """Latency, its trust and its machine come from there; accuracy is what it is here."""
    file = exported.path("tflite", "int8")
    command = ("benchmark", file, "--images", trained.test, "--limit", "12", "--no-self-check",
               "--threads", "all", "--json")  # fmt: skip
    facts = _on(machine, *command).json
    check("benchmark", facts)
    (result,) = facts["results"]
    assert result["artifact"] == str(file) and result["latency_ms"]["n"] >= 50
    assert result["trust"]["host"]["before"]["load"] is not None
    assert facts["environment"]["machine"]["python"] == facts["remote"]["python"]
    scored = run_cli("evaluate", file, *command[2:6], "--json").json["results"][0]
    assert result["accuracy"]["top1"] == scored["top1"] and result["accuracy"]["images"] == 12


def test_emulated_device_reports_no_time(machine: Machine, exported: Exported) -> None:
    needs.require("qemu-x86_64-static")
    python, packages = machine.folder / "emulated", os.pathsep.join(filter(None, sys.path))
    python.write_text(
        f'#!/bin/sh\nexport PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{packages}"\n'
        f'exec qemu-x86_64-static -0 {python} {os.path.realpath(sys.executable)} "$@"\n'
    )
    python.chmod(0o755)
    ended = _on(machine, "benchmark", exported.path("tflite", "int8"), "--json", python=python)
    assert "emulated by qemu-x86_64-static" in ended.error(3)
    assert "results" not in ended.json


def _make_flat(trained: Trained, folder: Any) -> None:
    folder.mkdir(exist_ok=True)
    lines = []
    for path in sorted(trained.test.rglob("*.png"))[:6]:
        shutil.copy(path, folder)
        lines.append(f"{path.name} {path.parent.name}\n")
    (folder / "val.txt").write_text("".join(lines))


def test_doctor_and_talkative_login(machine: Machine, tmp_path: Path) -> None:
    """What a login script prints does not reach the result."""
    python = _program(tmp_path, "echo Welcome", "echo mind the gap >&2")
    ended = _on(machine, "doctor", "--json", python=python)
    facts = ended.json
    assert facts["remote"]["device"] in machine.url()
    assert facts["machine"]["architecture"] == facts["remote"]["machine"]
    shown = _on(machine, "doctor")
    assert shown.code == 0 and "Runtimes" in shown.stdout
    assert f"On {facts['remote']['device']}: " in shown.stderr


def test_emulated_pi(
    machine: Machine, pis: dict[str, Pi], exported: Exported, pictures: list[Path]
) -> None:
    """The remote Python is one of aarch64; 8-bit answers are the same."""
    command: tuple[str | Path, ...]
    command = ("classify", exported.path("tflite", "int8"), *pictures, "--json")
    there = _on(machine, *command, python=pis["pi4"].python).json
    remote = there.pop("remote")
    assert (remote["machine"], remote["executable"]) == ("aarch64", str(pis["pi4"].python))
    here = run_cli(*command).json
    for ours, theirs in zip(here["results"], there["results"], strict=True):
        assert ours["classes"][0]["index"] == theirs["classes"][0]["index"]
        assert ours["classes"][0]["probability"] == pytest.approx(
            theirs["classes"][0]["probability"], abs=1 / 256
        )


# Errors


def test_error_of_the_device(machine: Machine, exported: Exported, tmp_path: Path) -> None:
    damaged = tmp_path / "photo.jpg"
    damaged.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    ended = _on(machine, "classify", exported.path("tflite", "int8"), damaged)
    message = ended.error(5)
    assert message.startswith(f"On {machine.url('')}: ") and str(damaged) in message
    missing = _on(machine, "classify", exported.path("tflite", "int8"), tmp_path / "none.jpg")
    assert "none.jpg" in missing.error(5)


def test_device_without_a_runtime(
    machine: Machine, exported: Exported, pictures: list[Path], tmp_path: Path
) -> None:
    from tests.support.hidden import SITECUSTOMIZE

    python = _program(
        tmp_path, "export EDGEZOO_HIDDEN_PACKAGES=ai_edge_litert,tflite_runtime,tensorflow",
        sitecustomize=SITECUSTOMIZE,
    )  # fmt: skip
    ended = _on(machine, "classify", exported.path("tflite", "int8"), *pictures, python=python)
    assert 'pip install "edgezoo[tflite]"' in ended.error(4)


@pytest.mark.parametrize(("package", "pip"), [("PIL", "pillow"), ("numpy", "numpy")])
def test_device_without_what_every_file_needs(
    package: str, pip: str, machine: Machine, exported: Exported, pictures: list[Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    """A TFLite runtime does not bring Pillow."""
    from tests.support.hidden import SITECUSTOMIZE

    python = _program(
        tmp_path, f"export EDGEZOO_HIDDEN_PACKAGES={package}", sitecustomize=SITECUSTOMIZE
    )  # fmt: skip
    ended = _on(machine, "classify", exported.path("tflite", "int8"), *pictures, python=python)
    assert f"pip install {pip}" in ended.error(4)
    facts = _on(machine, "doctor", "--json", python=python).json
    (problem,) = facts["problems"]
    assert pip in problem["what"] and problem["fix"] == f"Run: pip install {pip}."


def _wrong_key(machine: Machine) -> str:
    machine.configure(key="stranger")
    return machine.url()


def _unknown_host(machine: Machine) -> str:
    machine.configure(known="none")
    return machine.url()


WRONG: dict[str, tuple[Callable[[Machine], str], str]] = {
    "key": (_wrong_key, "ssh-copy-id -p "),
    "no Python": (lambda m: m.url("/bin/true"), "is not a Python interpreter"),
    "host key": (_unknown_host, "fingerprint"),
    "port": (lambda m: m.url().replace(f":{m.port}", ":1"), "no server listens"),
    "python": (lambda m: m.url("/no/such/python"), "it has no /no/such/python"),
    "folder": (lambda m: m.url("/usr"), "/usr"),
    "name": (lambda m: "ssh://nobody@no.such.host.invalid", "name is unknown"),
}


@pytest.mark.parametrize("case", WRONG)
def test_device_that_cannot_be_used(case: str, machine: Machine) -> None:
    prepare, word = WRONG[case]
    ended = run_cli("doctor", "--json", "--on", prepare(machine), PATH=machine.path)
    message = ended.error(4)
    assert word in message and "ssh://" in message
    assert ended.json["error"]["exit_code"] == 4


def test_no_ssh_here(exported: Exported, tmp_path: Path) -> None:
    ended = run_cli("doctor", "--on", "ssh://pi@board", PATH=str(tmp_path))
    assert "OpenSSH" in ended.error(4)


# Interruptions

_SLEEP = """
import sys, time
if "edgezoo.system.process" in sys.orig_argv:
    time.sleep(3600)
"""


def _slow(machine: Machine, tmp_path: Path) -> subprocess.Popen[str]:
    """A command whose work on the device takes long, once that work has begun."""
    python = _program(tmp_path, sitecustomize=_SLEEP)
    process = subprocess.Popen(
        [sys.executable, "-m", "edgezoo", "doctor", "--json", "--on", machine.url(python)],
        cwd=ROOT, env=environment(PATH=machine.path), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert until(lambda: list(machine.store.glob("runs/*/log"))), "the work never began"
    return process


def _at_work(machine: Machine) -> list[str]:
    """Processes that work in a folder of the device's runs."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            place = os.readlink(entry)
        except OSError:
            continue
        if place.startswith(str(machine.store / "runs")):
            found.append(entry.parent.name)
    return found


def _session(machine: Machine) -> int:
    """The sshd process that serves the one open connection."""
    children = Path(f"/proc/{machine.pid}/task/{machine.pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_signal(number: int, code: int, machine: Machine, tmp_path: Path) -> None:
    process = _slow(machine, tmp_path)
    assert until(lambda: _at_work(machine))
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout) == (code, "")
    assert len(stderr.strip().splitlines()) == 1, stderr
    assert until(lambda: not _at_work(machine)), "the work there goes on"
    assert until(lambda: not list((machine.store / "runs").iterdir()))


def test_lost_connection(machine: Machine, tmp_path: Path) -> None:
    process = _slow(machine, tmp_path)
    assert until(lambda: _at_work(machine))
    os.kill(_session(machine), signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    ended = Ended(process.returncode, stdout, stderr)
    assert "was lost" in ended.error(4) and "no result" in stderr
    assert ended.json["error"]["exit_code"] == 4
    assert until(lambda: not _at_work(machine)), "the work there goes on"
    assert until(lambda: not list((machine.store / "runs").iterdir()))


def test_damaged_store_is_mended(machine: Machine) -> None:
    # The machine is shared: only what this command needs may lie there.
    shutil.rmtree(machine.store, ignore_errors=True)
    assert _on(machine, "doctor").code == 0
    blobs = sorted((machine.store / "blobs").iterdir())
    blobs[0].write_bytes(b"bit rot")
    again = _on(machine, "doctor", "--json").json["remote"]["copied"]
    assert again["files"] == 1
