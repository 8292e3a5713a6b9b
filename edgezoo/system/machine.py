"""A machine: CPU, usable cores, memory, and an identifier.

`root` is where /proc, /sys and /etc are read, so that other machines can be described from a copy
of their files.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import platform
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from edgezoo.core.paths import PACKAGE
from edgezoo.core.releases import own_version
from edgezoo.core.typed_json import optional
from edgezoo.system import hardware
from edgezoo.system.hardware import read

ROOT = Path("/")
# CPU features that multiply and add four pairs of 8 bits in one instruction.
INT8_DOT = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that runs files.

    Attributes:
        features: of the CPU, those that decide how int8 runs.
        cores: CPUs that this process may run on.
        board: name of a single-board computer.
    """

    cpu: str
    architecture: str
    features: tuple[str, ...]
    cores: int
    memory_gb: float | None
    system: str
    python: str
    board: str | None = None
    bits: int | None = None
    page_size: int | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a figure was measured.

    Attributes:
        machine_id: a hash that distinguishes machines and identifies none.
        usable_cores: physical, within affinity and cgroup quota.
        edgezoo: version.
        commit: of a checkout; null for an installed package.
        name: that the user gave the machine.
    """

    machine_id: str
    machine: Machine
    usable_cores: int
    libc: str | None
    edgezoo: str
    commit: str | None
    name: str | None = optional()


def describe_machine(root: Path = ROOT) -> Machine:
    """Return the CPU and its features, cores, memory, system and Python."""
    host = hardware.this_host(root)
    chip = hardware.processor(host)
    cores, memory, python = len(affinity()), _memory_gb(), platform.python_version()
    system = f"{platform.system()} {platform.release()}"
    made = Machine(chip.cpu, host.machine, chip.features, cores, memory, system, python)
    return replace(made, board=chip.board, bits=host.bits, page_size=host.page_size)


def environment(root: Path = ROOT) -> Environment:
    """Return what must be known of a machine next to a figure that was measured on it."""
    libc = " ".join(platform.libc_ver()).strip() or None
    machine, cores = describe_machine(root), usable_cores(root)
    return Environment(machine_id(root), machine, cores, libc, own_version(), commit())


def emulator() -> str | None:
    """Return the program that emulates this process's CPU, such as qemu-aarch64-static.

    QEMU's user mode shows a program itself as /proc/self/exe, but leaves the thread's link alone.
    """
    with contextlib.suppress(OSError):
        name = Path(os.readlink("/proc/thread-self/exe")).name
        return name if name.startswith("qemu-") else None
    return None


def affinity() -> list[int]:
    """Return the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def physical_cores(root: Path = ROOT) -> list[int]:
    """Return one CPU of each physical core that this process may run on."""
    cores: dict[object, int] = {}
    for cpu in affinity():
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        core, package = read(folder / "core_id"), read(folder / "physical_package_id")
        cores.setdefault(cpu if core is None else (package, core), cpu)
    return list(cores.values())


def usable_cores(root: Path = ROOT) -> int:
    """Return the number of physical cores within affinity and cgroup quota; at least one."""
    quota = _quota(root)
    cores = len(physical_cores(root))
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota(root: Path) -> float | None:
    """Return the CPUs that the control group allows (cgroup v2, then v1); None without a limit."""
    group = (read(root / "proc/self/cgroup") or "").rpartition("::")[2].splitlines()
    top = root / "sys/fs/cgroup"
    own = [group[0], *map(str, Path(group[0]).parents)] if group else []
    limits = []
    for folder in (top, *(top / part.lstrip("/") for part in own)):
        words = (read(folder / "cpu.max") or "max").split()
        if len(words) == 2 and words[0] != "max":
            limits.append(int(words[0]) / int(words[1]))
    old = top / "cpu"
    quota, period = read(old / "cpu.cfs_quota_us"), read(old / "cpu.cfs_period_us")
    if quota and period and int(quota) > 0:
        limits.append(int(quota) / int(period))
    return min(limits, default=None)


def machine_id(root: Path = ROOT) -> str:
    """Return an anonymous identifier of this machine.

    machine-id(5) requires that its value is hashed before it is shown.
    """
    machine = describe_machine(root)
    own = read(root / "etc/machine-id") or read(root / "var/lib/dbus/machine-id") or ""
    words = f"edgezoo:{own}:{machine.cpu}:{machine.architecture}:{machine.memory_gb}"
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def commit() -> str | None:
    """Return the commit of the checkout that EdgeZoo runs from; None for an installed package."""
    tree = PACKAGE.resolve().parent
    if not (tree / ".git").exists():
        return None
    command = ["git", "-C", str(tree), "rev-parse", "HEAD"]
    try:
        found = subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.strip()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None
