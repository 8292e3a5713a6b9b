"""Damaged and hostile files through the commands that open them: thousands, by seed.

Real files of every kind are made once, damaged by `_mutations.py` and given to `edgezoo inspect`,
`classify`, `evaluate` and `report`, each with the limited child that the command itself uses; only
its start is spared (`_warm.py`). Every 200th is repeated by the command as a user types it, and
must end with the same exit code. Writes results/fuzz.json, and exits 1 where an input made the main
process fail, took more than 30 s, left or wrote a file, or was answered by more than one line.

    python benchmarks/fuzz.py [--inputs 10000] [--only KIND[:NUMBER]] [--save]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _common as common
import _fuzz_files
import _warm
from _fuzz_files import KINDS, Case, Kind

TOTAL = 10_000
MAX_SECONDS = 30.0
COLD_EVERY = 200
GOOD_EXITS = {0, 2, 3, 5}
SETTLED = 300  # inputs of a kind after which memory should not grow: libraries come late
MAX_GROWTH = 1.10
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DEATH = re.compile(r"died \((SIG\w+)\)|made no progress|was killed|needs more memory")
LIGHT = [
    "edgezoo.system.process", "edgezoo.system.sandbox", "edgezoo.inspection.inspect_file",
    "edgezoo.evaluation.accuracy", "edgezoo.inference.classification", "edgezoo.bundling.make",
    "edgezoo.formats.tflite_flatbuffer", "PIL.Image", "PIL.JpegImagePlugin", "PIL.PngImagePlugin",
    "ai_edge_litert.interpreter", "ai_edge_litert.schema_py_generated", "onnx", "onnxruntime",
    "openvino",
]  # fmt: skip
KERAS = [*LIGHT[:5], "h5py", "keras", "tensorflow"]


@dataclass
class Seen:
    """What was seen of one kind."""

    inputs: int = 0
    exits: Counter[str] = field(default_factory=Counter)
    child_deaths: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    longest_s: float = 0.0
    cpu_s: float = 0.0
    cold: int = 0


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: str
    stderr: str
    seconds: float


def in_process(case: Case) -> Ended:
    """The command's own `main` here: its limited child is forked."""
    from edgezoo.cli._main import main

    out, err = io.StringIO(), io.StringIO()
    begun = time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = case.call() if case.call else main([*case.command])
        except BaseException:  # a main process that fails is what we are looking for
            traceback.print_exc()
            code = -1
    return Ended(code, out.getvalue(), err.getvalue(), time.monotonic() - begun)


def as_typed(case: Case) -> Ended:
    """The command as a user starts it."""
    begun = time.monotonic()
    done = subprocess.run(
        [*common.EDGEZOO, *case.command],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "PYTHONPATH": str(common.ROOT)},
    )
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)


def complaints(case: Case, ended: Ended) -> list[str]:
    """What is wrong with how an input ended."""
    found = []
    if ended.code not in GOOD_EXITS:
        found.append(f"exit {ended.code}")
    if ended.seconds > MAX_SECONDS:
        found.append(f"{ended.seconds:.0f} s")
    lines = ended.stderr.strip().splitlines()
    if ended.code and (len(lines) != 1 or not lines[0].startswith("Error: ")):
        found.append(f"{len(lines)} lines on standard error")
    if "Traceback" in ended.stderr or _CONTROL.search(ended.stderr + ended.stdout):
        found.append("a traceback or control characters")
    if "--json" in case.command:
        try:
            json.loads(ended.stdout)
        except ValueError:
            found.append("no JSON")
    return found


def one(kind: Kind, number: int, place: Path, seen: Seen) -> list[str]:
    """Make one input, run it, and say what went wrong."""
    name = f"{kind.name}:{number}"
    case = kind.make(random.Random(name), place)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    ended = in_process(case)
    seen.cpu_s += resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    wrong = complaints(case, ended)
    seen.inputs += 1
    seen.exits[str(ended.code)] += 1
    seen.longest_s = max(seen.longest_s, ended.seconds)
    death = _DEATH.search(ended.stderr)
    if death:
        word = death[1] or death[0]
        seen.child_deaths[word] += 1
        seen.examples.setdefault(word, name)
    if number % COLD_EVERY == 0 and not case.call:
        seen.cold += 1
        again = as_typed(case)
        if again.code != ended.code:
            wrong.append(f"exit {ended.code} forked, {again.code} as typed")
        wrong += [f"{text} (as typed)" for text in complaints(case, again)]
    if wrong:
        wrong.append(ended.stderr.strip()[-400:])
    return wrong


def left_over(scratch: Path, watched: Path) -> list[str]:
    """Files where none should be."""
    return [str(path.name) for folder in (scratch, watched) for path in folder.iterdir()]


