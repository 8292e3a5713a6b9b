"""Trust: what machines say of themselves, from copies of their files, and what comes of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edgezoo.measurement.host import Health, look
from edgezoo.measurement.protocol import Block, Series
from edgezoo.measurement.statistics import Ratio, summary
from edgezoo.measurement.trust import of_check, of_host, of_series, stamp
from edgezoo.system.machine import describe_machine, environment, usable_cores

QUIET = Health(0.1, ("performance",), 1800.0, 50.0, "0x0", False, 0.0, 100.0, 0.0, 7)
LATER = replace(QUIET, at_s=10.0, busy_s=110.0)


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


PI = {
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\n"
    "Features\t: fp asimd evtstrm aes asimddp\nCPU part\t: 0xd0b\n",
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/stat": "cpu  1000 10 300 90000 50 5 5 40 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n",
    "proc/loadavg": "0.52 0.30 0.20 1/200 999\n",
    "proc/vmstat": "pgpgin 5\npswpin 3\npswpout 4\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
    "sys/class/thermal/thermal_zone0/temp": "61700\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
}


def test_a_raspberry_pi(tmp_path: Path) -> None:
    root = _tree(tmp_path, PI)
    health = look(root)
    tick = os.sysconf("SC_CLK_TCK")
    assert health.busy_s == pytest.approx(1320 / tick) and health.stolen_s == 40 / tick
    assert health.governors == ("ondemand",) and health.frequency_mhz == 2400
    assert health.temperature_c == 61.7 and health.swapped_pages == 7
    assert health.throttled == "0x50005" and health.load == 0.52
    machine = describe_machine(root)
    assert machine.cpu.startswith("Raspberry Pi 5")
    assert machine.features == ("asimd", "asimddp")
    reasons = " ".join(r.text for r in of_host(health, health, 0.0))
    assert "throttles" in reasons and "ondemand" in reasons


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    health = look(tmp_path)
    assert (health.busy_s, health.temperature_c, health.throttled) == (None, None, None)
    assert of_host(health, health, 1.0) == []
    assert stamp([], health, health).level == "good"


def test_this_machine() -> None:
    facts = environment()
    assert facts.usable_cores >= 1 and len(facts.machine_id) == 12
    assert facts == environment()
    health = look()
    assert health.busy_s is not None and health.busy_s > 0


@pytest.mark.parametrize(
    ("limit", "cores"), [("max 100000", 1e9), ("50000 100000", 1), ("150000 100000", 2)]
)
def test_cgroup_quota_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, cores: float
) -> None:
    monkeypatch.setattr("edgezoo.system.machine.affinity", lambda: [0, 1, 2, 3])
    files = {"proc/self/cgroup": "0::/box/inner\n", "sys/fs/cgroup/box/cpu.max": limit}
    assert usable_cores(_tree(tmp_path, files)) == min(4, cores)


def test_threads_of_one_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgezoo.system.machine.affinity", lambda: [0, 1, 2, 3])
    place = "sys/devices/system/cpu/cpu{}/topology/{}"
    files: dict[str, str] = {}
    for cpu in range(4):
        files |= {place.format(cpu, "core_id"): str(cpu % 2)}
        files |= {place.format(cpu, "physical_package_id"): "0"}
    assert usable_cores(_tree(tmp_path, files)) == 2


def test_a_quiet_machine_is_trusted() -> None:
    assert of_host(QUIET, LATER, own_cpu_s=9.9) == []
    facts = stamp([], QUIET, LATER)
    assert facts.level == "good"
    assert facts.host and facts.host.after and facts.host.after.throttled == "0x0"


@pytest.mark.parametrize(
    ("change", "level", "word"),
    [
        ({"busy_s": 111.5}, "caution", "Other programs"),
        ({"busy_s": 119.0}, "poor", "90 %"),
        ({"stolen_s": 0.2}, "caution", "hypervisor"),
        ({"stolen_s": 1.0}, "poor", "hypervisor"),
        ({"governors": ("powersave",)}, "caution", "powersave"),
        ({"frequency_mhz": 900.0}, "poor", "1800 to 900"),
        ({"temperature_c": 84.0}, "caution", "84 degrees"),
        ({"throttled": "0x4"}, "poor", "throttles"),
        ({"throttled": "0x40000"}, "caution", "since boot"),
        ({"swapped_pages": 9}, "poor", "swapped"),
        ({"on_battery": True}, "caution", "battery"),
    ],
)
def test_what_spoils_trust(change: dict[str, object], level: str, word: str) -> None:
    after = replace(LATER, **change)  # type: ignore[arg-type]
    (remark,) = of_host(QUIET, after, own_cpu_s=10.0)
    assert remark.level == level and word in remark.text
    assert stamp([remark], QUIET, after).level == level


def test_the_worst_remark_decides() -> None:
    after = replace(LATER, throttled="0x4", temperature_c=90.0)
    assert stamp(of_host(QUIET, after, 10.0), QUIET, after).level == "poor"


def _series(wall_ms: float = 5.0, cpu_ms: float = 5.0, **changes: object) -> Series:
    count = 10
    block = Block([int(wall_ms * 1e6)] * count, int(cpu_ms * 1e6) * count)
    facts = {"warm_up_runs": 9, "warm_up_stable": True, "capped": False, **changes}
    return Series((block,) * 24, **facts)  # type: ignore[arg-type]


def _reasons(series: Series, threads: int = 1, device: str = "cpu") -> str:
    return " ".join(r.text for r in of_series(series, summary(series.wall_ms), device, threads))


def test_series() -> None:
    assert _reasons(_series()) == ""
    assert "stable" in _reasons(_series(warm_up_stable=False))
    assert "time limit" in _reasons(_series(capped=True))
    assert "2.00 times their CPU time" in _reasons(_series(10.0, 5.0))
    assert _reasons(_series(10.0, 5.0), device="gpu") == "", "a GPU works while the CPU waits"
    assert "1000 threads shared" in _reasons(_series(), threads=1000)
    drifting = _series()
    slower = Block([6_000_000] * 10, 60_000_000)
    drifting = replace(drifting, blocks=(*drifting.blocks[:12], *[slower] * 12))
    assert "+20 %" in _reasons(drifting)


def test_noisy_self_check() -> None:
    assert of_check(None) == [] and of_check(Ratio(1.0, 0.99, 1.01, 12)) == []
    assert "noise floor 9.0 %" in of_check(Ratio(1.02, 0.95, 1.09, 12))[0].text
