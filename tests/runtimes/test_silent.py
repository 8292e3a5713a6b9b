"""Packages are imported in an environment that keeps them quiet, which then goes again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgezoo.runtimes import _silent
from edgezoo.system.process import SILENT


@pytest.mark.parametrize("ci", [None, "false"])
def test_environment_for_the_time_of_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str | None
) -> None:
    (tmp_path / f"package_{ci}.py").write_text("import os; SEEN = dict(os.environ)")
    monkeypatch.syspath_prepend(tmp_path)
    for name in SILENT:
        monkeypatch.delenv(name, raising=False)
    if ci is not None:
        monkeypatch.setenv("CI", ci)
    before = dict(os.environ)
    package = _silent.load(f"package_{ci}")
    assert SILENT.items() <= package.SEEN.items()
    assert dict(os.environ) == before
    assert _silent.load(f"package_{ci}") is package


def test_environment_after_a_failed_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(ModuleNotFoundError):
        _silent.load("package_that_is_not_there")
    assert "CI" not in os.environ
