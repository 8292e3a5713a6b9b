"""A device may answer anything: each answer is used, or refused in one sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgezoo.core.errors import DataError
from edgezoo.inspection import diagnosis
from edgezoo.system.remote import agent, device

FIRST = {"here": dict.fromkeys(("python", "executable", "machine", "system"), "x"), "missing": []}
FORMS: dict[str, list[object]] = {
    "error without fields": [{"error": {}}],
    "error of numbers": [{"error": {"class": "DataError", "message": 1, "hint": []}}],
    "unknown error": [{"error": {"class": "SystemExit", "message": "", "hint": ""}}],
    "list": [[1]],
    "number": [5],
    "no JSON": ["x"],
    "not a number": ["NaN"],
    "nest": ["[" * 100_000],
    "digits": ["1" + "0" * 5000],
    "here a text": [{"here": "x", "missing": []}],
    "missing a number": [{**FIRST, "missing": [5]}],
    "a file of its own choice": [{**FIRST, "missing": ["../../.ssh/id_rsa"]}],
    "no answer": [FIRST, {}],
    "value a number": [FIRST, {"answer": {"value": 5, "runtimes": {}}}],
    "runtimes a list": [FIRST, {"answer": {"value": {}, "runtimes": [1]}}],
}


def _answer(folder: Path, lines: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program called ssh on the path that answers so."""
    said = [agent.MARK, *(x if isinstance(x, str) else json.dumps(x) for x in lines)]
    (folder / "said").write_text("\n".join(said) + "\n")
    program = folder / "ssh"
    program.write_text(f"#!/bin/sh\ncat {folder / 'said'}\ncat > /dev/null\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(device, "package", list)


@pytest.mark.parametrize("form", FORMS)
def test_wrong_forms(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(tmp_path, FORMS[form], monkeypatch)
    with pytest.raises(DataError, match=r"ssh://board gave an answer that is none of EdgeZoo's"):
        device.call("ssh://board", diagnosis.diagnose)


def test_the_error_of_a_device_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"class": "DataError", "message": "It is damaged.", "hint": "Copy it again."}
    _answer(tmp_path, [{"error": told}], monkeypatch)
    with pytest.raises(DataError, match=r"On ssh://board: It is damaged\. Copy it again\."):
        device.call("ssh://board", diagnosis.diagnose)
