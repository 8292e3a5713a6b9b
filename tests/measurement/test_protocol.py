"""The stopwatch finds what is there and nothing else, on a machine that drifts and stutters."""

from __future__ import annotations

import numpy as np
import pytest

from edgezoo.core.errors import CrashError
from edgezoo.measurement.protocol import Block, Series, Settings, measure
from edgezoo.measurement.statistics import ratio
from edgezoo.measurement.verdicts import judge, noise_floor
from tests.measurement.fakes import Fake, Machine

QUICK = Settings(min_seconds=0.2, warm_up_seconds=0.1)


def _series(found: object) -> Series:
    assert isinstance(found, Series)
    return found


def _verdict(seed: int, slowdown: float, drift: float = 0.2) -> str:
    """Of one run of the whole method on two variants, with its A/A check."""
    machine = Machine(seed, drift)
    runners = {"a": Fake(machine, 5), "b": Fake(machine, 5 * slowdown), "A/A": Fake(machine, 5)}
    found = {n: _series(s).wall_ms for n, s in measure(runners, Settings(seed=seed)).items()}
    floor = noise_floor(ratio(found["A/A"], found["a"]))
    return judge("b", "a", ratio(found["b"], found["a"]), floor).word


def test_no_difference_is_seen_where_there_is_none() -> None:
    words = [_verdict(seed, 1.0) for seed in range(100)]
    assert words.count("same") >= 95


def test_five_percent_are_found_in_spite_of_drift() -> None:
    words = [_verdict(seed, 1.05) for seed in range(100)]
    assert words.count("slower") >= 90


def test_one_after_the_other_would_take_drift_for_a_difference() -> None:
    """What turns are for: the same machine and statistics, but a first, then b."""
    wrong = 0
    for seed in range(20):
        machine = Machine(seed)
        one_by_one = [
            _series(measure({"x": Fake(machine, 5)}, Settings(seed=seed))["x"]).wall_ms
            for _ in range(2)
        ]
        blocks = min(map(len, one_by_one))
        found = ratio(one_by_one[1][:blocks], one_by_one[0][:blocks])
        wrong += judge("b", "a", found, 0.02).word != "same"
    assert wrong >= 15


def test_runs_and_seconds_are_both_reached() -> None:
    for milliseconds in (0.05, 2, 30, 400):
        series = _series(measure({"x": Fake(Machine(0, 0), milliseconds)}, Settings())["x"])
        runs = [len(block.wall_ns) for block in series.blocks]
        assert sum(runs) >= 50 and min(runs) >= 10
        assert sum(map(sum, series.wall_ms)) >= 900, "about a second, and more where runs are slow"
        assert len(runs) >= 24 and len(runs) % 2 == 0
        assert not series.capped


def test_every_round_is_a_random_order_and_its_mirror() -> None:
    order: list[str] = []

    class Noted(Fake):
        def __init__(self, name: str, machine: Machine) -> None:
            super().__init__(machine, 5)
            self.name = name

        def block(self, runs: int, lead_in: int) -> Block:
            if lead_in:
                order.append(self.name)
            return super().block(runs, lead_in)

    machine = Machine(1)
    runners = {name: Noted(name, machine) for name in "abc"}
    measure(runners, QUICK)
    rounds = [order[i : i + 6] for i in range(0, len(order), 6)]
    assert all(turn[:3] == turn[:2:-1] and sorted(turn[:3]) == list("abc") for turn in rounds)
    assert len({tuple(turn) for turn in rounds}) >= 3
    again = list(order)
    order.clear()
    measure({name: Noted(name, Machine(1)) for name in "abc"}, QUICK)
    assert order[: len(again)] == again[: len(order)], "the seed decides"


def test_warm_up_goes_on_until_it_is_stable() -> None:
    class Warming(Fake):
        def block(self, runs: int, lead_in: int) -> Block:
            self.milliseconds = max(5.0, self.milliseconds * 0.9)
            return super().block(runs, lead_in)

    quick = _series(measure({"x": Fake(Machine(0, 0), 5)}, Settings())["x"])
    slow = _series(measure({"x": Warming(Machine(0, 0), 40)}, Settings())["x"])
    assert slow.warm_up_stable and quick.warm_up_stable
    assert 0.5 <= quick.warm_up_runs * 5e-3 <= 0.8
    assert np.median(slow.wall_ms[0]) == pytest.approx(5, rel=0.1)


def test_warm_up_ends_at_its_cap() -> None:
    class Restless(Fake):
        def block(self, runs: int, lead_in: int) -> Block:
            self.milliseconds = {5.0: 6.0}.get(self.milliseconds, 5.0)
            return super().block(runs, lead_in)

    series = _series(measure({"x": Restless(Machine(0, 0), 5)}, Settings())["x"])
    assert not series.warm_up_stable
    assert 9 < series.warm_up_runs * 5.5e-3 < 12


def test_a_slow_variant_is_cut_off_at_whole_rounds() -> None:
    series = _series(measure({"x": Fake(Machine(0, 0), 2500)}, Settings())["x"])
    assert series.capped
    assert 150 < sum(map(sum, series.wall_ms)) / 1000 < 250
    assert len(series.blocks) % 2 == 0
    assert judge("b", "a", ratio(series.wall_ms, series.wall_ms), 0.02).word == "unknown"


@pytest.mark.parametrize("dies_after", [0, 2, 12])
def test_one_that_dies_does_not_take_the_others_with_it(dies_after: int) -> None:
    machine = Machine(0)
    found = measure({"a": Fake(machine, 5), "b": Fake(machine, 5, dies_after)}, QUICK)
    assert isinstance(found["b"], CrashError)
    alone = measure({"a": Fake(Machine(0), 5)}, QUICK)
    assert len(_series(found["a"]).blocks) == len(_series(alone["a"]).blocks)


def test_all_dead() -> None:
    found = measure({"a": Fake(Machine(0), 5, 0)}, QUICK)
    assert list(found) == ["a"] and isinstance(found["a"], CrashError)


def test_progress_ends_at_one() -> None:
    shares: list[float] = []
    measure({"a": Fake(Machine(0), 5)}, QUICK, shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0
