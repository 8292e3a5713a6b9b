"""The tested versions with hashes, which `pip install --require-hashes` takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

FILES = {"device": "constraints-device.txt", "export": "constraints.txt", "all": "constraints.txt"}


def _pins(path: Path) -> dict[str, str]:
    """Versions by name; every line is a comment or a pin."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            wanted = Requirement(line)
            found[canonicalize_name(wanted.name)] = str(wanted.specifier)
    return found


@pytest.mark.parametrize("name", FILES)
def test_versions_are_those_of_the_constraints(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    entries = re.findall(r"^(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", body, re.M)
    assert "".join(f"{pin} \\\n{hashes}" for pin, hashes in entries).rstrip() == body.rstrip()
    pins = _pins(ROOT / FILES[name])
    for pin, _ in entries:
        wanted = Requirement(pin)
        assert pins[canonicalize_name(wanted.name)] == str(wanted.specifier)
    assert len(entries) > 5 and "://" not in text


@pytest.mark.parametrize("name", {*FILES.values()})
def test_constraints_have_no_stray_lines(name: str) -> None:
    """Such as what `pip freeze` notes about a checkout."""
    text = (ROOT / name).read_text()
    assert "Editable" not in text and "edgezoo==" not in text
    assert all(pin.startswith("==") for pin in _pins(ROOT / name).values())


@pytest.mark.slow
def test_pip_installs_them_by_hash(tmp_path: Path) -> None:
    """And refuses a file whose hash is another."""
    path = ROOT / "requirements" / "device.txt"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "v")], check=True)
    python = str(tmp_path / "v" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r"]
    other = tmp_path / "other.txt"
    other.write_text(re.sub(r"sha256:[0-9a-f]{4}", "sha256:0000", path.read_text()))
    refused = subprocess.run([*install, str(other)], capture_output=True, text=True)
    assert refused.returncode and "HASHES" in refused.stderr
    subprocess.run([*install, str(path)], check=True)
    program = "import ai_edge_litert.interpreter, numpy, PIL"
    subprocess.run([python, "-c", program], check=True)
