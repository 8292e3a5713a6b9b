"""What speaks against a figure, and the trust stamp that it gets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgezoo.core.errors import EdgeZooError
from edgezoo.measurement import verdicts
from edgezoo.measurement.host import Health
from edgezoo.measurement.protocol import Series
from edgezoo.measurement.statistics import Ratio
from edgezoo.system.machine import usable_cores

_LEVELS = ("good", "caution", "poor")
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
class Remark:
    """Something that speaks against a figure; `level` is "caution" or "poor"."""

    level: str
    text: str


def of_host(before: Health, after: Health, own_cpu_s: float) -> list[Remark]:
    """What happened on the machine while EdgeZoo used `own_cpu_s` CPU seconds of it."""
    found = [*_neighbours(before, after, own_cpu_s), *_clock(before, after), *_heat(before, after)]
    if _difference(before.swapped_pages, after.swapped_pages):
        found.append(Remark("poor", "The machine swapped memory."))
    if after.on_battery:
        found.append(Remark("caution", "The machine runs on its battery."))
    return found


def stamp(found: Iterable[Remark], before: Health, after: Health) -> dict[str, Any]:
    """The trust stamp.

    Returns:
        {"level", "reasons", "host"}: "good" without a remark, else the worst level of all.
    """
    found = list(found)
    level = max((remark.level for remark in found), key=_LEVELS.index, default="good")
    return {
        "level": level,
        "reasons": [remark.text for remark in found],
        "host": {"before": before.to_json(), "after": after.to_json()},
    }


def _neighbours(before: Health, after: Health, own_cpu_s: float) -> Iterable[Remark]:
    """Other programs and other guests of the hypervisor, as shares of one CPU."""
    seconds = max(after.at_s - before.at_s, 1e-9)
    busy = _difference(before.busy_s, after.busy_s)
    if busy is not None:
        share = (busy - own_cpu_s) / seconds
        if share > _BUSY:
            level = "poor" if share > _VERY_BUSY else "caution"
            yield Remark(level, f"Other programs took {100 * share:.0f} % of a CPU.")
    stolen = (_difference(before.stolen_s, after.stolen_s) or 0.0) / seconds
    if stolen > _STOLEN:
        level = "poor" if stolen > _MUCH_STOLEN else "caution"
        yield Remark(level, f"The hypervisor gave {100 * stolen:.0f} % of a CPU to other guests.")


def _clock(before: Health, after: Health) -> Iterable[Remark]:
    others = [name for name in after.governors if name != "performance"]
    if others:
        yield Remark(
            "caution",
            f"The CPU governor is {', '.join(others)}; `performance` keeps the clock steady.",
        )
    if before.frequency_mhz and after.frequency_mhz:
        ratio = after.frequency_mhz / before.frequency_mhz
        if ratio < _SLOWER:
            yield Remark(
                "poor",
                f"The clock fell from {before.frequency_mhz:.0f} to {after.frequency_mhz:.0f} MHz.",
            )


def _heat(before: Health, after: Health) -> Iterable[Remark]:
    bits = after.throttled or 0
    if bits & _THROTTLED_NOW:
        yield Remark("poor", f"The firmware throttles the CPU (bits {bits:#x}).")
    elif bits & _THROTTLED_EVER:
        yield Remark("caution", f"The firmware has throttled the CPU since boot (bits {bits:#x}).")
    hottest = max(before.temperature_c or 0.0, after.temperature_c or 0.0)
    if hottest >= _HOT_C:
        yield Remark("caution", f"The CPU had {hottest:.0f} degrees Celsius.")


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def of_series(series: Series, latency: dict[str, Any], device: str, threads: int) -> list[Remark]:
    """What the runs of one variant say themselves; `latency` is their summary."""
    found = []
    if not series.warm_up_stable:
        found.append(Remark("caution", "The warm-up did not become stable."))
    drifted = abs(latency["drift"])
    if drifted > _DRIFTED:
        level = "poor" if drifted > _DRIFTED_FAR else "caution"
        found.append(
            Remark(
                level,
                f"The median moved by {100 * latency['drift']:+.0f} % between the two halves.",
            )
        )
    if latency["outliers"] > _MANY_OUTLIERS * latency["n"]:
        found.append(
            Remark(
                "caution", f"{latency['outliers']} of {latency['n']} runs lie far from the median."
            )
        )
    if series.capped:
        found.append(Remark("caution", "The time limit ended it before all rounds were done."))
    if device == "cpu":
        found += _cpu_remarks(threads, series)
    return found


def _cpu_remarks(threads: int, series: Series) -> list[Remark]:
    found = []
    if threads > usable_cores():
        found.append(Remark("poor", f"{threads} threads shared {usable_cores()} usable cores."))
    wall = sum(sum(block.wall_ns) for block in series.blocks)
    waited = wall / max(sum(block.cpu_ns for block in series.blocks), 1)
    if threads == 1 and waited > _WAITED:
        level = "poor" if waited > _WAITED_LONG else "caution"
        found.append(
            Remark(level, f"Runs took {waited:.2f} times their CPU time: they had to wait.")
        )
    return found


def of_place(ran_on: dict[str, Any]) -> list[Remark]:
    """What the device that really ran says against its times; `ran_on` is a `RanOn`'s fields."""
    found = []
    device = ran_on["device"]
    if device != "cpu" and ran_on["kind"] == "software":
        name = f" ({ran_on['name']})" if ran_on["name"] else ""
        found.append(Remark("poor", f"A CPU played the {device}{name}: no {device} has its times."))
    if ran_on["fully_accelerated"] is False:
        found.append(Remark("caution", f"The {device} left some operations to the CPU."))
    return found


def of_check(check: Ratio | None, error: EdgeZooError | None = None) -> list[Remark]:
    """What the A/A check says, or that it failed: then nobody knows the noise of this machine."""
    floor = verdicts.noise_floor(check)
    if error is not None:
        return [
            Remark(
                "caution",
                f"The A/A check failed, so a noise floor of {100 * floor:.1f} % is assumed: "
                f"{error.message}",
            )
        ]
    if check is None or floor <= _NOISY:
        return []
    return [Remark("caution", verdicts.self_check_text(check, floor) + ".")]
