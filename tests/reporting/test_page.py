"""The page in a real browser: it filters, sorts, downloads, and asks nobody for anything."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgezoo.reporting.comparison import compare
from edgezoo.reporting.html import to_html
from edgezoo.reporting.report_files import write
from edgezoo.reporting.rows import rows
from tests.support.browser import chromium, new_context
from tests.support.fake_records import changed, failed, grid, record, scored, write_store

EVIL = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight variants of two machines, one estimate, one failure, one hostile name."""
    records = [
        record(median=2.0, hits=400), record(median=2.01, hits=399, format="onnx"),
        record(precision="float32", median=4.0, hits=410, size=1_900_000, trust="poor"),
        record(alpha=0.5, median=5.0, hits=470), record(alpha=0.5, median=9.0, hits=300, threads=2),
        record(model=EVIL, alpha=None, median=6.0, hits=None),
        record(median=0.7, hits=400, kind="estimate", trust="caution"),
        record(median=1.0, hits=400, machine="b" * 12), failed(format="openvino"),
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("page")
    comparison = compare([record(median=1.5)], [record(median=2.0)])
    (folder / "report.html").write_text(to_html(records, comparison))
    return folder / "report.html"


class Page:
    """An opened report; everything that it should not do is noted."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.complaints: list[str] = []
        self.page = new_context(browser, **options).new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._request)
        self.page.goto(path.as_uri())
        self.drawn()

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "blob:", "data:")):
            self.complaints.append(f"request to {request.url}")

    def drawn(self, count: int | None = None) -> None:
        wanted = "[data-drawn]" if count is None else f'[data-drawn="{count}"]'
        self.page.wait_for_selector(f"html{wanted}")

    def column(self, number: int) -> list[str]:
        found = self.page.locator(f"#table tbody tr td:nth-child({number})").all_inner_texts()
        return [text.strip() for text in found]

    def sort_by(self, heading: str) -> None:
        self.page.get_by_role("button", name=heading, exact=True).click()

    def choose(self, name: str, value: str) -> None:
        self.page.locator(f'#filters input[name={name}][value="{value}"]').click()

    def points(self) -> int:
        return int(self.page.locator("#front .scatterlayer .points path.point").count())


@pytest.fixture
def page(browser: Any, small: Path) -> Iterator[Page]:
    opened = Page(browser, small, viewport={"width": 1280, "height": 900})
    yield opened
    opened.page.close()
    assert opened.complaints == []


def test_machines_are_shown_one_at_a_time(page: Page) -> None:
    assert "2 machines" in page.page.locator("#headline").inner_text()
    assert len(page.column(2)) == 7
    page.choose("machine", "Box 1 (bbbbbb)")
    page.drawn(1)
    assert page.column(5) == ["1.000"]
    assert page.page.locator("#count").inner_text() == "1 of 8 variants"


def test_filters(page: Page) -> None:
    note = page.page.locator("#front-note").inner_text()
    assert note.startswith("Up and to the left is better.") and "more accurate" in note
    page.choose("format", "onnx")
    page.drawn(6)
    assert not [name for name in page.column(2) if "onnx" in name]
    page.choose("precision", "float32")
    page.drawn(5)
    assert page.points() == 4, "one has no accuracy"
    page.choose("threads", "1")
    page.drawn(1)
    page.page.get_by_role("button", name="Show all").click()
    page.drawn(7)
    assert page.points() == 6


def test_sorting(page: Page) -> None:
    medians = [float(text) for text in page.column(5)]
    assert medians == sorted(medians)
    page.sort_by("Median ms")
    assert [float(text) for text in page.column(5)] == sorted(medians, reverse=True)
    head = page.page.locator("th[aria-sort]")
    assert head.count() == 1 and head.get_attribute("aria-sort") == "descending"
    page.sort_by("Top-1 %")
    shares = page.column(8)
    assert shares[-1] == "\u2013", "what is unknown comes last"
    assert [float(text) for text in shares[:-1]] == sorted(float(text) for text in shares[:-1])
    page.sort_by("Top-1 %")
    assert page.column(8)[-1] == "\u2013"
    page.sort_by("Trust")
    assert page.column(15) == ["good"] * 5 + ["caution", "poor"]


def test_front_follows_the_filters(page: Page) -> None:
    def places() -> dict[str, str]:
        rows = page.page.locator("#table tbody tr")
        return dict(
            zip(page.column(5), (r.get_attribute("class") for r in rows.all()), strict=True)
        )

    before = places()
    assert before["2.000"] == "front measurement" and before["2.010"] == "maybe measurement"
    assert before["9.000"] == "behind measurement" and before["0.700"] == "front estimate"
    page.choose("threads", "1")
    page.drawn(1)
    assert places() == {"9.000": "front measurement"}


def test_page_and_command_line_agree_on_the_front(browser: Any, tmp_path: Path) -> None:
    """The page computes the front anew for what is visible, by the same rules."""
    rng = np.random.default_rng(1)
    every = [
        changed(
            scored(
                int(320 + 60 * np.log(ms) + rng.normal(0, 12)), int(rng.integers(0, 20)),
                input_size=32 + i, median=float(ms), trust=("good", "good", "poor")[i % 3],
            ),
            "session.id", f"session{i % 4}",
        )
        for i, ms in enumerate(np.exp(rng.uniform(0, 1.5, 60)))
    ]  # fmt: skip
    found = rows(every)
    assert len({row.place for row in found}) == 4
    for allow_poor in (False, True):
        path = tmp_path / f"{allow_poor}.html"
        path.write_text(to_html(every, allow_poor=allow_poor))
        opened = Page(browser, path)
        lines = opened.page.locator("#table tbody tr").all()
        places = [str(line.get_attribute("class")).split()[0] for line in lines]
        ordered = sorted(rows(every, allow_poor), key=lambda row: row.median_ms)
        assert places == [row.place for row in ordered]
        opened.page.close()
        assert opened.complaints == []


def test_sizes_where_no_accuracy_was_measured(browser: Any, tmp_path: Path) -> None:
    """Of sizes less is better, and nobody is on a front of accuracies."""
    one = [record(hits=None)]
    (tmp_path / "report.html").write_text(to_html(one))
    opened = Page(browser, tmp_path / "report.html")
    note = opened.page.locator("#front-note").inner_text()
    assert note.startswith("Down and to the left is better.") and "accurate" not in note
    assert "size against latency" in str(opened.page.locator("#front").get_attribute("aria-label"))
    assert opened.page.locator("#headline").inner_text() == "1 variant, 1 machine"
    opened.page.close()
    assert opened.complaints == []


def test_lists_of_images_are_shown_one_at_a_time(browser: Any, tmp_path: Path) -> None:
    easy = record(alpha=0.5, median=1.0, hits=40, images=40, images_hash="5" * 16)
    other = record(median=7.0, hits=30, images=40, images_hash="5" * 16, machine="b" * 12)
    every = [record(), easy, record(hits=None, median=3.0), other]
    (tmp_path / "report.html").write_text(to_html(every))
    opened = Page(browser, tmp_path / "report.html")
    assert opened.column(5) == ["2.000", "3.000"] and opened.points() == 1
    assert opened.column(17) == ["650 images, list eeeeee", "\u2013"]
    assert "2 lists of images" in opened.page.locator("#headline").inner_text()
    assert "one list at a time" in opened.page.locator("main").inner_text()
    opened.choose("images_hash", "5" * 16)
    opened.page.wait_for_function("document.querySelector('#table td:nth-child(5)').textContent"
                                  " === '1.000'")  # fmt: skip
    assert opened.column(5) == ["1.000", "3.000"]
    opened.choose("images_hash", "e" * 16)
    opened.choose("machine", "Box 1 (bbbbbb)")
    opened.drawn(1)
    assert opened.column(5) == ["7.000"], "that machine has scored on the other list only"
    opened.page.close()
    assert opened.complaints == []


def test_estimate_is_marked(page: Page) -> None:
    (name,) = [text for text in page.column(2) if "estimate" in text]
    assert name.endswith("(Vela estimate)")
    assert "int8, Vela estimate" in page.page.locator("#front .legend").text_content()


def test_hostile_names_are_text(page: Page) -> None:
    assert page.page.title() == "EdgeZoo report"
    assert any("</script>" in name for name in page.column(2))
    assert "It cannot be <made>." in page.page.locator("main").inner_text()


def test_downloads(page: Page) -> None:
    page.choose("format", "onnx")
    page.drawn(6)
    with page.page.expect_download() as waiting:
        page.page.get_by_role("button", name="Download CSV").click()
    lines = list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text())))
    assert len(lines) == 6 and {line["format"] for line in lines} == {"tflite"}
    assert EVIL in lines[4]["name"] or any(EVIL in line["name"] for line in lines)
    with page.page.expect_download() as waiting:
        page.page.get_by_role("button", name="Download JSON").click()
    found = json.loads(Path(waiting.value.path()).read_text())
    assert [row["median_ms"] for row in found] == [float(line["median_ms"]) for line in lines]


def test_keyboard(page: Page) -> None:
    press = page.page.keyboard.press
    press("Tab")
    assert page.page.evaluate("document.activeElement.textContent") == "Skip to the table"
    press("Enter")
    for _ in range(6):  # two downloads, the table, then its headings
        press("Tab")
        if page.page.evaluate("document.activeElement.dataset.key") == "device":
            break
    assert page.page.evaluate("document.activeElement.dataset.key") == "device"
    press("Enter")
    assert page.page.locator("th[aria-sort=ascending]").inner_text().startswith("Device")
    press("Shift+Tab")
    press("Space")
    assert page.page.locator("th[aria-sort=ascending]").inner_text().startswith("Variant")


def test_ticked_distributions(page: Page) -> None:
    boxes = page.page.locator("#spread .boxlayer path.box")
    assert boxes.count() == 6, "an estimate has no runs"
    page.page.locator("#table tbody input").nth(2).check()
    page.page.wait_for_function(
        "document.querySelectorAll('#spread .boxlayer path.box').length === 1"
    )


def test_comparison_and_host(page: Page) -> None:
    text = page.page.locator("main").inner_text()
    assert "1.33 times the latency" in text and "Box 1 (aaaaaa)" in text
    assert "Each file ran in a process of its own" in text


def test_noise_floors_are_visible(page: Page) -> None:
    text = page.page.locator("main").inner_text()
    assert "2.0 % (assumed, no A/A check; session 0123456789ab, 6 variants)" in text


def test_reasons_open_without_a_mouse(page: Page) -> None:
    poor = page.page.locator("#table tbody tr", has_text="float32")
    reason = poor.get_by_text("Others were busy.")
    assert not reason.is_visible()
    poor.locator("summary").focus()
    page.page.keyboard.press("Enter")
    assert reason.is_visible()
    assert page.page.locator("#table [title]").count() == 0


def test_reasons_that_are_left_out_are_counted(browser: Any, tmp_path: Path) -> None:
    one = changed(record(trust="poor"), "trust.reasons", tuple(f"Reason {i}." for i in range(23)))
    (tmp_path / "report.html").write_text(to_html([one]))
    opened = Page(browser, tmp_path / "report.html")
    opened.page.get_by_text("What speaks against figures of this machine").click()
    assert "and 3 more" in opened.page.locator("main").inner_text()
    opened.page.close()


def test_nothing_but_failures(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(to_html([failed(file="a.tflite")]))
    opened = Page(browser, tmp_path / "report.html")
    assert opened.page.locator("#headline").inner_text() == "No variant has figures."
    assert "a.tflite on cpu, threads 1" in opened.page.locator("main").inner_text()
    opened.page.close()
    assert opened.complaints == []


def test_phone(browser: Any, small: Path) -> None:
    opened = Page(browser, small, viewport={"width": 390, "height": 844})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.page.locator("#front svg.main-svg").first.bounding_box()["width"] <= 390
    assert opened.complaints == []
    opened.page.close()


def test_print(page: Page) -> None:
    page.page.emulate_media(media="print")
    assert not page.page.locator("#filters").is_visible()
    assert page.page.locator("#table").is_visible() and page.page.locator("#front").is_visible()


def test_five_hundred_variants(browser: Any, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", grid(500))
    facts = write([store], ("html",), store)
    assert facts.variants == 500
    path = Path(facts.reports[0])
    assert path.stat().st_size < 5_500_000
    opened = Page(browser, path)
    assert len(opened.column(2)) == 500 and opened.points() == 500
    assert opened.complaints == []
    opened.page.close()


def test_page_names_no_other_place(small: Path) -> None:
    """The policy inside the page forbids requests, whatever a library would like to do."""
    text = small.read_text()
    assert "default-src 'none'" in text
    head = text[: text.index("<style>")]
    assert "http" not in head.replace("http-equiv", "")
