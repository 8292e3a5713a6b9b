"""What this machine has, what does not work together, and how to fix it."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgezoo.core import registry
from edgezoo.core.ran_on import Remote
from edgezoo.core.typed_json import JsonObject, optional
from edgezoo.networks.weights import keras_home
from edgezoo.system import hardware, limits, remote
from edgezoo.system.hardware import Coral, Library
from edgezoo.system.machine import Machine, describe_machine

# Packages that the clashes below are about.
_LITE = ("ai-edge-litert", "tflite-runtime", "tensorflow", "tensorflow-cpu")
_PACKAGES = ("numpy", "tf-keras", *_LITE)
# libedgetpu 16.0 as Google built it, against TensorFlow 2.5; others carry tf2.x in their version.
_OLD_EDGETPU = re.compile(r"(1[0-5]\.|16\.0(?!.*tf2))")
_NEW_EDGETPU = "https://github.com/feranick/libedgetpu/releases"
_CORAL_PACKAGES = "https://coral.ai/docs/accelerator/get-started"


@dataclass(frozen=True, slots=True)
class InstalledRuntime:
    """A runtime and what it can open here.

    Attributes:
        version: null where none is installed
    """

    name: str
    version: str | None
    suffixes: tuple[str, ...]
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InstalledExporter:
    """An exporter and what it lacks.

    Attributes:
        missing: packages that are not installed
    """

    name: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not work on this machine, and how to fix it."""

    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class DoctorResult(JsonObject):
    """What a machine has, and what does not work together.

    Attributes:
        coral: Coral Edge TPUs that are plugged in
        libraries: by which runtimes reach other devices than the CPU
        not_limited: what this system lets untrusted files do, though EdgeZoo limits it elsewhere
    """

    machine: Machine
    keras_home: Path
    runtimes: tuple[InstalledRuntime, ...]
    exporters: tuple[InstalledExporter, ...]
    coral: tuple[Coral, ...]
    libraries: tuple[Library, ...]
    not_limited: tuple[str, ...]
    problems: tuple[Problem, ...]
    remote: Remote | None = optional()


def diagnose(on: str | None = None, root: Path | str = "/") -> DoctorResult:
    """Look at this machine or at a device.

    Args:
        on: a device, as ssh://user@host; see `remote.device.call`.
        root: folder that contains /proc, /sys, /dev and so on.
    """
    if on is not None:
        result, place = remote.call(on, diagnose)
        return replace(result, remote=place)
    host = hardware.this_host(Path(root))
    lacking = registry.lacking_for_files()
    runtimes = tuple(
        # A runtime without numpy cannot list its devices.
        InstalledRuntime(r.name, r.version(), r.suffixes, () if lacking else r.devices())
        for r in registry.runtimes().values()
    )
    exporters = tuple(
        InstalledExporter(e.name, tuple(p for p in e.packages if not registry.has_package(p)))
        for e in registry.exporters().values()
    )
    corals, libraries = tuple(hardware.corals(host)), tuple(hardware.libraries(host))
    machine, problems = describe_machine(Path(root)), tuple(_problems(host, corals, runtimes))
    found = (runtimes, exporters, corals, libraries, limits.lacking())
    return DoctorResult(machine, keras_home(), *found, problems)


def _problems(
    host: hardware.Host, corals: Sequence[Coral], runtimes: Sequence[InstalledRuntime]
) -> Iterator[Problem]:
    lacking = registry.lacking_for_files()
    versions = {name: version for name in _PACKAGES if (version := _version(name))}
    if lacking:
        error = registry.needed_error(lacking)
        yield Problem(error.message, f"{error.hint}.")
    yield from package_clashes(versions, _is_arm_32_bit(host))
    yield from python_clashes(host, versions, sys.version_info[:2])
    yield from coral_problems(host, corals, versions)
    if parts := limits.lacking():
        yield Problem(limits.warning(parts), "Open files that may be malicious elsewhere.")
    if not lacking and not any(runtime.devices for runtime in runtimes):
        hint = 'Run: pip install "edgezoo[tflite]"'
        yield Problem("No runtime is installed: no file can be run.", hint)


