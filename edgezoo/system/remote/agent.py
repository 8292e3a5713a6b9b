"""The far end of a connection: sent over as text and run by the device's own Python.

Standard library alone, and words that an old Python understands. It speaks JSON, one object a
line; what has no newline at its end was cut off and counts for nothing.

1. in:  {"files": [[path, sha256, bytes], ...], "package": [...], "function", "arguments"}
2. out: {"here": {...}, "missing": [sha256, ...]}
3. in:  the missing files' bytes, one after the other
4. out: {"answer": {...}} or {"error": {"class", "message", "hint"}}

Files are kept by their hash in ~/.cache/edgezoo/remote, so that the next run need not send them
again; what was not used for a fortnight goes. When the connection ends, so does the work.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from types import FrameType
from typing import Any

MARK = "edgezoo-agent-1"
OLDEST = (3, 11)
KEPT_SECONDS = 14 * 86400


class LostError(Exception):
    """The other end went away."""


def send(facts: dict[str, Any]) -> None:
    """One line on the connection."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def fail(kind: str, message: str, hint: str) -> dict[str, Any]:
    """What the other end raises."""
    return {"error": {"class": kind, "message": message, "hint": hint}}


def receive(size: int, place: str) -> str:
    """Take `size` bytes from the connection into a file, and give their hash."""
    digest = hashlib.sha256()
    with open(place, "wb") as stream:
        while size:
            block = sys.stdin.buffer.read(min(size, 1 << 20))
            if not block:
                raise LostError
            digest.update(block)
            stream.write(block)
            size -= len(block)
    return digest.hexdigest()


def whole(place: str, wanted: str) -> bool:
    """Whether a kept file still has the bytes that its name says; one that has not is removed."""
    if not os.path.isfile(place):
        return False
    digest = hashlib.sha256()
    with open(place, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != wanted:
        os.unlink(place)
        return False
    os.utime(place)
    return True


def lay_out(files: list[Any], blobs: str, folder: str, copy: bool) -> None:
    """Give kept files their names below a folder, as copies or as links."""
    for path, digest, _ in files:
        place = os.path.join(folder, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        blob = os.path.join(blobs, digest)
        if copy:
            shutil.copyfile(blob, place)
        else:
            os.symlink(blob, place)


def package(request: dict[str, Any], blobs: str, store: str) -> str:
    """The folder with EdgeZoo itself, laid out once for each state of its files."""
    names = json.dumps(request["package"]).encode()
    folder = os.path.join(store, "packages", hashlib.sha256(names).hexdigest()[:16])
    if not os.path.isdir(folder):
        part = f"{folder}.{os.getpid()}"
        lay_out(request["package"], blobs, part, copy=True)
        try:
            os.rename(part, folder)
        except OSError:  # another run was faster
            shutil.rmtree(part, ignore_errors=True)
    os.utime(folder)
    return folder


def work(request: dict[str, Any], home: str, folder: str) -> dict[str, Any]:
    """Run the function in a process of its own; end it when the connection does."""
    question, answer, log = (os.path.join(folder, n) for n in ("request", "answer", "log"))
    with open(question, "w") as stream:
        json.dump({"function": request["function"], "arguments": request["arguments"]}, stream)
    own = os.environ.get("PYTHONPATH")
    path = home + os.pathsep + own if own else home
    env = dict(os.environ, PYTHONPATH=path, PYTHONWARNINGS="ignore", TMPDIR=folder)
    with open(log, "wb") as stream:
        child = subprocess.Popen(
            [sys.executable, "-m", "edgezoo.system.process", question, answer],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            cwd=os.path.join(folder, "files"),
            env=env,
            start_new_session=True,
        )
        try:
            while child.poll() is None:
                ready, _, _ = select.select([0], [], [], 0.1)
                if ready and not os.read(0, 1):
                    raise LostError
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if os.path.exists(answer):
        with open(answer) as stream:
            facts = json.load(stream)
        return facts if "error" in facts else {"answer": facts["value"]}
    with open(log, errors="replace") as stream:
        tail = "\n".join(stream.read().strip().splitlines()[-6:])
    code = child.returncode
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return fail("CrashError", f"The process died ({how}).", f"Its last lines:\n{tail}")


def sweep(store: str, now: float) -> None:
    """Remove what was not used for long, and what runs that were cut off left behind."""
    for kind in ("blobs", "packages"):
        for name in os.listdir(os.path.join(store, kind)):
            place = os.path.join(store, kind, name)
            if now - os.path.getmtime(place) > KEPT_SECONDS:
                shutil.rmtree(place) if os.path.isdir(place) else os.unlink(place)
    for name in os.listdir(os.path.join(store, "runs")):
        if not os.path.exists(f"/proc/{name.split('-')[0]}"):
            shutil.rmtree(os.path.join(store, "runs", name), ignore_errors=True)


def here(store: str) -> dict[str, Any]:
    """What the device is."""
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "free_bytes": shutil.disk_usage(store).free,
    }


def serve() -> dict[str, Any]:
    """One request, from its first line to its answer."""
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        raise LostError
    request = json.loads(line.decode())
    if sys.version_info < OLDEST:
        return fail(
            "MissingError",
            f"The device runs Python {platform.python_version()}.",
            f"EdgeZoo needs {OLDEST[0]}.{OLDEST[1]} there. Name another one, as in "
            "ssh://user@host/path/to/python, or copy what `edgezoo bundle` makes: it needs less.",
        )
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    store = os.path.join(cache, "edgezoo", "remote")
    blobs, runs, packages = (os.path.join(store, n) for n in ("blobs", "runs", "packages"))
    for folder in (blobs, runs, packages):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    sweep(store, time.time())
    run = tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=runs)
    try:
        wanted = {digest: size for _, digest, size in request["files"] + request["package"]}
        missing = [d for d in wanted if not whole(os.path.join(blobs, d), d)]
        facts = here(store)
        if sum(wanted[d] for d in missing) > facts["free_bytes"]:
            return fail("DataError", "The device's disk is full.", "Free some space there.")
        send({"here": facts, "missing": missing})
        for digest in missing:
            part = os.path.join(run, "part")
            if receive(wanted[digest], part) != digest:
                raise LostError
            os.replace(part, os.path.join(blobs, digest))
        os.mkdir(os.path.join(run, "files"))
        lay_out(request["files"], blobs, os.path.join(run, "files"), copy=False)
        return work(request, package(request, blobs, store), run)
    finally:
        shutil.rmtree(run, ignore_errors=True)


def stop(number: int, frame: FrameType | None) -> None:
    """A signal ends the work as a lost connection does."""
    raise LostError


def main() -> int:
    """Speak with the other end until it has its answer or is gone."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    sys.stdout.write("\n" + MARK + "\n")
    try:
        send(serve())
    except LostError:
        return 1
    except OSError as error:
        send(fail("DataError", f"The device could not store the files: {error}.", ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