def state() -> dict[str, int]:
    """Of this process: resident kB, open files, threads."""
    status = Path("/proc/self/status").read_text()
    return {
        "rss_kb": int(status.partition("VmRSS:")[2].split()[0]),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": int(status.partition("Threads:")[2].split()[0]),
    }


def children_of(process: int) -> int:
    return len(Path(f"/proc/{process}/task/{process}/children").read_text().split())


def run(kinds: dict[Kind, range], bases: Path) -> dict[str, Any]:
    """Run inputs of every kind; one warm process for each sort of runtime."""
    seen, failures, growth = {kind.name: Seen() for kind in kinds}, [], []
    before, where = dict(os.environ), tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        place, scratch, watched = (Path(folder, n) for n in ("case", "tmp", "cwd"))
        for made in (place, scratch, watched):
            made.mkdir()
        os.environ |= {"TMPDIR": str(scratch), "EDGEZOO_CACHE": str(Path(folder, "cache"))}
        tempfile.tempdir = str(scratch)
        os.chdir(watched)
        for modules in (LIGHT, KERAS):
            chosen = {k: r for k, r in kinds.items() if k.keras == (modules is KERAS)}
            if not chosen:
                continue
            warm = _warm.Warm(modules)
            with _warm.installed(warm):
                for kind, numbers in chosen.items():
                    kind.prepare(bases)
                    settled = state()
                    for count, number in enumerate(numbers, 1):
                        wrong = one(kind, number, place, seen[kind.name])
                        wrong += [f"left {name}" for name in left_over(scratch, watched)]
                        if children_of(warm.process.pid):
                            wrong.append("a child is left")
                        if wrong:
                            failures.append({"input": f"{kind.name}:{number}", "wrong": wrong})
                            print(f"{kind.name}:{number}", *wrong, sep="\n    ", file=sys.stderr)
                        shutil.rmtree(place)
                        place.mkdir()
                        if count == SETTLED:
                            settled = state()
                    growth.append({"kind": kind.name, "inputs": len(numbers), "settled": settled,
                                   "end": state()})  # fmt: skip
                    print(f"{kind.name:12} {dict(seen[kind.name].exits)} "
                          f"{dict(seen[kind.name].child_deaths)}", file=sys.stderr)  # fmt: skip
            warm.close()
        os.chdir(common.ROOT)
    os.environ.clear()
    os.environ |= before
    tempfile.tempdir = where
    return {"kinds": seen, "failures": failures, "main_process": growth}


def leaks(growth: list[dict[str, Any]]) -> list[str]:
    """Where the main process grew."""
    found = []
    for part in growth:
        before, after = part["settled"], part["end"]
        if part["inputs"] > 2 * SETTLED and after["rss_kb"] > MAX_GROWTH * before["rss_kb"]:
            found.append(f"{part['kind']}: {before['rss_kb']} kB grew to {after['rss_kb']} kB")
        found += [f"{part['kind']}: {n} grew" for n in ("files", "threads") if after[n] > before[n]]
    return found


def chosen_inputs(total: int, only: str | None) -> dict[Kind, range]:
    name, _, number = (only or "").partition(":")
    if only:
        kind = next(kind for kind in KINDS if kind.name == name)
        start = int(number or 0)
        return {kind: range(start, start + 1) if number else range(total)}
    return {kind: range(max(1, round(kind.share * total))) for kind in KINDS}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=TOTAL)
    parser.add_argument("--only", metavar="KIND[:NUMBER]")
    parser.add_argument("--bases", type=Path, help="keep the real files there")
    parser.add_argument("--save", action="store_true", help="write results/fuzz.json")
    options = parser.parse_args()
    cpu, begun = time.process_time(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-bases-") as folder:
        bases = (options.bases or Path(folder)).resolve()
        _fuzz_files.make_bases(bases)
        facts = run(chosen_inputs(options.inputs, options.only), bases)
    kinds = {name: vars(seen) for name, seen in facts["kinds"].items()}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "inputs": sum(seen["inputs"] for seen in kinds.values()),
        "failures": facts["failures"],
        "leaks": leaks(facts["main_process"]),
        "longest_s": max(seen["longest_s"] for seen in kinds.values()),
        "repeated_as_typed": sum(seen["cold"] for seen in kinds.values()),
        "cpu_s": round(time.process_time() - cpu + used.ru_utime + used.ru_stime),
        "wall_s": round(time.monotonic() - begun),
        "main_process": facts["main_process"],
        "kinds": kinds,
    }
    if options.save:
        print(common.save("fuzz", result))
    print(f"{result['inputs']} inputs, {len(result['failures'])} failures, "
          f"{len(result['leaks'])} leaks, longest {result['longest_s']:.1f} s, "
          f"{result['cpu_s']} CPU s")  # fmt: skip
    for text in result["leaks"]:
        print(text)
    return 1 if result["failures"] or result["leaks"] else 0


if __name__ == "__main__":
    sys.exit(main())
