"""Which records of two stores are compared: nothing vanishes, and each name says which it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgezoo.core.errors import DataError
from edgezoo.reporting.comparison import compare
from edgezoo.reporting.html import to_html
from edgezoo.reporting.rows import rows
from edgezoo.reporting.text import to_csv, to_markdown
from edgezoo.results.record import Record
from edgezoo.sweep import records
from edgezoo.sweep.grid import Variant
from tests.support.fake_records import failed, record

LATER = "2026-01-02T00:00:00+00:00"


def test_files_of_one_network_are_told_apart() -> None:
    def side(slow: float) -> list[Record]:
        return [record(file="a.tflite", median=slow), record(file="b.tflite", sha256="1" * 64)]

    facts = compare(side(2.0), side(4.0))
    assert len(facts.variants) == 2 and facts.not_compared == ()
    (text,) = facts.regressions
    assert text.startswith("mobilenet 0.25 128 int8 tflite (a.tflite) cpu threads 1: 2.00 times")
    names = [row.name for row in rows(side(2.0))]
    assert names == [f"mobilenet 0.25 128 int8 tflite ({name}.tflite)" for name in "ab"]
    for text in (to_csv(rows(side(2.0))), to_markdown(rows(side(2.0)), [])):
        assert "(a.tflite)" in text and "(b.tflite)" in text


def test_a_name_says_no_more_than_it_must() -> None:
    assert rows([record(file="a.tflite")])[0].name == "mobilenet 0.25 128 int8 tflite"
    stores = [replace(record(file=f"{name}.tflite"), store=store) for name, store in ("as", "bt")]
    assert [row.name[-9:] for row in rows(stores)] == ["a.tflite)", "b.tflite)"]
    two = rows([record(images=650), record(images=40, hits=30, images_hash="f" * 16)])
    assert [row.name[-13:] for row in two] == [" (650 images)", "e (40 images)"]
    two = rows([record(sha256="1" * 64), record(sha256="2" * 64, created=LATER)])
    assert [row.name[-13:] for row in two] == ["(file 111111)", "(file 222222)"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_newest_of_a_store_counts(order: int) -> None:
    """Such as of two sweeps with another --calibration-count."""
    store = [record(sha256="1" * 64), record(sha256="2" * 64, median=9.0, created=LATER)][::order]
    facts = compare(store, [record(median=9.0)])
    assert facts.regressions == facts.improvements == () and len(facts.variants) == 1
    (text,) = facts.not_compared
    assert text.startswith("mobilenet 0.25 128 int8 tflite (file 111111) cpu threads 1: ")
    assert text.endswith("the store holds a newer record")


def test_stores_of_two_machines_are_compared_machine_by_machine() -> None:
    store = [record(), record(median=7.0, machine="b" * 12, created=LATER)]
    facts = compare(store, [record(median=3.0), record(median=7.0, machine="b" * 12)])
    assert [e.latency and e.latency.change for e in facts.variants] == [1.5, 1.0]
    facts = compare(store, [record()])
    assert len(facts.variants) == 1
    assert "on Box 1 (bbbbbb) only before" in facts.not_compared[0]


def test_a_file_that_breaks_is_a_regression() -> None:
    before = [record(file="a.tflite"), record(file="b.tflite")]
    facts = compare(before, [record(file="b.tflite"), failed(file="a.tflite")])
    assert facts.regressions == ("a.tflite cpu threads 1: It cannot be <made>.",)
    assert facts.not_compared == ()


def test_what_failed_and_works_by_now_is_none() -> None:
    facts = compare([record()], [failed(), record(created=LATER)])
    assert facts.regressions == () and len(facts.variants) == 1
    facts = compare([record()], [record(), failed(created=LATER)])
    assert len(facts.regressions) == 1 and facts.variants == ()


def test_failures_that_are_no_regressions_are_told() -> None:
    name = "mobilenet 0.25 128 int8 tflite cpu threads 1: "
    assert compare([failed()], [record()]).not_compared == (name + "failed before",)
    assert compare([failed()], [failed()]).not_compared == (name + "failed before and after",)
    assert compare([], [failed()]).not_compared == (name + "failed only after",)
    assert compare([failed()], []).not_compared == (name + "failed only before",)


def test_what_is_not_compared_says_on_which_device() -> None:
    facts = compare([record(threads=2)], [record(threads=4)])
    assert [text.split("tflite ")[1] for text in facts.not_compared] == [
        "cpu threads 2: only before", "cpu threads 4: only after",
    ]  # fmt: skip


def test_records_keep_what_failed() -> None:
    file = Variant(None, None, None, None, "tflite", "cpu", 1, Path("/home/me/a.tflite"))
    facts = records.failed(file, DataError("It is no model."), "measure")
    assert facts.file == "a.tflite" and facts.kind == "measurement"
    target = Variant("vgg16", None, 224, "int8", "tflite", "ethos-u55-128", 1, estimated=True)
    facts = records.failed(target, DataError("It is no model."), "export")
    assert facts.file is None and facts.kind == "estimate"


def test_reports_name_files_that_failed() -> None:
    broken = failed(file="<a>.tflite")
    assert "&lt;a&gt;.tflite" in to_html([broken])
    assert "- &lt;a&gt;.tflite cpu threads 1: It cannot be" in to_markdown([], [broken])
