"""Rows of a report: drops, fronts and ties, and machines that never meet."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from edgezoo.evaluation.drop import share_interval
from edgezoo.measurement.statistics import ReportedRatio
from edgezoo.reporting.fronts import fronts
from edgezoo.reporting.gaps import difference95
from edgezoo.reporting.rows import rows
from edgezoo.reporting.text import to_csv, to_markdown
from edgezoo.results.record import Record
from tests.support.fake_records import changed, failed, measured, record


def _place(*records: Record) -> list[str | None]:
    return [row.place for row in rows(records)]


def test_difference_is_newcombes() -> None:
    """(Newcombe 1998, table II: 56/70 - 48/80 is 0.0524 to 0.3339 by method 10)."""
    found = difference95(56 / 70, share_interval(56, 70), 48 / 80, share_interval(48, 80))
    assert found == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_front() -> None:
    fast, good = record(median=1.0, hits=300), record(median=4.0, hits=500)
    worse = record(median=8.0, hits=250)
    assert _place(fast, good, worse) == ["front", "front", "behind"]


def test_what_noise_hides_is_not_called_behind() -> None:
    best, near = record(median=2.0, hits=401), record(median=2.01, hits=400)
    assert _place(best, near) == ["front", "maybe"]
    slower = record(median=2.4, hits=400)
    assert _place(best, slower) == ["front", "behind"]
    noisy = record(median=2.4, hits=400, floor=0.3)
    assert _place(best, noisy) == ["front", "maybe"], "its session could not see 20 %"


def test_equal_figures_stand_side_by_side() -> None:
    assert _place(record(), record()) == ["front", "front"]


def test_only_visible_variants_count() -> None:
    found = rows([record(median=1.0, hits=500), record(median=2.0, hits=400)])
    assert found[1].place == "behind" and fronts(found[1:]) == {found[1].id: "front"}


def test_machines_kinds_and_devices_do_not_meet() -> None:
    slow = record(median=9.0, hits=100)
    assert _place(record(median=1.0, hits=600, machine="b" * 12), slow)[1] == "front"
    assert _place(record(median=1.0, hits=600, kind="estimate"), slow)[1] == "front"
    assert _place(record(median=1.0, hits=600), slow)[1] == "behind"


def test_lists_of_images_do_not_meet() -> None:
    easy = record(median=1.0, hits=40, images=40, images_hash="5" * 16)
    assert _place(easy, record(median=9.0, hits=400)) == ["front", "front"]
    text = to_markdown(rows([easy, record(hits=400)]), [])
    assert "| trust | images |" in text and "several lists of images" in text
    assert "| 40 images, list 555555 |" in text and "| 650 images, list eeeeee |" in text
    assert "| images |" not in to_markdown(rows([record()]), [])


def test_drop_is_against_float32_of_the_same_network() -> None:
    other_size = record(precision="float32", input_size=224, hits=600)
    onnx = record(precision="float32", format="onnx", hits=420)
    own = record(precision="float32", hits=430)
    int8 = record(hits=400)
    found = rows([other_size, onnx, own, int8, record(input_size=160)])
    assert found[3].drop_points == pytest.approx(3000 / 650), "the same format comes first"
    low, high = found[3].drop_points_ci95 or (0, 0)
    assert low < 3000 / 650 < high
    assert found[2].drop_points is None and found[4].drop_points is None
    assert rows([onnx, int8])[1].drop_points == pytest.approx(2000 / 650)


def test_paired_drop_of_the_evaluation_comes_first() -> None:
    made = measured(hits=400)
    assert made.accuracy
    drop = replace(made.accuracy, drop_points=1.0, drop_points_ci95=(-0.2, 2.2))
    paired = replace(made, accuracy=drop)
    found = rows([record(precision="float32", hits=430), paired])
    assert (found[1].drop_points, found[1].drop_points_ci95) == (1.0, (-0.2, 2.2))


def test_records_without_accuracy_or_figures() -> None:
    found = rows([record(hits=None), failed()])
    assert len(found) == 1 and found[0].top1 is None


def test_quantiles_span_all_runs() -> None:
    made = measured()
    runs = [ms for block in made.latency.blocks_ms for ms in block]
    (row,) = rows([made])
    assert row.quantiles_ms
    assert row.quantiles_ms[0] == min(runs) and row.quantiles_ms[-1] == max(runs)
    assert list(row.quantiles_ms) == sorted(row.quantiles_ms)


def test_csv() -> None:
    text = to_csv(rows([record(), record(hits=None, model="vgg16", alpha=None)]))
    first, second = csv.DictReader(io.StringIO(text))
    assert first["median_ms"] == "2.0" and float(first["top1_low"]) < 400 / 650
    assert second["model"] == "vgg16" and second["top1_high"] == second["alpha"] == ""


def test_markdown_has_a_table_a_machine() -> None:
    records = [record(median=1.0), record(median=3.0, hits=100), record(machine="b" * 12),
               record(kind="estimate", median=0.1)]  # fmt: skip
    text = to_markdown(rows(records), [failed(format="onnx")])
    assert text.count("## Box 1 (") == 2 and "It cannot be &lt;made&gt;." in text
    lines = text.splitlines()
    assert any(line.startswith("| **mobilenet 0.25 128 int8 tflite** |") for line in lines)
    assert any(
        line.startswith("| mobilenet 0.25 128 int8 tflite | cpu | 1 | 3.000") for line in lines
    )
    assert any("(Vela estimate)" in line for line in lines)


def test_markdown_of_hostile_names() -> None:
    """A name in a store or a file may be anything: it ends no cell and is no HTML."""
    text = to_markdown(rows([record(model="<b>|x", alpha=None, hits=None)]), [])
    assert "| &lt;b&gt;\\|x 128 int8 tflite |" in text


def test_noise_floors_are_told() -> None:
    check = ReportedRatio(1.06, 1.0, 1.1, 12)
    checked = changed(record(floor=0.071), "session.self_check", check)
    checked = changed(checked, "session.id", "c" * 12)
    every = [record(), record(alpha=0.5), checked, record(kind="estimate")]
    text = to_markdown(rows(every), [])
    assert (
        "Noise floor: 7.1 % (A/A; session cccccccccccc, 1 variant); "
        "2.0 % (assumed, no A/A check; session 0123456789ab, 2 variants).\n"
    ) in text
    sessions = [changed(record(), "session.id", f"{i:012}") for i in range(12)]
    assert "; and 2 more.\n" in to_markdown(rows(sessions), [])
