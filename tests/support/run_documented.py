"""Run many command lines of EdgeZoo in one process: run_documented.py COMMANDS.json.

COMMANDS.json is a list of lists of arguments; a list of [exit code, standard error] is printed. One
process for all, since half of a short command's time is its start.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

from edgezoo.cli._main import main


def run(arguments: list[str]) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return code, err.getvalue()


results = [run(arguments) for arguments in json.loads(Path(sys.argv[1]).read_text())]
sys.stdout.write(json.dumps(results))
