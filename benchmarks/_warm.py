"""Limited children without the cost of a start: forked off a process that has imported all.

`edgezoo.system.process.call` starts `python -m edgezoo.system.process REQUEST ANSWER`. Here a
stand-in for `subprocess.Popen` asks a warm process to fork instead; the fork runs the same `_main`
with the same limits, and ends in the same ways.

    python benchmarks/_warm.py SOCKET MODULE...     is the warm process
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import _common as common


class Warm:
    """A process that forks; `popen` stands in for `subprocess.Popen`."""

    def __init__(self, modules: list[str]) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, str(Path(__file__)), str(theirs.fileno()), *modules]
        # As in `edgezoo.system.process`; and one thread, since threads do not live through a fork.
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore", "CI": "true",
                 "KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(common.ROOT),
                 "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # fmt: skip
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], env={**os.environ, **quiet}
        )
        theirs.close()
        self._stream = ours.makefile("rw")
        self.ask({})  # until all is imported

    def ask(self, facts: dict[str, Any]) -> dict[str, Any]:
        self._stream.write(json.dumps(facts) + "\n")
        self._stream.flush()
        answer: dict[str, Any] = json.loads(self._stream.readline())
        return answer

    def popen(self, command: list[str], *, env: dict[str, str], **options: Any) -> Child:
        return Child(self, command[-2:], env["TMPDIR"])

    def close(self) -> None:
        self._stream.close()
        self.process.kill()
        self.process.wait()


class Child:
    """What `edgezoo.system.process.call` needs of a `Popen`."""

    stdin = None

    def __init__(self, warm: Warm, words: list[str], scratch: str) -> None:
        self._warm = warm
        self.returncode: int | None = None
        self.pid = warm.ask({"fork": words, "scratch": scratch})["pid"]

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._warm.ask({"wait": self.pid})["code"])
        return self.returncode

    def poll(self) -> int | None:
        return self.returncode


@contextlib.contextmanager
def installed(warm: Warm) -> Iterator[None]:
    """Let `edgezoo.system.process` start its children that way."""
    from edgezoo.system import process

    module: Any = process
    before = module.subprocess
    module.subprocess = SimpleNamespace(Popen=warm.popen, PIPE=subprocess.PIPE)
    try:
        yield
    finally:
        module.subprocess = before


def _fork(words: list[str], scratch: str) -> tuple[int, int]:
    """The child, and what holds its standard input open: it ends when that does."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(reader)
        return child, writer
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.dup2(reader, 0)
    os.closerange(3, 64)
    log = os.open(Path(scratch, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["TMPDIR"], tempfile.tempdir = scratch, None
    code = 1
    try:
        from edgezoo.system import process

        code = process._main(Path(words[0]), Path(words[1]))
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _serve(stream: Any) -> None:
    inputs: dict[int, int] = {}
    for line in stream:
        facts, answer = json.loads(line), {}
        if "fork" in facts:
            answer["pid"], writer = _fork(facts["fork"], facts["scratch"])
            inputs[answer["pid"]] = writer
        elif "wait" in facts:
            _, status = os.waitpid(facts["wait"], 0)
            answer["code"] = os.waitstatus_to_exitcode(status)
            os.close(inputs.pop(facts["wait"]))
        stream.write(json.dumps(answer) + "\n")
        stream.flush()


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    _serve(socket.socket(fileno=int(sys.argv[1])).makefile("rw"))
