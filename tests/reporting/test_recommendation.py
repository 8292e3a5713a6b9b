"""The best variant under budgets, with honest reasons, or which bound excludes all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgezoo.core.errors import DataError, UsageError
from edgezoo.reporting.budgets import Budgets
from edgezoo.reporting.recommendation import Preference, recommend
from edgezoo.reporting.rows import Candidate, rows
from tests.support.fake_records import changed, record, scored

SMALL = record(alpha=0.25, median=2.0, hits=380, size=600_000)
FLOAT = record(alpha=0.25, precision="float32", median=4.0, hits=390, size=1_900_000)
LARGE = record(alpha=0.5, median=9.0, hits=470, size=1_500_000)
HUGE = record(alpha=1.0, median=40.0, hits=500, size=4_300_000)
EVERY = rows([SMALL, FLOAT, LARGE, HUGE])


def _choice(prefer: Preference = "accuracy", **budgets: Any) -> float | None:
    chosen = recommend(EVERY, Budgets(**budgets), prefer).choice
    return None if chosen is None else chosen.bytes


def _best(variant: Candidate | None) -> Candidate:
    assert variant is not None
    return variant


def test_budgets() -> None:
    assert _choice() == 4_300_000
    assert _choice(max_latency_ms=20) == 1_500_000
    assert _choice(max_latency_ms=20, max_bytes=1_000_000) == 600_000
    assert _choice(min_top1=0.6, max_latency_ms=5) == 1_900_000
    assert _choice("latency", min_top1=0.7) == 1_500_000
    assert _choice("size", min_top1=0.59) == 1_500_000
    assert _choice(max_latency_ms=2.0) == 600_000
    assert _choice(max_latency_ms=2.0, sure=True) is None, "its interval goes beyond 2 ms"
    assert _choice(max_latency_ms=9.05, statistic="p95") == 1_900_000
    assert _choice(max_drop_points=0.0, max_latency_ms=5) == 1_900_000
    assert _choice(max_memory_mb=50) is None


def test_why() -> None:
    facts = recommend(EVERY, Budgets(max_latency_ms=20))
    assert _best(facts.runner_up).bytes == 1_900_000
    assert (facts.fitting, facts.considered) == (3, 4)
    assert facts.misses == {"max_latency_ms": 1}
    words = " ".join(facts.why)
    assert "most accurate of 3 variants" in words
    assert "the runner-up is 2.25 times faster than it (95 %" in words
    assert "+12.3 points" in words and "0.79 times the size" in words
    assert "cannot tell" not in words
    near = recommend(EVERY, Budgets(max_latency_ms=5))
    assert "cannot distinguish the two" in " ".join(near.why)


def test_nothing_fits() -> None:
    facts = recommend(EVERY, Budgets(max_latency_ms=5, min_top1=0.7))
    assert facts.choice is None and facts.why == ()
    assert facts.misses == {"max_latency_ms": 2, "min_top1": 2}
    nearest = {entry.without: entry.variant.bytes for entry in facts.alternatives}
    assert nearest == {"max_latency_ms": 1_500_000, "min_top1": 1_900_000}


def test_machines_are_not_mixed() -> None:
    other = record(alpha=0.25, median=0.1, hits=600, machine="b" * 12)
    every = rows([SMALL, other])
    with pytest.raises(UsageError, match="2 machines") as caught:
        recommend(every, Budgets())
    assert "Box 1 (aaaaaa)" in caught.value.hint
    assert _best(recommend(every, Budgets(), machine="AAAA").choice).median_ms == 2.0
    with pytest.raises(UsageError, match="No machine in the results matches 'zz'"):
        recommend(every, Budgets(), machine="zz")


def test_lists_of_images_are_not_mixed() -> None:
    """An accuracy on 40 images that happen to be easy wins over none on 650."""
    easy = record(alpha=0.5, median=1.0, hits=40, images=40, images_hash="5" * 16)
    every = rows([SMALL, easy, record(alpha=1.0, hits=None, median=0.5)])
    asked: tuple[tuple[Preference, Budgets], ...] = (
        ("accuracy", Budgets()),
        ("latency", Budgets(min_top1=0.5)),
        ("size", Budgets(max_drop_points=10)),
    )
    for prefer, budgets in asked:
        with pytest.raises(UsageError, match="2 lists of images are in the results") as caught:
            recommend(every, budgets, prefer)
        assert "5555555555555555 (40 images, list 555555)" in caught.value.hint
    facts = recommend(every, Budgets(), images="55")
    assert _best(facts.choice).images_hash == "5" * 16 and facts.considered == 2
    assert _best(recommend(every, Budgets(), images="E").choice).median_ms == 2.0
    with pytest.raises(UsageError, match="No list of images in the results begins with '77'"):
        recommend(every, Budgets(), images="77")
    assert _best(recommend(every, Budgets(), "latency").choice).median_ms == 0.5
    words = " ".join(recommend(rows([SMALL, easy]), Budgets(), "latency").why)
    assert "measured on different images" in words and "Its top-1 is" not in words


def test_estimates_are_left_aside() -> None:
    estimate = record(alpha=1.0, median=0.1, hits=600, kind="estimate")
    assert recommend(rows([SMALL, estimate]), Budgets()).considered == 1
    with pytest.raises(DataError, match="no measurements"):
        recommend(rows([estimate]), Budgets())


def test_without_accuracies() -> None:
    found = rows([record(hits=None), record(hits=None, median=1.0)])
    with pytest.raises(DataError, match="accuracy"):
        recommend(found, Budgets())
    assert _best(recommend(found, Budgets(), "latency").choice).median_ms == 1.0


def test_little_trust_is_told() -> None:
    poor = rows([record(trust="poor")])
    asked = recommend(poor, Budgets(), allow_poor=True)
    assert "Trust in its latency: poor. Others were busy." in asked.why


def test_poor_latencies_are_chosen_only_if_asked() -> None:
    found = rows([record(median=1.0, hits=500, trust="poor"), record(alpha=0.5, median=2.0)])
    facts = recommend(found, Budgets())
    assert (_best(facts.choice).median_ms, facts.left_out, facts.considered) == (2.0, 1, 1)
    assert _best(recommend(found, Budgets(), allow_poor=True).choice).median_ms == 1.0
    alone = recommend(found[:1], Budgets())
    assert alone.choice is None and alone.left_out == 1 and alone.nearest is None


def test_the_runner_up_is_another_file() -> None:
    """One file in two runtimes is one candidate, told apart by name."""
    same = [record(sha256="3" * 64, runtime=f"litert 2.{i}", median=1 + i / 25) for i in (0, 1)]
    found = rows(same)
    assert [row.name[-12:] for row in found] == ["(litert 2.0)", "(litert 2.1)"]
    assert recommend(found, Budgets()).runner_up is None
    other = record(alpha=0.5, hits=398, median=9.0)
    assert _best(recommend(rows([*same, other]), Budgets()).runner_up).alpha == 0.5


def test_ties_go_to_the_faster() -> None:
    """Half a point does not matter: the faster of the two is the better answer."""
    found = rows([record(alpha=0.5, median=9.0, hits=403), record(median=2.0, hits=400)])
    facts = recommend(found, Budgets())
    assert _best(facts.choice).median_ms == 2.0
    assert facts.why[0].startswith("It is the fastest of the 2 most accurate variants, within 1 ")
    assert _best(recommend(found, Budgets(), equal_within_points=0).choice).median_ms == 9.0
    near = rows([record(median=2.0, hits=400), record(alpha=0.5, median=2.02, hits=450)])
    facts = recommend(near, Budgets(), "latency")
    assert _best(facts.choice).alpha == 0.5 and "noise does not tell apart" in facts.why[0]


def test_two_sessions_differ_by_five_percent() -> None:
    """4 % between two sessions is no difference, within one it is."""
    one = record(median=1.0, hits=400)
    other = record(alpha=0.5, median=1.04, hits=380)
    assert "1.04 times faster" in " ".join(recommend(rows([one, other]), Budgets()).why)
    apart = changed(other, "session.id", "b" * 12)
    words = " ".join(recommend(rows([one, apart]), Budgets()).why)
    assert "no difference can be seen" in words and "two sessions, which differ by up to" in words


def test_accuracies_are_compared_in_pairs() -> None:
    """20 images of 650 lost and none won is a clear loss, whatever two intervals say."""
    found = rows([scored(400), scored(380, alpha=0.5, median=1.0)])
    words = " ".join(recommend(found, Budgets()).why)
    assert "Its top-1 is +3.1 points" in words and "cannot distinguish" not in words
    words = " ".join(
        recommend(rows([record(hits=400), record(hits=380, alpha=0.5)]), Budgets()).why
    )
    assert "not in pairs" in words and "cannot distinguish" in words


def test_impossible_budgets_name_the_nearest() -> None:
    facts = recommend(EVERY, Budgets(max_latency_ms=1, min_top1=0.9))
    assert facts.choice is None and facts.alternatives == () and facts.nearest
    assert facts.nearest.variant.bytes == 600_000
    assert facts.nearest.misses == {"max_latency_ms": 2.0, "min_top1": 380 / 650}


def test_a_better_variant_that_was_not_chosen_is_explained() -> None:
    small, better = record(median=5.0, size=500_000), record(median=2.0, hits=450, size=900_000)
    why = recommend(rows([small, better]), Budgets(), "size").why
    assert "Another variant is at least as fast and as accurate, but its file is larger." in why
    why = recommend(rows([small, better]), Budgets(max_bytes=600_000), "size").why
    assert "Another variant is at least as fast and as accurate, but breaks a bound." in why
    why = recommend(rows([small, better]), Budgets()).why
    assert [text for text in why if "Another" in text] == []


def test_the_statistic_that_was_asked_for() -> None:
    """The one of 3 ms at the median has the longer tail."""
    steady = changed(record(alpha=0.5, median=4.0), "latency.latency_ms.p95", 4.5)
    jumpy = changed(record(median=3.0), "latency.latency_ms.p95", 30.0)
    facts = recommend(rows([steady, jumpy]), Budgets(max_latency_ms=1, statistic="p95"))
    assert facts.statistic == "p95"
    assert facts.alternatives[0].variant.p95_ms == 4.5
    with pytest.raises(UsageError, match="the p95 has none"):
        recommend(rows([steady]), Budgets(statistic="p95", sure=True))


def test_memory_that_is_unknown_comes_last() -> None:
    unknown, known = rows([record(size=1), record(alpha=0.5)])
    found = [replace(unknown, peak_rss_mb=None), known]
    facts = recommend(found, Budgets(max_memory_mb=1))
    assert facts.alternatives[0].variant.peak_rss_mb == 52.0


def test_drops_are_bounded_in_points() -> None:
    """1 is one percentage point, not the whole of the accuracy."""
    found = rows(
        [record(precision="float32", hits=650, size=9), record(hits=643), record(hits=646)]
    )
    drops = [row.drop_points for row in found[1:]]
    assert drops == pytest.approx([100 * 7 / 650, 100 * 4 / 650])
    assert recommend(found, Budgets(max_drop_points=1), "size").misses == {"max_drop_points": 1}
    assert recommend(found, Budgets(max_drop_points=0.5), "size").misses == {"max_drop_points": 2}
