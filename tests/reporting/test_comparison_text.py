"""Two stores in reports for people, spreadsheets and CI: before, after, and a verdict on each."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgezoo.reporting.comparison import StoreComparison, compare
from edgezoo.reporting.comparison_text import summary, to_csv, to_junit, to_markdown
from edgezoo.reporting.report_files import write
from edgezoo.reporting.rows import rows
from tests.support.fake_records import failed, record, scored, write_store

BEFORE = [scored(400), scored(420, alpha=0.5, median=4.0), record(alpha=0.75, hits=None),
          record(format="onnx"), scored(400, images=420, alpha=1.0, median=9.0),
          record(model="<b>|\x1bx", alpha=None)]  # fmt: skip
AFTER = [scored(370, sha256="1" * 64), scored(420, alpha=0.5, median=2.0),
         record(alpha=0.75, hits=None), failed(format="onnx"),
         scored(396, 1, images=420, alpha=1.0, median=9.0, sha256="2" * 64)]  # fmt: skip


@pytest.fixture(scope="module")
def found() -> StoreComparison:
    return compare(BEFORE, AFTER)


def test_each_variant_has_one_verdict(found: StoreComparison) -> None:
    words = [entry.verdict for entry in found.variants]
    assert words == ["worse", "better", "same", "cannot tell"]
    assert summary(found) == (
        "4 variants in both stores: 1 worse, 1 better, 1 the same, 1 cannot be told, 1 failed now."
    )


def test_markdown(found: StoreComparison) -> None:
    text = to_markdown(found)
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert table[2].startswith("| \u274c | mobilenet 0.25 128 int8 tflite cpu threads 1 | 2.000 ")
    assert "| 61.5 \u2192 56.9 | -4.6 (-6.5 to -3.3) \u274c |" in table[2]
    assert table[3].startswith("| \u2705 ") and "| 4.000 \u2192 2.000 | 0.50 (" in table[3]
    assert "<summary>1 variant the same</summary>" in text
    assert "## Failed now" in lines and "&lt;made&gt;" in text
    assert "&lt;b&gt;\\|" in text and "only before" in text


def test_csv(found: StoreComparison) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [line["verdict"] for line in lines] == [
        "worse", "better", "cannot tell", "same", "failed", "not compared",
    ]  # fmt: skip
    worse = lines[0]
    assert (worse["top1_verdict"], worse["latency_verdict"]) == ("worse", "same")
    assert float(worse["top1_change_points_high"]) < 0 and worse["top1_paired"] == "True"
    assert (worse["bytes_before"], worse["bytes_after"]) == ("600000", "600000")
    assert (lines[1]["median_ms_before"], lines[1]["median_ms_after"]) == ("4.0", "2.0")


def test_junit(found: StoreComparison) -> None:
    suite = ElementTree.fromstring(to_junit([], [], found))[0]
    outcomes = {
        (case.get("classname"), str(case.get("name"))[:14]): [child.tag for child in case]
        for case in suite
    }
    assert outcomes["edgezoo.top-1", "mobilenet 0.25"] == ["failure"]
    assert outcomes["edgezoo.latency", "mobilenet 0.25"] == []
    assert outcomes["edgezoo.top-1", "mobilenet 1 12"] == ["skipped"]
    assert outcomes["edgezoo.measured", "mobilenet 0.25"] == ["error"]
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["13", "1", "1", "2"]
    one = ElementTree.fromstring(to_junit(rows([record(), record(hits=None)]), [failed()], None))
    assert one.get("tests") == "3" and one.get("errors") == "1"


def test_every_report_of_two_stores(tmp_path: Path) -> None:
    stores = [write_store(tmp_path / "before", BEFORE), write_store(tmp_path / "after", AFTER)]
    facts = write(stores, ("html", "csv", "md", "json", "junit"), tmp_path / "reports")
    texts = {Path(path).name: Path(path).read_text() for path in facts.reports}
    assert list(texts)[-1] == "report.junit.xml"
    for name in ("report.html", "report.md"):
        assert "1 worse, 1 better" in texts[name] and "4.000 \u2192 2.000" in texts[name], name
    assert (
        "median_ms_before" in texts["report.csv"] and '"verdict": "worse"' in texts["report.json"]
    )
    assert "<failure" in texts["report.junit.xml"]
