"""Texts and numbers of strangers, drawn for any field, in front of any reader."""

from __future__ import annotations

import contextlib
import copy
import csv
import hashlib
import html
import io
import json
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgezoo.bundling import c_source, make
from edgezoo.cli import _console
from edgezoo.core import escapes, typed_json
from edgezoo.core.artifact import Artifact, InputContract
from edgezoo.core.errors import DataError, UsageError
from edgezoo.core.protocols import TensorInfo
from edgezoo.reporting import card, manifest_facts, sbom, text
from edgezoo.reporting import html as page
from edgezoo.reporting.budgets import Budgets
from edgezoo.reporting.comparison import compare
from edgezoo.reporting.recommendation import recommend
from edgezoo.reporting.rows import rows
from edgezoo.results.record import Failed
from edgezoo.results.store import read_record
from tests.core.test_artifact import CONTRACT
from tests.support.fake_records import failed, record

FRAGMENTS = [
    "\x1b[2J", "\x1b]0;PWNED\x07", "\x9b1m", "\n", "\r", "\t", "\x00", "\x0b", "\u2028", "\u202e",
    "*/ PWNED(); /*", "*", "/", "??/", "?", "\\", "`", "|", "#", "<script>PWNED</script>", "&lt;",
    "[x](javascript:PWNED)", "=HYPERLINK(1)", "+1", "-1", "@PWNED", "\uff1dPWNED", "'", '"', '"""',
    "$(PWNED)", "{{ 7 * 7 }}", "\U0001f642", "é", "x" * 3000, " ", "a",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join)
NUMBERS: list[Any] = [
    float("inf"), float("-inf"), float("nan"), 1e308, -1e308, 1e-320, 10**30, 10**400, -1, 0, 0.5,
    2**63, True, None, [], {}, [1], "1", [[]], {"a": 1},
]  # fmt: skip
ANY = TEXT | st.sampled_from(NUMBERS) | st.just("\ud800")
# What a terminal obeys, or what starts a line of its own.
ORDERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff]")


def _paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items: Any = ()
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
    return [p for key, inner in items for p in ((*here, key), *_paths(inner, (*here, key)))]


def _texts(facts: Any) -> list[tuple[Any, ...]]:
    return [path for path in _paths(facts) if isinstance(_at(facts, path), str)]


def _at(facts: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        facts = facts[key]
    return facts


def _drawn(facts: Any) -> st.SearchStrategy[tuple[tuple[Any, ...], Any]]:
    """A field and what it holds: half of the time a text where there was one."""
    some = st.tuples(st.sampled_from(_texts(facts)), TEXT)
    return some | st.tuples(st.sampled_from(_paths(facts)), ANY)


def _with(facts: Any, path: tuple[Any, ...], value: Any) -> Any:
    facts = copy.deepcopy(facts)
    holder = facts
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return facts


def _unless_refused(read: Callable[[], Any], name: str) -> Any:
    """What is read; None where that ends in a short sentence with a name."""
    try:
        return read()
    except DataError as error:
        said = str(error)
    assert name in said and len(said) < 1000
    return None


def _is_text(document: str) -> None:
    """Neither markup nor orders: for HTML and Markdown."""
    assert not ORDERS.search(document)
    assert "<script>PWNED" not in document
    assert not re.search(r"(?<!\\)\[x(?<!\\)\]\(javascript", document)


@settings(max_examples=300)
@given(value=TEXT)
def test_each_sink(value: str) -> None:
    line = escapes.line(value)
    assert not ORDERS.search(line) and not re.search("[\n\t]", line)
    shown = escapes.markdown(value)
    _is_text(shown)
    assert "\n" not in shown and not re.search(r"(?<!\\)(?:\\\\)*[`|]", shown)
    assert "\n" not in escapes.markdown_code(value)
    marked = escapes.html(value)
    assert "<" not in marked and html.unescape(marked) == escapes.text(value)
    cell = str(escapes.csv(value))
    assert not cell.strip()[:1] or cell.strip()[0] not in "=@+-\uff1d" or re.fullmatch(
        r"[+-]\d+", cell)  # fmt: skip
    comment = escapes.c_comment(value)
    assert not re.search(r"\*/|/\*|\?\?|\n|\\$", comment)
    literal = escapes.c_string(value)
    inner = re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), literal[1:-1])
    assert literal.isascii() and '"' not in literal[1:-1].replace("\\042", "")
    assert inner.encode("latin-1").decode() == value


