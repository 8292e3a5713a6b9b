"""Child processes: answers, errors and every way to die, each told in words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core.errors import CrashError, DataError
from edgezoo.system import process
from tests.conftest import ROOT, environment
from tests.support.processes import PATIENCE, alive, until

# Children find these as edgezoo.faults: only EdgeZoo's own functions may be called.
_FAULTS = '''
import sys, types
source = """
import os, signal, sys, time
from edgezoo.core.errors import DataError
def answer(x): print("noise"); os.write(1, b"native noise"); return {"twice": 2 * x}
def refuse(): raise DataError("The picture is upside down.", "Turn it.")
def defect(): raise ValueError("a bug")
def abort(after=None):
    while after and not os.path.exists(after): time.sleep(0.01)
    os.abort()
def leave(): os._exit(7)
def killed(): os.kill(os.getpid(), signal.SIGKILL)
def segfault(): os.kill(os.getpid(), signal.SIGSEGV)
def sleep(note):
    open(note + ".part", "w").write(str(os.getpid())); os.rename(note + ".part", note)
    time.sleep(3600)
class Counter:
    def __init__(self): self.sum = 0
    def add(self, x):
        print("noise"); os.write(1, b"native"); self.sum += x
        return {"sum": self.sum}
    def refuse(self): return refuse()
    def hold(self, note=os.devnull):
        import re
        open(note, "w").close(); re.match("(a+)+$", "a" * 99 + "b")
    def abort(self): abort()
    def defect(self): defect()
def environment(): return {"ci": os.environ.get("CI"), "stdin": os.isatty(0)}
"""
module = types.ModuleType("edgezoo.faults")
class Later:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "edgezoo.faults": return None
        from importlib.machinery import ModuleSpec
        return ModuleSpec(name, Later)
    @staticmethod
    def create_module(spec): return None
    @staticmethod
    def exec_module(module): exec(source, module.__dict__)
sys.meta_path.insert(0, Later)
'''


@pytest.fixture(autouse=True)
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_FAULTS)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{ROOT}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    yield
    assert list((tmp_path / "scratch").iterdir()) == []


def _job(name: str, **arguments: object) -> process.Job[Any]:
    return process.Job(f"edgezoo.faults:{name}", arguments)


def _run(name: str, **arguments: object) -> Any:
    return process.Launcher().run(_job(name, **arguments)).value


def test_answer(capfd: pytest.CaptureFixture[str]) -> None:
    answer = process.Launcher().run(_job("answer", x=21))
    assert answer.value == {"twice": 42}
    assert answer.usage.cpu_s > 0 and answer.usage.peak_rss_mb > 5
    assert capfd.readouterr() == ("", ""), "what a library prints stays in the child"


def test_error_of_ours_keeps_its_class_and_words() -> None:
    with pytest.raises(DataError) as caught:
        _run("refuse")
    assert (caught.value.message, caught.value.hint) == ("The picture is upside down.", "Turn it.")
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("abort", "died (SIGABRT)"),
        ("segfault", "died (SIGSEGV)"),
        ("leave", "died (exit code 7)"),
        ("killed", "memory ran out"),
        ("defect", "died (exit code 1)"),
    ],
)
def test_death(function: str, words: str) -> None:
    with pytest.raises(CrashError) as caught:
        _run(function)
    message = caught.value.message
    assert f"'{function}'" in message and words in message
    assert "\n" not in message and "Traceback" not in message
    assert caught.value.hint


def test_log_of_a_defect_is_shown() -> None:
    with pytest.raises(CrashError, match="ValueError: a bug"):
        _run("defect")


def test_only_functions_of_edgezoo() -> None:
    with pytest.raises(CrashError):
        process.Launcher().run(process.Job("os:system", {"command": "true"}))


def test_many_come_back_with_their_index() -> None:
    jobs = [_job("answer", x=i) for i in range(3)]
    answers = dict(process.Launcher().run_many(jobs, 2))
    assert {i: answer.value["twice"] for i, answer in answers.items()} == {0: 0, 1: 2, 2: 4}


def test_first_error_ends_the_others(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    jobs = [_job("sleep", note=str(note)), _job("abort", after=str(note))]
    with pytest.raises(CrashError, match="SIGABRT"):
        list(process.Launcher().run_many(jobs, 2))
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_no_thread_stays() -> None:
    before = threading.active_count()
    list(process.Launcher().run_many([_job("answer", x=1)], 2))
    assert threading.active_count() == before


def test_a_file_in_the_current_folder_shadows_no_package(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    (tmp_path / "numpy.py").write_text("raise SystemExit(3)")
    program = (
        "import edgezoo.system.process as p\n"
        "from edgezoo.inspection.diagnosis import diagnose\n"
        "print(p.call(diagnose).keras_home)"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment(KERAS_HOME="here"),
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "here"


# A child that stays


class Counter:
    """What the child's own class of that name has; the methods here are only named."""

    def add(self, x: int) -> dict[str, int]:
        return {"sum": x}

    def refuse(self) -> None: ...

    def hold(self) -> None: ...

    def abort(self) -> None: ...

    def defect(self) -> None: ...


