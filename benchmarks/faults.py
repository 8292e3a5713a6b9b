"""Kills at random moments and full disks: is every file absent or what the manifest says?

Exports of a format that takes a millisecond are killed a thousand times, real ones sixty times, in
four ways each: SIGKILL, SIGTERM and Ctrl-C for the command, SIGKILL for one of its children. Then
the other commands that write. After each kill the files are compared with the manifest, and the
same command is run again to its end.

Run: python benchmarks/faults.py [--fake N] [--real N] [--others N]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import _common as common

sys.path.insert(0, str(common.ROOT))

from tests.support import fake_export
from tests.support.processes import alive, children_of

EXPORT = ["export", "mobilenet", "--alpha", "0.25", "--input-size", "32", "--weights", "random",
          "--int8", "--calibration-count", "8", "--verify-images", "4"]  # fmt: skip
WAYS = ("SIGKILL", "SIGTERM", "SIGINT", "a child")
# A command that has not ended by then hangs.
TIMEOUT_S = 1800
# What a command may take to end once it was told to.
END_S = 60
Facts = dict[str, Any]


def fakes(count: int, rng: random.Random) -> Facts:
    """Exports over earlier ones, killed by SIGKILL; every one is run again."""
    found: list[str] = []
    killed = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "made")
        os.environ |= {"EDGEZOO_CACHE": f"{scratch}/cache", "EDGEZOO_CACHE_LIMIT": "200k"}
        fake_export.finish(folder, 0)  # all that is forked from has been imported then
        begun = time.monotonic()
        fake_export.finish(folder, count + 1)
        duration = time.monotonic() - begun
        moments = Counter[str]()
        for seed in range(1, count + 1):
            child = fake_export.started(folder, seed)
            time.sleep(rng.uniform(0, duration))
            child.kill()
            child.join()
            killed += child.exitcode == -signal.SIGKILL
            moments[_moment(folder)] += 1
            found += [f"kill {seed}: {text}" for text in fake_export.faults(folder)]
            fake_export.finish(folder, seed)
            found += [f"run {seed}: {text}" for text in fake_export.complete(folder, seed)]
        os.environ["EDGEZOO_CACHE_LIMIT"] = "0"
    return {"kills": count, "before_the_end": killed, "left": dict(moments), "faults": found}


def _moment(folder: Path) -> str:
    """What a kill left behind, for a picture of when the kills came."""
    if not folder.exists():
        return "no folder"
    manifest = folder / fake_export.MANIFEST
    if manifest.exists() and json.loads(manifest.read_text()).get("pending"):
        return "half of the files renamed"
    return "a stage" if list(folder.glob(".edgezoo-*")) else "nothing"


def _start(command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "edgezoo", *map(str, command)]
    return subprocess.Popen(
        words, cwd=common.ROOT, env=common.keras_environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def _hit(process: subprocess.Popen[bytes], way: str) -> list[str]:
    """Kill in a way, wait, and say what is wrong with how it ended."""
    family = children_of(process.pid)
    if way == "a child":
        for pid in sorted(family)[:1]:
            os.kill(pid, signal.SIGKILL)
    else:
        process.send_signal(getattr(signal, way))
    wrong = []
    try:
        _, said = process.communicate(timeout=TIMEOUT_S if way == "a child" else END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate()
        wrong.append(f"{way}: it did not end within {END_S} s")
    end = time.monotonic() + 20
    while any(map(alive, family)) and time.monotonic() < end:
        time.sleep(0.05)
    left = [str(pid) for pid in family if alive(pid)]
    wrong += [f"{way}: children {', '.join(left)} live on"] if left else []
    # One without a file of EdgeZoo is of Python's own start, before it has read a line of it.
    if b"Traceback" in said and b"edgezoo" in said:
        wrong.append(f"{way}: {said.decode()[-300:]}")
    return wrong


def killed(
    command: Sequence[str | Path],
    place: Path,
    count: int,
    rng: random.Random,
    check: Callable[[], list[str]],
) -> Iterator[Facts]:
    """Kill a command at random moments of its time, and run it again after each.

    Yields what is known so far, so that a run that is cut off has not been for nothing.
    """
    begun = time.monotonic()
    if _start(command).wait(TIMEOUT_S):
        sys.exit(f"{command} does not run by itself")
    duration, found, exits = time.monotonic() - begun, check(), Counter[str]()
    for number in range(count):
        way = WAYS[number % len(WAYS)]
        process = _start(command)
        time.sleep(rng.uniform(0, duration))
        found += [f"kill {number}: {text}" for text in _hit(process, way)]
        exits[f"{way}: {process.returncode}"] += 1
        found += [f"kill {number} ({way}): {text}" for text in check()]
        again = _start(command)
        _, said = again.communicate(timeout=TIMEOUT_S)
        if again.returncode:
            found.append(f"run {number}: exit {again.returncode}, {said.decode()[-300:]}")
        found += [f"run {number}: {text}" for text in check()]
        found += [f"run {number}: left {p.name}" for p in place.glob(".*edgezoo-*")]
        yield {"kills": number + 1, "seconds": round(duration, 1), "exits": dict(exits),
               "faults": found}  # fmt: skip


def reals(count: int, rng: random.Random) -> Iterator[Facts]:
    """Real exports in all formats."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "made")
        command: list[str | Path] = [*EXPORT, "-o", folder]
        yield from killed(command, folder, count, rng, lambda: fake_export.faults(folder))


