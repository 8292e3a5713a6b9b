"""Before and after: real changes are found, noise and other machines are not called changes."""

from __future__ import annotations

import numpy as np
import pytest

from edgezoo.measurement.trust import Level
from edgezoo.reporting.comparison import LatencyChange, StoreComparison, compare
from tests.support.fake_records import changed, failed, record, scored

FORMATS = ("tflite", "onnx", "openvino")


def _latency(found: StoreComparison) -> LatencyChange:
    change = found.variants[0].latency
    assert change is not None
    return change


def test_nothing_changed() -> None:
    facts = compare([record()], [record(median=2.01)])
    assert facts.regressions == facts.improvements == facts.not_compared == ()
    assert _latency(facts).verdict == "same"


def test_slower_and_faster() -> None:
    before = [record(format=f) for f in FORMATS]
    after = [record(median=2.3, format="tflite"), record(format="onnx"),
             record(median=1.5, format="openvino")]  # fmt: skip
    facts = compare(before, after)
    assert len(facts.regressions) == len(facts.improvements) == 1
    assert "tflite" in facts.regressions[0] and "1.15 times" in facts.regressions[0]
    assert "openvino" in facts.improvements[0]


def test_a_change_within_the_noise_floor_is_none() -> None:
    assert compare([record()], [record(median=2.3, floor=0.2)]).regressions == ()


def test_accuracy() -> None:
    facts = compare([record(hits=400)], [record(hits=300)])
    assert "top-1 changed by -15.4 points" in facts.regressions[0]
    assert compare([record(hits=400)], [record(hits=392)]).regressions == ()


def test_other_images_are_not_compared() -> None:
    other = record(hits=300, images_hash="0" * 16)
    facts = compare([record(hits=400)], [other])
    assert facts.regressions == () and facts.variants[0].accuracy is None
    assert "other images" in facts.variants[0].reasons[0]


def test_machines_are_not_mixed() -> None:
    facts = compare([record(median=1.0)], [record(median=9.0, machine="b" * 12)])
    (entry,) = facts.variants
    assert entry.latency is None and facts.regressions == ()
    assert "Box 1 (aaaaaa)" in entry.reasons[0] and "Box 1 (bbbbbb)" in entry.reasons[0]
    assert entry.accuracy is not None, "accuracy does not depend on the machine"


def test_a_variant_that_fails_now_is_a_regression() -> None:
    facts = compare([record()], [failed()])
    assert "It cannot be" in facts.regressions[0] and facts.not_compared == ()


def test_what_is_only_on_one_side_is_told() -> None:
    facts = compare([record(), record(format="onnx")], [record(), record(format="openvino")])
    assert [text.rsplit(": ")[1] for text in facts.not_compared] == ["only before", "only after"]


def test_many_variants_do_not_make_false_alarms() -> None:
    """Of 100 stores of 10 unchanged variants, few may raise an alarm.

    Medians scatter as their interval of 0.1 % says, and with each session by 1.5 % more, of which
    neither the interval nor the A/A check knows.
    """
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(100):
        within = rng.normal(0, 0.001 / 1.96, (2, 10))
        medians = 2 * np.exp(within + rng.normal(0, 0.015, (2, 1)))
        sides = [
            [
                record(input_size=32 + i, median=float(m), hits=None, floor=0.0)
                for i, m in enumerate(side)
            ]
            for side in medians
        ]
        alarms += bool(compare(sides[0], sides[1]).regressions)
    assert alarms <= 5


@pytest.mark.parametrize(("before", "after"), [("poor", "good"), ("good", "poor")])
def test_poor_trust_makes_no_regression(before: Level, after: Level) -> None:
    for median in (2.2, 1.8):
        facts = compare([record(trust=before)], [record(median=median, trust=after)])
        assert facts.regressions == facts.improvements == ()
        (text,) = facts.warnings
        assert f"{median / 2:.2f} times the latency" in text
        assert f"trust {before} before, {after} after: cannot tell" in text
        assert _latency(facts).verdict == "cannot tell"
        assert _latency(facts).trust == (before, after)
    assert compare([record(trust=before)], [record(trust=after)]).warnings == ()


