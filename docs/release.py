"""The checklist of a release: `make release-check`. Exits with 1 if an item does not hold.

Packages are built into build/release. The items are those of docs/releasing.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "build" / "release"


def _run(*command: str | Path) -> tuple[bool, str]:
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode == 0, (done.stdout + done.stderr).strip()


def version(root: Path = ROOT) -> str:
    """The version in edgezoo/__init__.py, its only definition."""
    text = (root / "edgezoo" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.M)
    return found[1] if found else ""


def version_is_final() -> str | None:
    """The version is X.Y.Z and has no tag yet."""
    number = version()
    if not re.fullmatch(r"\d+\.\d+\.\d+", number):
        return f"the version {number!r} is not X.Y.Z"
    _, tags = _run("git", "tag", "--list", f"v{number}")
    return f"v{number} is tagged already" if tags else None


def changelog_is_kept(root: Path = ROOT) -> str | None:
    """The version has a dated section, and Unreleased is empty."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    number = version(root)
    if not re.search(rf"^## \[{re.escape(number)}\] - \d{{4}}-\d\d-\d\d$", text, re.M):
        return f"CHANGELOG.md has no dated section for {number}"
    open_part = re.split(r"^## ", text, flags=re.M)
    unreleased = next((part for part in open_part if part.startswith("[Unreleased]")), "")
    return (
        "CHANGELOG.md has lines under Unreleased" if re.search(r"^- ", unreleased, re.M) else None
    )


def nothing_uncommitted() -> str | None:
    """Everything is committed."""
    _, changed = _run("git", "status", "--porcelain")
    return f"uncommitted: {changed.splitlines()[0]} …" if changed else None


def packages_are_built() -> str | None:
    """Wheel and sdist build, with the version in their names."""
    for old in BUILT.glob("edgezoo-*"):
        old.unlink()
    done, said = _run(sys.executable, "-m", "build", "--no-isolation", "-o", BUILT, ROOT)
    if not done:
        return said.splitlines()[-1]
    names = sorted(path.name for path in BUILT.glob("edgezoo-*"))
    wanted = [f"edgezoo-{version()}-py3-none-any.whl", f"edgezoo-{version()}.tar.gz"]
    return None if names == wanted else f"built {names}, not {wanted}"


def documents_are_current() -> str | None:
    """Generated documents are current, and the site builds without a warning."""
    done, said = _run(sys.executable, "docs/generate.py", "--check")
    if not done:
        return said
    done, said = _run(sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning",
                      "-d", "build/doctrees", "docs", "build/site")  # fmt: skip
    return None if done else said


def packages_work() -> str | None:
    """The packages have the right contents and install with each extra."""
    done, said = _run(
        sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", "tests/packaging"
    )
    return None if done else said[-1500:]


CHECKS: tuple[Callable[[], str | None], ...] = (
    version_is_final,
    changelog_is_kept,
    nothing_uncommitted,
    packages_are_built,
    documents_are_current,
    packages_work,
)


def main() -> int:
    """Check all items and print a line for each."""
    failed = 0
    for check in CHECKS:
        problem = check()
        failed += problem is not None
        name = check.__name__.replace("_", " ")
        print(f"{'no ' if problem else 'yes'}  {name}{f': {problem}' if problem else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
