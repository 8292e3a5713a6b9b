"""The house: a small root, and no two modules of one name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.conftest import ROOT

PACKAGE = ROOT / "edgezoo"
# Here a file's name is what it adds: a format, a command, a family of models.
PLUG_INS = ("exporters", "runtimes", "calibration", "models", "targets", "readers", "cli")


def _modules() -> list[Path]:
    """Every module, by its path below the package."""
    found = [
        path.relative_to(PACKAGE)
        for folder in (PACKAGE, *(PACKAGE / name for name in PLUG_INS))
        for path in folder.rglob("*.py")
    ]
    return sorted({path for path in found if path.name != "__init__.py"})


def test_root_holds_four_modules() -> None:
    names = {path.stem for path in PACKAGE.glob("*.py")}
    assert {"__init__", "__main__", "api"} <= names and len(names) <= 4


def test_no_two_modules_share_a_name() -> None:
    """Not counting an underscore in front."""
    found = [path for path in _modules() if path.parts[0] not in PLUG_INS]
    assert len(found) > 80, "the package was walked"
    counts = Counter(path.stem.lstrip("_") for path in found)
    twins = {name for name, count in counts.items() if count > 1}
    assert [str(path) for path in found if path.stem.lstrip("_") in twins] == []


def test_commit_hooks_are_what_make_check_runs() -> None:
    """Else a commit passes that CI refuses."""
    text = (ROOT / "Makefile").read_text()
    rule = text[text.index("\ncheck:") + 1 :].split("\n\n")[0]
    asked = {
        line.split("$(BIN)/")[1].split(" --")[0].removesuffix(" .")
        for line in rule.splitlines()[1:]
    }
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    missing = [tool for tool in asked if f"entry: .venv/bin/{tool}" not in hooks]
    assert missing == [] and "entry: make site" in hooks
