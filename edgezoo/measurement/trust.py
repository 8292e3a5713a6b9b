"""Trust in a figure: what may have disturbed its measurement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from edgezoo.core.errors import EdgeZooError
from edgezoo.core.ran_on import RanOn
from edgezoo.measurement import verdicts
from edgezoo.measurement.host import Health, HostState
from edgezoo.measurement.protocol import Series
from edgezoo.measurement.statistics import LatencyStatistics, Ratio
from edgezoo.system.machine import usable_cores

Level = Literal["good", "caution", "poor"]
# Shares of one CPU.
_BUSY, _VERY_BUSY = 0.05, 0.25
_STOLEN, _MUCH_STOLEN = 0.01, 0.05
_SLOWER = 0.9
_HOT_C = 80.0
# Bits 0 to 3 are now, 16 to 19 since boot.
_THROTTLED_NOW, _THROTTLED_EVER = 0xF, 0xF0000
_DRIFTED, _DRIFTED_FAR = 0.05, 0.15
_WAITED, _WAITED_LONG = 1.05, 1.2
_MANY_OUTLIERS = 0.1
_NOISY = 0.05


@dataclass(frozen=True, slots=True)
class HostStates:
    """The machine before and after the measurement."""

    before: HostState | None = None
    after: HostState | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """How far a latency can be trusted.

    Attributes:
        reasons: what speaks against the figure
        host: null for an estimate
    """

    level: Level
    reasons: tuple[str, ...]
    host: HostStates | None = None


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that speaks against a figure."""

    level: Level
    text: str


def of_host(before: Health, after: Health, own_cpu_s: float) -> list[Remark]:
    """Return what disturbed the machine while EdgeZoo used `own_cpu_s` CPU seconds of it."""
    found = [*_neighbours(before, after, own_cpu_s), *_clock(before, after), *_heat(before, after)]
    if _difference(before.swapped_pages, after.swapped_pages):
        found.append(Remark("poor", "The machine swapped memory."))
    if after.on_battery:
        found.append(Remark("caution", "The machine runs on its battery."))
    return found


def stamp(found: Iterable[Remark], before: Health, after: Health) -> Trust:
    """Return the trust: "good" without a remark, else the worst level of all."""
    found = list(found)
    levels: list[Level] = ["good", *(remark.level for remark in found)]
    level = max(levels, key=get_args(Level).index)
    states = HostStates(before.kept(), after.kept())
    return Trust(level, tuple(remark.text for remark in found), states)


def _neighbours(before: Health, after: Health, own_cpu_s: float) -> Iterator[Remark]:
    """Yield remarks on other programs and other guests of the hypervisor."""
    seconds = max(after.at_s - before.at_s, 1e-9)
    busy = _difference(before.busy_s, after.busy_s)
    if busy is not None and (share := (busy - own_cpu_s) / seconds) > _BUSY:
        yield _worse(share > _VERY_BUSY, f"Other programs took {100 * share:.0f} % of a CPU.")
    stolen = (_difference(before.stolen_s, after.stolen_s) or 0.0) / seconds
    if stolen > _STOLEN:
        text = f"The hypervisor gave {100 * stolen:.0f} % of a CPU to other guests."
        yield _worse(stolen > _MUCH_STOLEN, text)


def _worse(poor: bool, text: str) -> Remark:
    return Remark("poor" if poor else "caution", text)


def _clock(before: Health, after: Health) -> Iterator[Remark]:
    others = [name for name in after.governors if name != "performance"]
    if others:
        text = f"The CPU governor is {', '.join(others)}; `performance` keeps the clock steady."
        yield Remark("caution", text)
    first, last = before.frequency_mhz, after.frequency_mhz
    if first and last and last / first < _SLOWER:
        yield Remark("poor", f"The clock fell from {first:.0f} to {last:.0f} MHz.")


def _heat(before: Health, after: Health) -> Iterator[Remark]:
    bits = int(after.throttled or "0", 16)
    if bits & _THROTTLED_NOW:
        yield Remark("poor", f"The firmware throttles the CPU (bits {bits:#x}).")
    elif bits & _THROTTLED_EVER:
        yield Remark("caution", f"The firmware has throttled the CPU since boot (bits {bits:#x}).")
    hottest = max(before.temperature_c or 0.0, after.temperature_c or 0.0)
    if hottest >= _HOT_C:
        yield Remark("caution", f"The CPU had {hottest:.0f} degrees Celsius.")


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def of_series(
    series: Series, latency: LatencyStatistics, device: str, threads: int
) -> Iterator[Remark]:
    """Yield what the runs of one variant show themselves; `latency` is their summary."""
    if not series.warm_up_stable:
        yield Remark("caution", "The warm-up did not become stable.")
    drifted = abs(latency.drift)
    if drifted > _DRIFTED:
        text = f"The median moved by {100 * latency.drift:+.0f} % between the two halves."
        yield _worse(drifted > _DRIFTED_FAR, text)
    if latency.outliers > _MANY_OUTLIERS * latency.n:
        text = f"{latency.outliers} of {latency.n} runs lie far from the median."
        yield Remark("caution", text)
    if series.capped:
        yield Remark("caution", "The time limit ended it before all rounds were done.")
    if device == "cpu":
        yield from _cpu_remarks(threads, series)


def _cpu_remarks(threads: int, series: Series) -> Iterator[Remark]:
    if threads > usable_cores():
        yield Remark("poor", f"{threads} threads shared {usable_cores()} usable cores.")
    wall = sum(sum(block.wall_ns) for block in series.blocks)
    waited = wall / max(sum(block.cpu_ns for block in series.blocks), 1)
    if threads == 1 and waited > _WAITED:
        text = f"Runs took {waited:.2f} times their CPU time: they had to wait."
        yield _worse(waited > _WAITED_LONG, text)


def of_place(ran_on: RanOn) -> Iterator[Remark]:
    """Yield what the device that really ran says against its times."""
    device = ran_on.device
    if device != "cpu" and ran_on.kind == "software":
        name = f" ({ran_on.name})" if ran_on.name else ""
        yield Remark("poor", f"A CPU emulated the {device}{name}: no {device} has its times.")
    if ran_on.fully_accelerated is False:
        yield Remark("caution", f"The {device} left some operations to the CPU.")


def of_check(check: Ratio | None, error: EdgeZooError | None = None) -> list[Remark]:
    """Return what the A/A check found, or that it failed: the machine's noise is unknown then."""
    floor = verdicts.noise_floor(check)
    if error is not None:
        text = f"The A/A check failed, so a noise floor of {100 * floor:.1f} % is assumed: "
        return [Remark("caution", text + error.message)]
    if check is None or floor <= _NOISY:
        return []
    return [Remark("caution", verdicts.self_check_text(check.estimate, floor) + ".")]