def _is_arm_32_bit(host: hardware.Host) -> bool:
    return host.bits == 32 and host.machine.startswith(("arm", "aarch64"))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def package_clashes(versions: Mapping[str, str], arm_32_bit: bool = False) -> Iterator[Problem]:
    """Packages that pip installs next to one another and that do not work together."""
    numpy, lite = versions.get("numpy"), versions.get("tflite-runtime")
    if numpy and lite and numbers(numpy) >= (2,) and "ai-edge-litert" not in versions:
        yield Problem(
            f"tflite-runtime {lite} was built for numpy 1, and numpy {numpy} is installed.",
            'Run: pip install "numpy<2"'
            + ("" if arm_32_bit else ", or pip install ai-edge-litert instead."),
        )
    if "tf-keras" in versions and "tensorflow-cpu" in versions:
        yield Problem(
            "tf-keras installs its own tensorflow over tensorflow-cpu.",
            "Run: pip uninstall tf-keras",
        )


def python_clashes(
    host: hardware.Host, versions: Mapping[str, str], python: tuple[int, int]
) -> Iterator[Problem]:
    """Versions of Python without wheels."""
    name = f"Python {python[0]}.{python[1]}"
    lite = versions.keys() & set(_LITE)
    if _is_arm_32_bit(host):
        if python > (3, 11) and not lite:
            yield Problem(
                f"No TFLite runtime supports {name} on 32-bit ARM.",
                "Install the 64-bit Raspberry Pi OS, or use Python 3.9 to 3.11 with "
                '"tflite-runtime==2.14.0" and "numpy<2".',
            )
        elif not lite:
            yield Problem(
                "ai-edge-litert does not support 32-bit ARM.",
                'Run: pip install "tflite-runtime==2.14.0" "numpy<2", or install the 64-bit '
                "Raspberry Pi OS.",
            )
    elif python >= (3, 14):
        yield Problem(
            f"TensorFlow does not support {name}.",
            "Export on Python 3.11 to 3.13; this machine can still run files.",
        )


def coral_problems(
    host: hardware.Host, coral: Sequence[Coral], versions: Mapping[str, str]
) -> Iterator[Problem]:
    """Why a Coral that is plugged in would not be used."""
    have = {library.name for library in hardware.libraries(host)}
    named = hardware.named_edgetpu()
    if named and hardware.EDGETPU not in have:
        yield Problem(
            f"{hardware.EDGETPU_VARIABLE} names {named}, which does not exist.",
            "Set it to the path of libedgetpu.so.1, or unset it.",
        )
    elif coral and "libedgetpu.so.1" not in have:
        yield Problem(
            "A Coral is plugged in, and its library libedgetpu.so.1 is not installed.",
            f"Install libedgetpu1-std: {_CORAL_PACKAGES}, or, for a new runtime, {_NEW_EDGETPU}.",
        )
    for device in coral:
        yield from _one_coral(host, device, have)
    edgetpu = hardware.debian_version(host, "libedgetpu1-std", "libedgetpu1-max")
    lite = versions.get("tflite-runtime")
    newer = "ai-edge-litert" in versions or (lite is not None and numbers(lite) >= (2, 12))
    if edgetpu and newer and _OLD_EDGETPU.match(edgetpu):
        runtime = "ai-edge-litert" if "ai-edge-litert" in versions else f"tflite-runtime {lite}"
        yield Problem(
            f"libedgetpu {edgetpu} was built for TensorFlow 2.5 and crashes with {runtime}.",
            f"Install a newer libedgetpu from {_NEW_EDGETPU}, or tflite-runtime below 2.12.",
        )


def _one_coral(host: hardware.Host, device: Coral, have: set[str]) -> Iterator[Problem]:
    name = f"The Coral on {device.bus.upper().replace('PCIE', 'PCIe')} ({device.id})"
    if device.bus == "usb" and "libusb-1.0.so.0" not in have:
        yield Problem(f"{name} needs libusb-1.0.", "Run: apt-get install libusb-1.0-0")
    if device.state == "no driver":
        yield Problem(
            f"{name} has no driver: /dev/apex_0 does not exist.",
            f"Install gasket-dkms and load gasket and apex: {_CORAL_PACKAGES}.",
        )
    elif device.node is None:
        yield Problem(
            f"{name} has no file in /dev/bus/usb.",
            "In a container, pass it in: docker run --device /dev/bus/usb.",
        )
    elif not device.allowed:
        group = "plugdev" if device.bus == "usb" else "apex"
        yield Problem(
            f"{name} cannot be opened: this user is not in the group {group}.",
            f'Run: sudo usermod -aG {group} "$USER", then log in again.',
        )
    if device.bus == "pcie" and host.page_size != 4096:
        yield Problem(
            f"{name} needs memory pages of 4 KiB; this kernel has {host.page_size // 1024} KiB.",
            "On a Raspberry Pi 5, write kernel=kernel8.img into /boot/firmware/config.txt.",
        )


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2.14.0.post1 becomes (2, 14, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])
