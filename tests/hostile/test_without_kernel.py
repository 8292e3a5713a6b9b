"""A kernel without Landlock or seccomp: said once, shown by doctor, refused on request.

A filter in front of the command makes it so: the calls do not exist for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgezoo.system import seccomp
from tests.conftest import Ended, Exported, environment

# Numbers of landlock_create_ruleset, and of seccomp on x86-64 and arm64.
_OLD = """
import errno, sys
from edgezoo.system import seccomp as module
from edgezoo.cli._main import main
number = {number}
answer = (module._RETURN, 0, 0, module._ERRNO | errno.ENOSYS)
code = [(module._LOAD, 0, 0, module._NUMBER), (module._EQUAL, 0, 1, number), answer,
        (module._RETURN, 0, 0, module._ALLOW)]
module._program = lambda *words: code
assert module.restrict()
sys.argv[0] = "edgezoo"
sys.exit(main(sys.argv[1:]))
"""
LACKING = {"landlock": 444, "seccomp": seccomp._SECCOMP[(seccomp._architecture() or (0, 0))[1]]}
WORDS = {"landlock": "writes to files", "seccomp": "network, processes"}
pytestmark = pytest.mark.skipif(not seccomp.available(), reason="the kernel has no seccomp")


def _run(part: str, *words: str | Path) -> Ended:
    program = _OLD.format(number=LACKING[part])
    ended = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("part", LACKING)
def test_said_once_and_refused(part: str, exported: Exported) -> None:
    file = exported.path("tflite", "int8")
    ended = _run(part, "inspect", file, "--json")
    assert ended.code == 0 and json.loads(ended.stdout)
    (line,) = [line for line in ended.stderr.splitlines() if "does not limit" in line]
    assert WORDS[part] in line
    refused = _run(part, "inspect", file, "--require-sandbox")
    assert refused.code == 3 and WORDS[part] in refused.stderr and not refused.stdout
    shown = _run(part, "doctor", "--json")
    facts = json.loads(shown.stdout)
    assert [text for text in facts["not_limited"] if WORDS[part] in text]
    assert [entry for entry in facts["problems"] if WORDS[part] in entry["what"]]