@settings(max_examples=1)
@given(values=st.lists(TEXT.filter(lambda text: "\0" not in text), min_size=60, max_size=60))
def test_words_of_a_shell_come_back(values: list[str]) -> None:
    command = "printf '%s\\0' " + " ".join(map(escapes.shell, values))
    assert not ORDERS.search(command) and "\n" not in command
    found = subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout
    assert found.decode().split("\0")[:-1] == values


def _code_of_c(source: str) -> str:
    """A C source without comments and literals, as a compiler sees it."""
    source = source.replace("??/", "\\").replace("\\\n", "")
    return re.sub(r'/\*.*?\*/|"(?:[^"\\]|\\.)*"', " ", source, flags=re.S)


FACTS = json.loads(json.dumps(CONTRACT.to_json()))
IMAGE = TensorInfo("x", (1, 160, 160, 3), "uint8", 1 / 127.5, 127)
SCORES = TensorInfo("y", (1, 3), "uint8", 1 / 256, 0)


# Markup, formulas and code without what a contract refuses.
MARKUP = "".join(text for text in FRAGMENTS if escapes.label(text) == text)


@settings(max_examples=300)
@given(drawn=_drawn(FACTS))
def test_contract(drawn: tuple[tuple[Any, ...], Any], tmp_path_factory: Any) -> None:
    """It is refused, or bundle, C source and terminal show it as text."""
    _check_contract(*drawn, tmp_path_factory.getbasetemp())


def test_each_text_of_a_contract(tmp_path: Path) -> None:
    for path in _texts(FACTS):
        _check_contract(path, MARKUP[:900], tmp_path)


def _check_contract(path: tuple[Any, ...], value: Any, folder: Path) -> None:
    contract = _unless_refused(lambda: InputContract.from_json(_with(FACTS, path, value)), "")
    if contract is None:
        return
    assert all("\n" not in label and len(label) <= 1000 for label in contract.labels)
    file = folder / "m.tflite"
    file.write_bytes(b"x")
    artifact = Artifact(file, "tflite", (file,), contract)
    for source in (
        c_source._header("m", artifact, IMAGE, SCORES),
        c_source._source("m", artifact, SCORES),
    ):
        assert "PWNED" not in _code_of_c(source) and not ORDERS.search(source)
    _is_text(make._readme([make._Model(artifact, IMAGE, SCORES, {}, {})], True).decode())
    assert not ORDERS.search(contract.summary)


MANIFEST: dict[str, Any] = json.loads((Path(__file__).parent / "manifest.json").read_text())
CONTENT = b"hi"
for _file in MANIFEST["artifacts"][0]["files"]:
    _file |= {"sha256": hashlib.sha256(CONTENT).hexdigest(), "bytes": len(CONTENT)}


@settings(max_examples=300)
@given(drawn=_drawn(MANIFEST))
def test_manifest(drawn: tuple[tuple[Any, ...], Any], tmp_path_factory: Any) -> None:
    """It is refused, or its card and its bill can be made and are text."""
    _check_manifest(*drawn, tmp_path_factory.getbasetemp())


def test_each_text_of_a_manifest(tmp_path: Path) -> None:
    for path in _texts(MANIFEST):
        _check_manifest(path, MARKUP, tmp_path)
        _check_manifest(path, "".join(FRAGMENTS), tmp_path)


def _check_manifest(path: tuple[Any, ...], value: Any, folder: Path) -> None:
    file = folder / "m.manifest.json"
    file.write_text(json.dumps(_with(MANIFEST, path, value)))
    facts = _unless_refused(lambda: manifest_facts.read(file), file.name)
    if facts is None:
        return
    _is_text(card.to_markdown(facts))
    bill = sbom.to_cyclonedx(facts, "m")
    assert not ORDERS.search(bill)
    json.loads(bill, parse_constant=pytest.fail)


WHOLE = typed_json.encode(record())
BROKEN = typed_json.encode(failed())
READERS: list[str] = ["csv", "md", "html", "recommend", "compare", "terminal"]