Counter.__module__ = "edgezoo.faults"


def test_conversation_keeps_state_and_ends_with_its_input(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with process.Conversation(Counter) as talk:
        assert [talk.ask(Counter.add, x)["sum"] for x in (1, 2, 3)] == [1, 3, 6]
        child = talk._child
    assert child.poll() is not None
    assert capfd.readouterr() == ("", ""), "what a library prints stays in the child"


def test_conversation_goes_on_after_an_error_of_ours() -> None:
    with process.Conversation(Counter) as talk:
        with pytest.raises(DataError, match="upside down"):
            talk.ask(Counter.refuse)
        assert talk.ask(Counter.add, x=5) == {"sum": 5}


@pytest.mark.parametrize(("method", "words"), [("abort", "SIGABRT"), ("defect", "exit code 1")])
def test_death_in_a_conversation(method: str, words: str) -> None:
    with process.Conversation(Counter) as talk:
        with pytest.raises(CrashError, match=words) as caught:
            talk.ask(getattr(Counter, method))
        assert "Traceback" not in caught.value.message
        with pytest.raises(CrashError):
            talk.ask(Counter.add, 1)


def test_conversation_with_one_that_hangs() -> None:
    with process.Conversation(Counter) as talk:
        talk.timeout_s = PATIENCE
        assert talk.ask(Counter.add, 1) == {"sum": 1}
        os.kill(talk._child.pid, signal.SIGSTOP)
        talk.timeout_s = 1
        with pytest.raises(CrashError, match="'add' did not respond for 1 s"):
            talk.ask(Counter.add, 1)
        assert talk._child.wait(PATIENCE) == -signal.SIGKILL


def test_interrupt_while_a_child_is_asked() -> None:
    """The process ends, whatever still waits for the child."""
    program = (
        "import os, signal, edgezoo.system.process as p\n"
        "from edgezoo.faults import Counter\n"
        "signal.signal(signal.SIGALRM, signal.default_int_handler)\n"
        "with p.Conversation(Counter) as talk:\n"
        "    talk.ask(Counter.add, 1)\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.5)\n"
        "        talk.ask(Counter.hold)\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                           timeout=PATIENCE)  # fmt: skip
    assert (ended.stdout, ended.returncode) == ("interrupted\n", 0)


HOLDS = (
    "talk._child.stdin.write(HOLD); talk._child.stdin.flush()\n"
    "while not HELD.exists(): time.sleep(0.01)"
)


@pytest.mark.parametrize("then", ["", HOLDS], ids=["idle", "at work"])
def test_conversation_ends_with_its_parent(then: str, tmp_path: Path) -> None:
    """Also within a library's call that does not let go of the interpreter."""
    held = tmp_path / "held"
    request = json.dumps({"method": "hold", "arguments": {"note": str(held)}}) + "\n"
    program = (
        "import os, pathlib, time, edgezoo.system.process as p\n"
        "from edgezoo.faults import Counter\n"
        f"HELD, HOLD = pathlib.Path({str(held)!r}), {request.encode()!r}\n"
        "talk = p.Conversation(Counter)\n"
        f"talk.ask(Counter.add, 1)\n{then}\n"
        "print(talk._child.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                           env={**os.environ, "TMPDIR": str(tmp_path)})  # fmt: skip
    pid = int(ended.stdout)
    assert until(lambda: not alive(pid)), "the child outlived its parent"