def test_poor_trust_says_nothing_against_an_accuracy() -> None:
    facts = compare([record(hits=400, trust="poor")], [record(hits=300, trust="poor")])
    assert len(facts.regressions) == 1 and facts.warnings == ()


def test_sessions_differ() -> None:
    """Within 5 % two sessions of one file are equal; a store's own repeats may say more."""
    assert compare([record()], [record(median=2.09)]).regressions == ()
    assert len(compare([record()], [record(median=2.15)]).regressions) == 1
    again = changed(record(median=2.2), "session.id", "b" * 12)
    facts = compare([record(), again], [record(median=2.4)])
    assert facts.regressions == ()
    assert _latency(facts).floor == pytest.approx(0.1)


def test_estimates_are_compared_with_estimates() -> None:
    facts = compare([record()], [record(kind="estimate", median=9.0)])
    assert facts.variants == () and len(facts.not_compared) == 2


def test_sizes_of_files() -> None:
    (text,) = compare([record()], [record(size=1_800_000)]).regressions
    assert text.endswith("the file has 1800000 bytes after 600000")
    assert len(compare([record(size=1_800_000)], [record()]).improvements) == 1
    facts = compare([record()], [record(size=606_000)])
    assert facts.regressions == facts.improvements == ()


def test_accuracies_are_compared_in_pairs() -> None:
    """23 images lost and none won of 650 are a loss of 3.5 points, as `evaluate` says."""
    facts = compare([scored(400)], [scored(377, sha256="1" * 64)])
    (text,) = facts.regressions
    assert "top-1 changed by -3.5 points (95 %: -5.3 to -2.4)" in text
    assert facts.variants[0].accuracy and facts.variants[0].accuracy.paired
    older = compare([record(hits=400)], [record(hits=377, sha256="1" * 64)])
    assert older.regressions == () and "not in pairs" in older.unsure[0]


def test_same_is_what_is_proved_to_be_small() -> None:
    few = compare([scored(60, images=100)], [scored(58, 1, images=100, sha256="1" * 64)])
    assert few.variants[0].accuracy and few.variants[0].accuracy.verdict == "cannot tell"
    assert len(few.unsure) == 1
    many = compare([scored(400)], [scored(400, 1, sha256="1" * 64)])
    assert many.variants[0].accuracy and many.variants[0].accuracy.verdict == "same"
    wide = compare([record(spread=0.6)], [record(spread=0.6, sha256="1" * 64)])
    assert _latency(wide).verdict == "cannot tell"


def test_one_file_is_equal_to_itself() -> None:
    """Three images prove nothing of two files; of one file there is nothing to prove."""
    facts = compare([scored(2, images=3)], [scored(2, images=3)])
    change = facts.variants[0].accuracy
    assert facts.variants[0].same_file and change and change.verdict == "same"
    assert change.change_points_ci95 == (0.0, 0.0)


def test_what_cannot_differ_does_not_count_among_the_comparisons() -> None:
    before = [scored(400, input_size=32 + i) for i in range(30)]
    after = [
        scored(400 - (12 if i == 7 else 0), input_size=32 + i, sha256=f"{i:064}") for i in range(30)
    ]
    (text,) = compare(before, after).regressions
    assert "-1.8 points" in text


def test_verdict_and_interval_agree() -> None:
    """A change whose printed interval holds 1 is none, and one comparison has no other correction.

    4.9 % is less than sessions differ by, 8 % is more.
    """
    for factor in (1.01, 1.049, 1.06, 1.08, 1.2):
        change = _latency(compare([record(hits=None)], [record(median=2 * factor, hits=None)]))
        inside = change.ci95[0] <= 1 <= change.ci95[1]
        assert inside == (change.verdict in ("same", "cannot tell")), factor
