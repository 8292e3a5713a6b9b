"""The first screen: what most readers look for, on each machine, without what cannot be trusted."""

from __future__ import annotations

from edgezoo.reporting.html import to_html
from edgezoo.reporting.rows import rows
from edgezoo.reporting.scenarios import across, scenarios
from tests.support.fake_records import changed, record

EVERY = [
    record(alpha=0.25, median=2.0, hits=380, size=600_000),
    record(alpha=0.5, median=5.0, hits=470, size=1_500_000),
    record(alpha=0.75, median=9.0, hits=474, size=3_000_000),
    record(alpha=1.0, median=40.0, hits=500, size=4_300_000),
    record(alpha=0.35, median=1.0, hits=640, size=100, trust="poor"),
]


def _answers(allow_poor: bool = False) -> dict[str, float | None]:
    found = scenarios(rows(EVERY, allow_poor), allow_poor)
    return {s.question: s.row.alpha if s.row else None for s in found}


def test_answers() -> None:
    assert _answers() == {
        "Smallest": 0.25,
        "Most accurate": 1.0,
        "Fastest within 1 point of the most accurate": 1.0,
        "Most accurate under 10 ms": 0.5,
    }
    assert set(_answers(allow_poor=True).values()) == {0.35}


def test_each_machine_has_its_own() -> None:
    other = record(alpha=0.25, median=1.0, machine="b" * 12)
    unscored = record(alpha=0.25, median=1.5, hits=None, machine="c" * 12)
    found = rows([*EVERY, other, unscored])
    assert len({answer.machine for answer in scenarios(found)}) == 3
    table = across(found)
    assert table and len(table.machines) == 3
    ((label, cells),) = table.lines
    assert label.startswith("mobilenet 0.25 128 int8 tflite")
    assert [cell and cell.median_ms for cell in cells] == [2.0, 1.0, 1.5]
    assert across(rows(EVERY)) is None


def test_names_tell_clones_of_a_card_apart() -> None:
    clones = [changed(record(), "environment.name", name) for name in ("pi5-lab", "pi5-desk")]
    found = rows(clones)
    assert [row.machine for row in found] == ["pi5-lab (aaaaaa)", "pi5-desk (aaaaaa)"]
    assert across(found)


def test_where_nothing_can_be_trusted() -> None:
    found = scenarios(rows(EVERY[-1:]))
    assert all(answer.row is None and "1 with poor trust" in answer.why for answer in found)
    page = to_html([*EVERY, record(alpha=0.25, machine="b" * 12)])
    assert "Trust in the latencies:" in page and 'id="choices"' in page and 'id="devices"' in page
