"""A misspelt name is a type error: three of them, put into a copy, each fail mypy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment, made_once

# Where to look, and for what: the group is a name that is spelt rightly.
NAMES = {
    "a field of a preparation": ("exporters/*.py", r"\bpreparation\.(input_scale)\b"),
    "a field of a row": ("edgezoo/reporting/*.py", r"\brow\.(noise_floor)\b"),
    "a keyword of a child's function": (
        "edgezoo/pipeline/*.py", r"\bchildren\.make_source,[^=]*\b(questions)=",
    ),
}  # fmt: skip


def _mypy(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mypy", "edgezoo"], cwd=tree, capture_output=True, text=True,
        env=environment(MYPYPATH="", COVERAGE_PROCESS_START=""), check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tree(common: Path) -> Path:
    """A copy of the product code that mypy has been through."""

    def make(folder: Path) -> None:
        for name in ("edgezoo", "exporters", "runtimes", "calibration", ".mypy_cache"):
            if (ROOT / name).exists():
                shutil.copytree(ROOT / name, folder / name, symlinks=True,
                                ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
        shutil.copy(ROOT / "pyproject.toml", folder)
        ended = _mypy(folder)
        assert ended.returncode == 0, ended.stdout

    return made_once(common / "typed-tree", make)


@pytest.mark.parametrize("what", NAMES)
def test_misspelling_fails(what: str, tree: Path) -> None:
    places, pattern = NAMES[what]
    hits = [(path, found) for path in sorted(tree.glob(places))
            if (found := re.search(pattern, path.read_text()))]  # fmt: skip
    assert hits, f"no {places} has {pattern}: say in NAMES where {what} is read now"
    path, found = hits[0]
    name, right = found[1], path.read_text()
    misspelt = name.replace("_", "") if "_" in name else f"{name}s"
    try:
        path.write_text(right[: found.start(1)] + misspelt + right[found.end(1) :])
        ended = _mypy(tree)
    finally:
        path.write_text(right)
    assert ended.returncode == 1
    assert path.name in ended.stdout and misspelt in ended.stdout, ended.stdout
