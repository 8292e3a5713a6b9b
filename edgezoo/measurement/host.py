"""The state of the machine: load, clock, heat, swap.

Everything is read from /proc and /sys: a device needs no package for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from edgezoo.core.typed_json import shared
from edgezoo.system.hardware import read
from edgezoo.system.machine import ROOT

_THROTTLED_FILE = "sys/devices/platform/soc/soc:firmware/get_throttled"


@dataclass(frozen=True, slots=True)
class HostState:
    """State of the machine that is kept next to a figure; null where it is unknown.

    Attributes:
        load: average of the last minute
        throttled: bits of a Raspberry Pi's firmware, in hex
            (https://www.raspberrypi.com/documentation/computers/os.html#get_throttled)
    """

    load: float | None
    governors: tuple[str, ...]
    frequency_mhz: float | None
    temperature_c: float | None
    throttled: str | None
    on_battery: bool | None


@dataclass(frozen=True, slots=True)
class Health(HostState):
    """State of the machine at one moment.

    Attributes:
        at_s: monotonic clock.
        busy_s, stolen_s: CPU seconds since boot that all programs used, and that the hypervisor
            gave to other guests.
        swapped_pages: since boot, in and out.
    """

    at_s: float
    busy_s: float | None
    stolen_s: float | None
    swapped_pages: int | None

    def kept(self) -> HostState:
        """Return what is kept next to a figure."""
        return HostState(**shared(self, HostState))


def look(root: Path = ROOT) -> Health:
    """Return the current state of the machine."""
    busy, stolen = _cpu_seconds(root)
    load = read(root / "proc/loadavg")
    return Health(
        float(load.split()[0]) if load else None,
        tuple(sorted(set(_words(root, "sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")))),
        _highest(root, "sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq", 1000),
        _highest(root, "sys/class/thermal/thermal_zone*/temp", 1000),
        _throttled(root),
        _on_battery(root),
        time.monotonic(),
        busy,
        stolen,
        _swapped(root),
    )


def _words(root: Path, pattern: str) -> list[str]:
    return [text for path in sorted(root.glob(pattern)) if (text := read(path))]


def _highest(root: Path, pattern: str, unit: int) -> float | None:
    values = [int(word) / unit for word in _words(root, pattern) if word.lstrip("-").isdigit()]
    return max(values, default=None)


def _cpu_seconds(root: Path) -> tuple[float | None, float | None]:
    """Return busy and stolen seconds of all CPUs: proc(5), the first line of /proc/stat."""
    words = (read(root / "proc/stat") or "").partition("\n")[0].split()
    if len(words) < 9:
        return None, None
    user, nice, system, _, _, irq, softirq, steal = (int(word) for word in words[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / tick, steal / tick


def _swapped(root: Path) -> int | None:
    lines = (read(root / "proc/vmstat") or "").splitlines()
    counts = [int(line.split()[1]) for line in lines if line.startswith(("pswpin ", "pswpout "))]
    return sum(counts) if counts else None


def _throttled(root: Path) -> str | None:
    text = read(root / _THROTTLED_FILE)
    if text is None and root == ROOT and shutil.which("vcgencmd"):
        try:
            found = subprocess.run(
                ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        text = found.stdout.strip().rpartition("=")[2]
    try:
        return hex(int(text, 16)) if text else None
    except ValueError:
        return None


def _on_battery(root: Path) -> bool | None:
    states = _words(root, "sys/class/power_supply/*/status")
    return any(state == "Discharging" for state in states) if states else None