def _pictures(folder: Path, rng: random.Random) -> Path:
    from PIL import Image

    for name in ("left", "right"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            Image.frombytes("RGB", (40, 40), rng.randbytes(4800)).save(
                folder / name / f"{number}.png"
            )
    return folder


def others(count: int, rng: random.Random) -> Iterator[Facts]:
    """Finetune, compile, bundle and a sweep; whole is what opens, and what a record is of."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        if _start([*EXPORT, "--format", "tflite", "-o", place / "made"]).wait(TIMEOUT_S):
            sys.exit("the file to work on could not be exported")
        (file,) = (place / "made").glob("*.tflite")
        pictures = _pictures(place / "pictures", rng)
        small = ["mobilenet", "--alpha", "0.25", "--input-size", "32", "--weights", "random"]
        commands: dict[str, list[str | Path]] = {
            "finetune": ["finetune", *small, "--data", pictures, "--epochs", "1", "-o",
                         place / "tuned" / "n.keras"],
            "compile": ["compile", file, "--target", "ethos-u55-128", "-o", place / "compiled"],
            "bundle": ["bundle", file, "-o", place / "bundled" / "b"],
            "bundle.zip": ["bundle", file, "-o", place / "zipped" / "b.zip"],
            "sweep": ["benchmark", *small, "--precision", "float32", "--format", "tflite",
                      "--no-self-check", "-o", place / "store"],
        }  # fmt: skip
        folders = {"finetune": "tuned", "compile": "compiled", "bundle": "bundled",
                   "bundle.zip": "zipped", "sweep": "store"}  # fmt: skip
        found: Facts = {}
        for name, command in commands.items():
            folder = place / folders[name]
            for facts in killed(command, folder, count, rng, partial(_damaged, folder)):
                found[name] = facts
                yield found


def _damaged(folder: Path) -> list[str]:
    """Files of a folder that do not open as what they are called."""
    import zipfile

    from edgezoo.core import registry
    from edgezoo.core.errors import EdgeZooError

    found = []
    for path in folder.rglob("*"):
        if not path.is_file() or any(
            part.startswith(".") for part in path.relative_to(folder).parts
        ):
            continue
        try:
            if path.suffix in (".keras", ".zip"):
                bad = zipfile.ZipFile(path).testzip()
                found += [f"{path.name}: {bad} is damaged"] if bad else []
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix in (".tflite", ".onnx", ".xml"):
                registry.load_artifact(path)
        except (EdgeZooError, ValueError, OSError, zipfile.BadZipFile) as error:
            found.append(f"{path.name}: {error}")
    lists = [*folder.glob("*/bundle.json")]
    for path in lists:
        hashes = json.loads(path.read_text())["sha256"]
        from edgezoo.core.files import file_sha256

        found += [f"{name}: another hash" for name, digest in hashes.items()
                  if file_sha256(path.parent / name) != digest]  # fmt: skip
    return found


def full_disks(rng: random.Random) -> Facts:
    """Commands on file systems of a few sizes; what is there must be whole, the error ours."""
    found: Facts = {}
    with tempfile.TemporaryDirectory() as scratch:
        place, disk = Path(scratch), Path(scratch, "disk")
        disk.mkdir()
        if _start([*EXPORT, "--format", "tflite", "-o", place / "made"]).wait(TIMEOUT_S):
            sys.exit("the file to work on could not be exported")
        (file,) = (place / "made").glob("*.tflite")
        pictures = _pictures(place / "pictures", rng)
        small = ["mobilenet", "--alpha", "0.25", "--input-size", "32", "--weights", "random"]
        commands: dict[str, list[str | Path]] = {
            "export": [*EXPORT, "-o", disk / "made"],
            "finetune": ["finetune", *small, "--data", pictures, "--epochs", "1", "-o",
                         disk / "tuned" / "n.keras"],
            "compile": ["compile", file, "--target", "ethos-u55-128", "-o", disk / "compiled"],
            "bundle": ["bundle", file, "-o", disk / "bundled" / "b"],
            "sweep": ["benchmark", *small, "--precision", "float32", "--format", "tflite",
                      "--no-self-check", "-o", disk / "store"],
        }  # fmt: skip
        for name, command in commands.items():
            found[name] = [_on_disk(command, disk, size) for size in (20, 400, 1500, 5000)]
    return found


def _on_disk(command: Sequence[str | Path], disk: Path, kilobytes: int) -> Facts:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)
    try:
        process = _start(command)
        _, said = process.communicate(timeout=TIMEOUT_S)
        wrong = fake_export.faults(disk / "made") + _damaged(disk)
        if process.returncode not in (0, 5) or b"Traceback" in said:
            wrong.append(f"exit {process.returncode}: {said.decode()[-300:]}")
        wrong += [f"left {path.name}" for path in disk.rglob(".edgezoo-*")]
        return {"kilobytes": kilobytes, "exit": process.returncode, "faults": wrong,
                "said": said.decode().strip().splitlines()[-1:]}  # fmt: skip
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fake", type=int, default=1000)
    parser.add_argument("--real", type=int, default=60)
    parser.add_argument("--others", type=int, default=4, help="kills of each other command")
    parser.add_argument("--disks", action="store_true", help="full disks too; needs mount")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    path = common.RESULTS / "faults.json"
    facts: Facts = json.loads(path.read_text()) if path.exists() else {}
    facts.pop("environment", None)
    facts["seed"] = options.seed
    if options.fake:
        facts["fake"] = fakes(options.fake, rng)
        _save(facts)
    for name, steps in (
        ("real", reals(options.real, rng)),
        ("others", others(options.others, rng)),
    ):
        if getattr(options, name):
            for facts[name] in steps:
                _save(facts)
    if options.disks and shutil.which("mount"):
        facts["full_disks"] = full_disks(rng)
    return _save(facts)


def _save(facts: Facts) -> int:
    """Write the result, and say whether something was missed."""
    parts = [facts.get("fake"), facts.get("real"), *facts.get("others", {}).values()]
    parts += [entry for entries in facts.get("full_disks", {}).values() for entry in entries]
    missed = [text for part in parts if part for text in part["faults"]]
    path = common.save("faults", {**facts, "missed": missed})
    kills = sum(part.get("kills", 0) for part in parts if part)
    print(f"{kills} kills, {path.relative_to(common.ROOT)}: {missed or 'no fault'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
