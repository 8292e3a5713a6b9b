"""Results stores of strangers, and names that are HTML, markup or orders to a terminal."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgezoo.core import escapes, typed_json
from edgezoo.core.errors import DataError
from edgezoo.finetuning import curve
from edgezoo.finetuning.finetune_result import Epoch
from edgezoo.measurement.trust import Trust
from edgezoo.reporting import text
from edgezoo.reporting.rows import rows
from edgezoo.results.record import Failed, Record
from edgezoo.results.store import read_record
from tests.conftest import ROOT, environment, run_cli
from tests.hostile.test_contract import ANY
from tests.support.fake_records import changed, failed, record, write_store

ARMED = "</script><script>alert(1)</script><img src=x onerror=alert(2)>[bold]\x1b[2J‮"


def _paths(value: Any, here: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return []
    own = [(*here, key) for key in value]
    return own + [path for key in value for path in _paths(value[key], (*here, key))]


WHOLE = typed_json.encode(record())
PATHS = _paths(WHOLE)


@settings(max_examples=250)
@given(path=st.sampled_from(PATHS), value=ANY, gone=st.booleans())
@example(path=("artifact",), value=True, gone=False)
def test_one_field_of_anything(
    path: tuple[str, ...], value: Any, gone: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A record is refused, or every report can be made of it."""
    facts = copy.deepcopy(WHOLE)
    holder: Any = facts
    for name in path[:-1]:
        holder = holder[name]
    if gone:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    file = tmp_path_factory.getbasetemp() / "record.json"
    file.write_text(json.dumps(facts))
    try:
        read = read_record(file)
    except DataError:
        return
    other = replace(read_record_of(tmp_path_factory), store=read.store)
    found = rows([read, other])
    assert text.to_csv(found)
    if not isinstance(read, Failed):
        assert text.to_markdown(found, []) and math.isfinite(found[0].median_ms)


def read_record_of(factory: pytest.TempPathFactory) -> Record:
    """Another variant of the same network, so that drops and fronts are computed."""
    file = factory.getbasetemp() / "other.json"
    file.write_text(json.dumps(typed_json.encode(record(precision="float32", median=3.0))))
    return read_record(file)


def test_html_in_names(tmp_path: Path) -> None:
    """Nothing of it becomes an element or ends the script; the terminal gets no orders."""
    armed = changed(record(ARMED), "environment.machine.cpu", ARMED)
    armed = changed(armed, "trust", Trust("poor", (ARMED,)))
    broken = changed(failed(), "error.message", ARMED)
    write_store(tmp_path / "store", [armed, broken])
    ended = run_cli("report", tmp_path / "store", "--as", "html,md")
    assert ended.code == 0, ended.stderr
    page = (tmp_path / "store" / "report.html").read_text()
    assert "<script>alert" not in page and "<img" not in page
    assert "&lt;/script&gt;" in page and r"\u003c/script>" in page
    ended = run_cli("recommend", tmp_path / "store", "--allow-poor")
    assert ended.code == 0, ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr and r"\x1b[2J" in ended.stdout
    assert "[bold]" in ended.stdout


def test_html_in_titles_of_curves() -> None:
    drawn = curve.draw([Epoch("top", 1.0, 0.5, 1.0, 0.5, True)], ARMED)
    assert "<script" not in drawn and "<img" not in drawn


def test_tables_and_notes() -> None:
    program = (
        "import sys\n"
        "from edgezoo.cli import _console as console\n"
        "armed = sys.argv[1]\n"
        "console.table(armed, ('', armed), [(armed, '[/] :smile:')]); console.note(armed)\n"
        "console.say(armed); console.warn(armed)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "\x1b]0;x\x07\x9b1m‮[red]a"],
        capture_output=True, text=True, check=True, cwd=ROOT, env=environment(),
    )  # fmt: skip
    said = ended.stdout + ended.stderr
    assert not {"\x1b", "\x07", "\x9b", "‮"} & {*said}
    assert said.count("[red]a") == 6 and "[/] :smile:" in said


def test_printable_leaves_text_alone() -> None:
    assert escapes.text("Grüße, 東京\tx\ny 👍") == "Grüße, 東京\tx\ny 👍"
    assert escapes.text("\ud800") == r"\ud800"