@settings(max_examples=300)
@given(drawn=_drawn(WHOLE) | _drawn(BROKEN), reader=st.sampled_from(READERS))
def test_record(drawn: tuple[tuple[Any, ...], Any], reader: str, tmp_path_factory: Any) -> None:
    """It is refused, or whoever reads the report gets text."""
    for facts in (WHOLE, BROKEN):
        if drawn[0] in _paths(facts):
            _check_record(facts, *drawn, reader, tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("reader", READERS)
def test_each_text_of_a_record(reader: str, tmp_path: Path) -> None:
    for facts in (WHOLE, BROKEN):
        for path in _texts(facts):
            for value in (MARKUP, "".join(FRAGMENTS), "=cmd", "\t@x"):
                _check_record(facts, path, value, reader, tmp_path)


def _check_record(facts: Any, path: tuple[Any, ...], value: Any, reader: str, folder: Path) -> None:
    file = folder / "record.json"
    file.write_text(json.dumps(_with(facts, path, value)))
    read = _unless_refused(lambda: replace(read_record(file), store="s"), file.name)
    if read is None:
        return
    usual = read_record_of(WHOLE, folder)
    found = rows([read, usual])
    if reader == "csv":
        for line in csv.reader(io.StringIO(text.to_csv(found))):
            for cell in line:
                assert not ORDERS.search(cell) and cell[:1] not in ("=", "@", "\t", "\uff1d")
                assert cell[:1] not in ("+", "-") or float(cell) <= 1e15
    elif reader == "md":
        _is_text(text.to_markdown(found, [read] if isinstance(read, Failed) else []))
    elif reader == "html":
        shown = page._for_script(found, allow_poor=False)
        assert "<script>PWNED" not in shown and not ORDERS.search(shown)
        page._machines([read, usual], found)
        page._failed([read, usual])
    elif reader == "recommend":
        budgets = Budgets(max_latency_ms=1e9)
        with contextlib.suppress(UsageError):  # figures of several machines
            json.dumps(typed_json.encode(recommend(found, budgets, "latency", "")), allow_nan=False)
    elif reader == "compare":
        json.dumps(typed_json.encode(compare([read], [usual])), allow_nan=False)
    else:
        said = "".join(_said(lambda name=row.name: _console.say(name)) for row in found)  # type: ignore[misc]
        assert len(said.splitlines()) == len(found) and not ORDERS.search(said)


def read_record_of(facts: dict[str, Any], folder: Path) -> Any:
    file = folder / "usual.json"
    file.write_text(json.dumps(facts))
    return replace(read_record(file), store="s")


def _said(speak: Callable[[], object]) -> str:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        speak()
    return out.getvalue() + err.getvalue()


@settings(max_examples=150)
@given(value=TEXT)
def test_terminal(value: str) -> None:
    """A name starts no line of its own, whichever way it is printed."""
    for speak in (_console.say, _console.note, _console.warn):
        said = _said(lambda speak=speak: speak(value))  # type: ignore[misc]
        assert said.count("\n") == 1 and not ORDERS.search(said)
    said = _said(lambda: _console.table(value, ("a", value), [(value, 1), (None, value)]))
    assert not ORDERS.search(said)
    assert not ORDERS.search(_said(lambda: _console.wrapped(value)))


def test_long_names_are_cut_before_a_table_is_laid_out() -> None:
    begun = time.process_time()
    name = "x y" * 2_000_000
    said = _said(lambda: _console.table(name, ("", name), [(name, name)] * 20))
    assert len(said) < 500_000 and time.process_time() - begun < 2


def test_page_is_text(tmp_path: Path) -> None:
    """The page as a whole: what the template inserts, too."""
    pytest.importorskip("plotly")
    hostile = "".join(FRAGMENTS[:10]) + "<script>PWNED</script>"
    file = tmp_path / "record.json"
    facts = _with(BROKEN, ("error", "message"), hostile)
    file.write_text(json.dumps(_with(facts, ("variant", "device"), hostile)))
    broken = read_record(file)
    file.write_text(json.dumps(_with(WHOLE, ("variant", "model"), hostile)))
    read = read_record(file)
    made = page.to_html([read, broken], rows([read]))
    ours = made[: made.index("</script>\n<script>")]  # plotly's own code may hold anything
    assert "<script>PWNED" not in made and not ORDERS.search(ours)
    assert "&lt;script&gt;PWNED" in ours and r"\x1b[2J" in ours
