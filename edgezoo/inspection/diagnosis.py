"""What this machine has, what clashes, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgezoo.core import registry, typed_json
from edgezoo.networks.weights import keras_home
from edgezoo.system import hardware, remote
from edgezoo.system.machine import describe_machine

# What the clashes below are about.
_PACKAGES = (
    "numpy",
    "tflite-runtime",
    "ai-edge-litert",
    "tensorflow",
    "tensorflow-cpu",
    "tf-keras",
)
# libedgetpu 16.0 as Google built it, against TensorFlow 2.5; others carry tf2.x in their version.
_OLD_EDGETPU = re.compile(r"(1[0-5]\.|16\.0(?!.*tf2))")
_NEW_EDGETPU = "https://github.com/feranick/libedgetpu/releases"
_CORAL_PACKAGES = "https://coral.ai/docs/accelerator/get-started"


def diagnose(on: str | None = None, root: Path | str = "/") -> dict[str, Any]:
    """Everything that `edgezoo doctor --json` prints.

    Args:
        on: a device to look at, as ssh://user@host; see `remote.device.call`.
        root: where /proc, /sys, /dev and so on are looked for.

    Returns:
        {"machine", "keras_home", "runtimes", "exporters", "coral", "libraries",
        "problems": [{"what", "mend"}]}.
    """
    if on is not None:
        return remote.call(on, "edgezoo.inspection.diagnosis:diagnose")
    host = hardware.this_host(Path(root))
    lacking = registry.lacking_for_files()
    runtimes = [
        {
            "name": runtime.name,
            "version": runtime.version(),
            "suffixes": list(runtime.suffixes),
            # A runtime without numpy cannot be asked.
            "devices": [] if lacking else list(runtime.devices()),
        }
        for runtime in registry.runtimes().values()
    ]
    exporters = [
        {
            "name": exporter.name,
            "missing": [p for p in exporter.packages if not registry.has_package(p)],
        }
        for exporter in registry.exporters().values()
    ]
    coral = hardware.corals(host)
    versions = {name: version for name in _PACKAGES if (version := _version(name))}
    found = [
        *(
            (error.message, f"{error.hint}.")
            for error in [registry.needed_error(lacking)]
            if lacking
        ),
        *package_clashes(versions, host.bits == 32 and host.machine.startswith(("arm", "aarch64"))),
        *python_clashes(host, versions, sys.version_info[:2]),
        *coral_problems(host, coral, versions),
    ]
    if not lacking and not any(runtime["devices"] for runtime in runtimes):
        found.append(
            ("No runtime is installed: no file can be run.", 'Run: pip install "edgezoo[tflite]"')
        )
    return {
        "machine": typed_json.encode(describe_machine(Path(root))),
        "keras_home": str(keras_home()),
        "runtimes": runtimes,
        "exporters": exporters,
        "coral": typed_json.encode(coral),
        "libraries": typed_json.encode(hardware.libraries(host)),
        "problems": [{"what": what, "mend": mend} for what, mend in found],
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


# What costs users days: (what is wrong, how to mend it)

Problem = tuple[str, str]


def package_clashes(versions: Mapping[str, str], arm_32_bit: bool = False) -> Iterator[Problem]:
    """Packages that pip lays side by side and that do not work together."""
    numpy, lite = versions.get("numpy"), versions.get("tflite-runtime")
    if numpy and lite and numbers(numpy) >= (2,) and "ai-edge-litert" not in versions:
        yield (
            f"tflite-runtime {lite} was built for numpy 1 and numpy {numpy} is here.",
            'Run: pip install "numpy<2"'
            + ("" if arm_32_bit else ", or pip install ai-edge-litert instead."),
        )
    if "tf-keras" in versions and "tensorflow-cpu" in versions:
        yield (
            "tf-keras lays its own tensorflow over tensorflow-cpu.",
            "Run: pip uninstall tf-keras",
        )


def python_clashes(
    host: hardware.Host, versions: Mapping[str, str], python: tuple[int, int]
) -> Iterator[Problem]:
    """Pythons for which there are no wheels."""
    words = f"Python {python[0]}.{python[1]}"
    lite = {"ai-edge-litert", "tflite-runtime", "tensorflow", "tensorflow-cpu"} & versions.keys()
    if host.machine.startswith(("arm", "aarch64")) and host.bits == 32:
        if python > (3, 11) and not lite:
            yield (
                f"There is no TFLite runtime for {words} on 32-bit ARM.",
                "Install the 64-bit Raspberry Pi OS, or use Python 3.9 to 3.11 with "
                '"tflite-runtime==2.14.0" and "numpy<2".',
            )
        elif not lite:
            yield (
                "On 32-bit ARM there is no ai-edge-litert.",
                'Run: pip install "tflite-runtime==2.14.0" "numpy<2", or install the 64-bit '
                "Raspberry Pi OS.",
            )
    elif python >= (3, 14):
        yield (
            f"There is no TensorFlow for {words}.",
            "Export on Python 3.11 to 3.13; this machine can still run files.",
        )


def coral_problems(
    host: hardware.Host, coral: list[hardware.Coral], versions: Mapping[str, str]
) -> Iterator[Problem]:
    """Why a Coral that is plugged in would not be used."""
    have = {library.name for library in hardware.libraries(host)}
    named = hardware.named_edgetpu()
    if named and hardware.EDGETPU not in have:
        yield (
            f"{hardware.EDGETPU_VARIABLE} names {named}, which is not there.",
            "Name libedgetpu.so.1 with it, or unset it.",
        )
    elif coral and "libedgetpu.so.1" not in have:
        yield (
            "A Coral is here, and its library libedgetpu.so.1 is not.",
            f"Install libedgetpu1-std: {_CORAL_PACKAGES}, or, for a new runtime, {_NEW_EDGETPU}.",
        )
    for device in coral:
        yield from _one_coral(host, device, have)
    edgetpu = hardware.debian_version(host, "libedgetpu1-std", "libedgetpu1-max")
    lite = versions.get("tflite-runtime")
    newer = "ai-edge-litert" in versions or (lite is not None and numbers(lite) >= (2, 12))
    if edgetpu and newer and _OLD_EDGETPU.match(edgetpu):
        runtime = "ai-edge-litert" if "ai-edge-litert" in versions else f"tflite-runtime {lite}"
        yield (
            f"libedgetpu {edgetpu} was built for TensorFlow 2.5 and crashes with {runtime}.",
            f"Install a newer libedgetpu from {_NEW_EDGETPU}, or tflite-runtime below 2.12.",
        )


def _one_coral(host: hardware.Host, device: hardware.Coral, have: set[str]) -> Iterator[Problem]:
    name = f"The Coral on {device.bus.upper().replace('PCIE', 'PCIe')} ({device.id})"
    if device.bus == "usb" and "libusb-1.0.so.0" not in have:
        yield f"{name} needs libusb-1.0.", "Run: apt-get install libusb-1.0-0"
    if device.state == "no driver":
        yield (
            f"{name} has no driver: /dev/apex_0 is not there.",
            f"Install gasket-dkms and load gasket and apex: {_CORAL_PACKAGES}.",
        )
    elif device.node is None:
        yield (
            f"{name} has no file in /dev/bus/usb.",
            "In a container, pass it in: docker run --device /dev/bus/usb.",
        )
    elif not device.allowed:
        group = "plugdev" if device.bus == "usb" else "apex"
        yield (
            f"{name} may not be opened by this user, who is not in the group {group}.",
            f'Run: sudo usermod -aG {group} "$USER", then log in again.',
        )
    if device.bus == "pcie" and host.page_size != 4096:
        yield (
            f"{name} needs memory pages of 4 KiB; this kernel has {host.page_size // 1024} KiB.",
            "On a Raspberry Pi 5, write kernel=kernel8.img into /boot/firmware/config.txt.",
        )


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2.14.0.post1 becomes (2, 14, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])
