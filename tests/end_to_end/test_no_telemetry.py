"""Nothing goes out to the network but what was asked for, neither from us nor from a library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SUPPORT, Trained, environment
from tests.support import needs

# As nncf makes it, see nncf/telemetry/wrapper.py.
OPENVINO_TELEMETRY = """
from openvino_telemetry import Telemetry
telemetry = Telemetry("nncf", "1", "G-0", "ga4", enable_opt_in_dialog=False, disable_in_ci=True)
telemetry.send_event("test", "test", "test")
telemetry.force_shutdown(5)
"""


def _own_network() -> list[str]:
    """The command that gives a process an empty network namespace."""
    needs.require("ip", "unshare")
    for command in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        if subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0:
            return command
    pytest.skip("needs the right to make a network namespace (unshare --net)")


def _sent(folder: Path, command: list[str], **env: str) -> list[str]:
    """Where packets went while a command ran, with an empty home folder."""
    (folder / "home").mkdir(exist_ok=True)
    seen = folder / "seen.json"
    changed = environment(HOME=str(folder / "home"), RES_OPTIONS="timeout:1 attempts:1", **env)
    changed["PATH"] = needs.PATH
    if "CI" not in env:
        changed.pop("CI", None)
    ended = subprocess.run(
        [*_own_network(), sys.executable, str(SUPPORT / "watch_network.py"), str(seen), *command],
        cwd=folder, env=changed, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found: list[str] = json.loads(seen.read_text())
    return found


def test_an_attempt_is_seen(tmp_path: Path) -> None:
    """By a name, and by an address; from Python, and by what speaks no Python."""
    lookup = "import socket, contextlib\nwith contextlib.suppress(OSError): " \
             "socket.getaddrinfo('example.org', 443)"  # fmt: skip
    assert any("example.org" in sent for sent in _sent(tmp_path, [sys.executable, "-c", lookup]))
    shell = "echo hello > /dev/udp/192.0.2.7/443"
    assert _sent(tmp_path, ["bash", "-c", shell]) == ["udp 192.0.2.7:443"]
    assert _sent(tmp_path, ["true"]) == []


def test_openvino_telemetry_speaks_unless_told_otherwise(tmp_path: Path) -> None:
    """What EdgeZoo switches off is there, and the watch sees it."""
    pytest.importorskip("openvino_telemetry")
    command = [sys.executable, "-c", OPENVINO_TELEMETRY]
    assert any("google-analytics" in sent for sent in _sent(tmp_path, command))
    assert _sent(tmp_path, command, CI="true") == []


# onnxruntime speaks some ten seconds after a session was made, so one process stays that long.
STAYS = """
import pathlib, sys, time
import edgezoo
for path in pathlib.Path("made").glob("*"):
    if path.suffix in (".tflite", ".onnx", ".xml"):
        edgezoo.open_artifact(path)
time.sleep(20)
"""


def test_the_main_job_is_silent(trained: Trained, tmp_path: Path) -> None:
    """Export to all formats, inspect, evaluate, classify; about 20 CPU seconds."""
    (tmp_path / "stays.py").write_text(STAYS)
    edgezoo = f"{sys.executable} -m edgezoo"
    picture = next(trained.test.rglob("*.png"))
    script = f"""
        set -e
        {edgezoo} export {" ".join(trained.options)} --int8 -o made
        {sys.executable} stays.py &
        files="$(ls made/*.tflite made/*.onnx made/*.xml)"
        for file in $files; do {edgezoo} inspect $file; done
        {edgezoo} evaluate $files --images {trained.test} --limit 20
        {edgezoo} classify made/*.xml {picture}
        wait %1
    """
    assert _sent(tmp_path, ["bash", "-c", script]) == []
    assert len(list((tmp_path / "made").glob("*_int8.*"))) == 4
    kept = {path.name for path in (tmp_path / "home").iterdir()}
    assert kept <= {".cache", ".keras"}, "telemetry leaves its marks in ~/intel"
