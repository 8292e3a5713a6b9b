"""Writes requirements/*.txt: the tested versions with the SHA-256 of their wheels.

    python docs/hashes.py            asks the package index, for some minutes

pip's own dry run names the wheel that it would take, and the hash that the index states for it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# Requires-Python of some packages excludes the first patch releases.
PYTHONS = ("3.11.9", "3.12.9", "3.13.9")
_GLIBC = ("linux", "manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28")


@dataclass(frozen=True, slots=True)
class Set:
    """One file: what pip would install for extras of EdgeZoo, at tested versions."""

    name: str
    extras: tuple[str, ...]
    constraints: str
    machines: tuple[str, ...]


SETS = (
    Set("device", ("tflite",), "constraints-device.txt", ("x86_64", "aarch64")),
    Set("export", ("export", "report"), "constraints.txt", ("x86_64",)),
    Set("all", ("all", "dev"), "constraints.txt", ("x86_64",)),
)
HEAD = """\
# The versions of {constraints} with the hashes of their wheels, for Linux on {machines},
# Python 3.11 to 3.13. Written by docs/hashes.py. Use, in a checkout:
#     pip install --require-hashes -r requirements/{name}.txt
#     pip install {build}--no-deps .
"""


def requirements_of(project: dict[str, Any], extras: Iterable[str]) -> list[Requirement]:
    """Return what extras of EdgeZoo need, extras that name other extras included."""
    facts, found, waiting = project["project"], [*project["project"]["dependencies"]], [*extras]
    while waiting:
        for line in facts["optional-dependencies"][waiting.pop()]:
            if (other := Requirement(line)).name == facts["name"]:
                waiting += other.extras
            else:
                found.append(line)
    return [Requirement(line) for line in found]


def pins_of(path: Path) -> dict[str, str]:
    """Return the lines of a file of constraints by the normalized name."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return {canonicalize_name(Requirement(line).name): line for line in lines if line}


def wheels(pins: dict[str, str], python: str, machine: str) -> dict[str, dict[str, Any]]:
    """Return pip's report on each pinned package that has a wheel, by its normalized name."""
    wanted = dict(pins)
    while True:
        with tempfile.TemporaryDirectory() as scratch:
            lines, report = Path(scratch, "pins.txt"), Path(scratch, "report.json")
            lines.write_text("\n".join(wanted.values()) + "\n")
            places = [w for glibc in _GLIBC for w in ("--platform", f"{glibc}_{machine}")]
            command = [
                *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps"),
                *("--ignore-installed", "--only-binary", ":all:", "--python-version", python),
                *("--target", str(Path(scratch, "target")), "-r", str(lines)),
                *("--report", str(report), *places),
            ]
            ended = subprocess.run(command, capture_output=True, text=True)
            lacking = re.findall(r"No matching distribution found for (\S+?)==", ended.stderr)
            if ended.returncode == 0:
                found = json.loads(report.read_text())["install"]
                return {canonicalize_name(entry["metadata"]["name"]): entry for entry in found}
        if not lacking:
            raise SystemExit(ended.stderr)
        for name in lacking:  # no wheel for this Python or machine
            wanted.pop(canonicalize_name(name), None)


def closure(
    roots: list[Requirement],
    found: dict[str, dict[str, Any]],
    pins: dict[str, str],
    python: str,
    machine: str,
) -> set[str]:
    """Return the normalized names of all that some requirements lead to.

    A package without a wheel for this Python and machine is left out.
    """
    place = {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    waiting, seen = [(root, "") for root in roots], set[tuple[str, str]]()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({**place, "extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name not in pins:
            raise SystemExit(f"{name} is needed and not in the constraints")
        for own in ("", *requirement.extras):
            if (name, own) in seen or name not in found:
                continue
            seen.add((name, own))
            lines = found[name]["metadata"].get("requires_dist", [])
            waiting += [(Requirement(line), own) for line in lines]
    return {name for name, _ in seen}


def main() -> None:
    """Write all files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folder = ROOT / "requirements"
    folder.mkdir(exist_ok=True)
    known: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for wanted in SETS:
        pins = pins_of(ROOT / wanted.constraints)
        roots = requirements_of(project, wanted.extras)
        if "hatchling" in pins:  # builds EdgeZoo itself
            roots += map(Requirement, project["build-system"]["requires"])
        hashes: dict[str, set[str]] = defaultdict(set)
        for python in PYTHONS:
            for machine in wanted.machines:
                key = (wanted.constraints, python, machine)
                if key not in known:
                    known[key] = wheels(pins, python, machine)
                for name in closure(roots, known[key], pins, python, machine):
                    hashes[name].add(known[key][name]["download_info"]["archive_info"]["hash"])
        text = HEAD.format(
            constraints=wanted.constraints,
            machines=" and ".join(wanted.machines),
            name=wanted.name,
            # Otherwise pip fetches what builds EdgeZoo, without hashes.
            build="--no-build-isolation " if "hatchling" in hashes else "",
        )
        for name in sorted(hashes):
            lines = [f"--hash={digest.replace('=', ':')}" for digest in sorted(hashes[name])]
            text += " \\\n    ".join([pins[name], *lines]) + "\n"
        (folder / f"{wanted.name}.txt").write_text(text)
        print(f"requirements/{wanted.name}.txt: {len(hashes)} packages")


if __name__ == "__main__":
    main()
