"""Paths in the commands that are proposed for copying are quoted for a shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# EdgeZoo's own words: options, names of models and devices, and commands that were quoted before.
OWN = {"shell", "_PLACES[shell]", "result.tried[0].options", "command", "device", "follow",
       "models[0].model", "found.model"}  # fmt: skip


@pytest.mark.parametrize(
    "file", sorted((ROOT / "edgezoo" / "cli").glob("*.py")), ids=lambda file: file.stem
)
def test_values_in_a_proposed_command(file: Path) -> None:
    unquoted = set(_values(ast.parse(file.read_text()))) - OWN
    assert [value for value in unquoted if not value.startswith("shell(")] == []


def _values(tree: ast.AST) -> Iterator[str]:
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("next_command"):
            for part in ast.walk(call):
                if isinstance(part, ast.FormattedValue):
                    yield ast.unparse(part.value)
