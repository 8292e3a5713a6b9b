"""Made-up /proc, /sys and /dev: what doctor finds there and how to fix it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgezoo.inspection.diagnosis import (
    coral_problems,
    diagnose,
    numbers,
    package_clashes,
    python_clashes,
)
from edgezoo.system import hardware
from edgezoo.system.hardware import Coral, Host, Library, Processor

Tree = dict[str, str]
USB = {
    "sys/bus/usb/devices/2-1/idVendor": "18d1\n",
    "sys/bus/usb/devices/2-1/idProduct": "9302\n",
    "sys/bus/usb/devices/2-1/busnum": "2\n",
    "sys/bus/usb/devices/2-1/devnum": "3\n",
    "dev/bus/usb/002/003": "",
}
PCI = {
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x1ac1\n",
    "sys/bus/pci/devices/0000:01:00.0/device": "0x089a\n",
    "dev/apex_0": "",
}
LIBRARIES = {
    "usr/lib/aarch64-linux-gnu/libedgetpu.so.1": "",
    "usr/lib/aarch64-linux-gnu/libusb-1.0.so.0": "",
}
GOOGLES = """Package: libedgetpu1-std
Status: install ok installed
Architecture: arm64
Version: 16.0

Package: other
Status: install ok installed
Version: 1
"""


def _host(folder: Path, tree: Tree, **changes: object) -> Host:
    for name, text in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o660)
    plain = Host(folder, "aarch64", 64, 4096, frozenset({"pi", "plugdev", "apex"}))
    return replace(plain, **changes)  # type: ignore[arg-type]


def _problems(host: Host, **versions: str) -> list[str]:
    named = {name.replace("_", "-"): version for name, version in versions.items()}
    return [f"{p.what} {p.fix}" for p in coral_problems(host, hardware.corals(host), named)]


def test_coral_on_usb(tmp_path: Path) -> None:
    host = _host(tmp_path, USB | LIBRARIES)
    assert hardware.corals(host) == [
        Coral("usb", "18d1:9302", "ready", "/dev/bus/usb/002/003", allowed=True)
    ]
    assert _problems(host) == []


def test_coral_before_its_firmware(tmp_path: Path) -> None:
    tree = USB | {"sys/bus/usb/devices/2-1/idVendor": "1a6e", "sys/bus/usb/devices/2-1/idProduct":
                  "089a", "sys/bus/usb/devices/usb1/idVendor": "1d6b"}  # fmt: skip
    (coral,) = hardware.corals(_host(tmp_path, tree))
    assert (coral.id, coral.state) == ("1a6e:089a", "firmware not loaded yet")


def test_coral_on_pcie(tmp_path: Path) -> None:
    host = _host(tmp_path, PCI | LIBRARIES)
    assert hardware.corals(host) == [
        Coral("pcie", "1ac1:089a", "ready", "/dev/apex_0", allowed=True)
    ]
    assert _problems(host) == []


@pytest.mark.parametrize(
    ("tree", "changes", "said"),
    [
        (USB, {}, ["libedgetpu.so.1", "libusb-1.0-0"]),
        (USB | LIBRARIES, {"groups": frozenset({"pi"})}, ["usermod -aG plugdev"]),
        (USB | LIBRARIES, {"groups": frozenset({"root"})}, []),
        (
            {k: v for k, v in (USB | LIBRARIES).items() if "dev/bus" not in k},
            {"groups": frozenset({"root"})},
            ["--device /dev/bus/usb"],
        ),
        (PCI | LIBRARIES, {"groups": frozenset({"pi"})}, ["usermod -aG apex"]),
        (PCI | LIBRARIES, {"page_size": 16384}, ["kernel=kernel8.img"]),
        (USB | LIBRARIES, {"page_size": 16384}, []),
        ({k: v for k, v in (PCI | LIBRARIES).items() if "apex" not in k}, {}, ["gasket-dkms"]),
        ({}, {}, []),
    ],
)
def test_coral_problems(
    tree: Tree, changes: dict[str, object], said: list[str], tmp_path: Path
) -> None:
    found = _problems(_host(tmp_path, tree, **changes))
    assert len(found) == len(said), found
    assert all(word in text for word, text in zip(said, found, strict=True))


def test_a_library_that_the_user_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"opt/own/libedgetpu.so.1": ""}
    others = {name: text for name, text in LIBRARIES.items() if "edgetpu" not in name}
    host = _host(tmp_path, USB | others | own)
    monkeypatch.setenv(hardware.EDGETPU_VARIABLE, "/opt/own/libedgetpu.so.1")
    assert _problems(host) == []
    assert hardware.libraries(host)[0].path == "/opt/own/libedgetpu.so.1"
    monkeypatch.setenv(hardware.EDGETPU_VARIABLE, "/opt/other/libedgetpu.so.1")
    (problem,) = _problems(_host(tmp_path, {}))
    assert "names /opt/other/libedgetpu.so.1, which does not exist" in problem


@pytest.mark.parametrize(
    ("edgetpu", "versions", "clash"),
    [
        ("16.0", {"tflite_runtime": "2.14.0"}, True),
        ("15.0", {"tflite_runtime": "2.12.0"}, True),
        ("16.0", {"ai_edge_litert": "2.3.0"}, True),
        ("16.0", {"tflite_runtime": "2.5.0.post1"}, False),
        ("16.0", {"tflite_runtime": "2.11.0"}, False),
        ("16.0", {}, False),
        ("16.0tf2.17.1-1.bookworm", {"tflite_runtime": "2.14.0"}, False),
    ],
)
def test_edgetpu_of_another_time(
    edgetpu: str, versions: dict[str, str], clash: bool, tmp_path: Path
) -> None:
    status = GOOGLES.replace("16.0", edgetpu)
    host = _host(tmp_path, LIBRARIES | {"var/lib/dpkg/status": status})
    found = _problems(host, **versions)
    assert len(found) == clash, found
    assert all(edgetpu in text and "below 2.12" in text for text in found)


def test_removed_package_does_not_count(tmp_path: Path) -> None:
    status = GOOGLES.replace("ok installed\nArch", "ok config-files\nArch")
    host = _host(tmp_path, {"var/lib/dpkg/status": status})
    assert hardware.debian_version(host, "libedgetpu1-std", "libedgetpu1-max") is None
    assert hardware.debian_version(host, "other") == "1"


def test_processor_and_libraries(tmp_path: Path) -> None:
    tree = {
        "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0b\n\n"
                        "Model\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        "usr/lib/libvulkan.so.1": "",
        "usr/lib/browser/libOpenCL.so.1": "",
    }  # fmt: skip
    host = _host(tmp_path, tree)
    name = "Raspberry Pi 5 Model B Rev 1.0"
    assert hardware.processor(host) == Processor(name, name, ("asimd", "asimddp"))
    assert hardware.libraries(host) == [Library("libvulkan.so.1", "/usr/lib/libvulkan.so.1", "GPU")]


def test_doctor_of_a_tree(tmp_path: Path) -> None:
    _host(tmp_path, USB | LIBRARIES)
    result = diagnose(root=tmp_path)
    assert result.machine.board is None and result.machine.features == ()
    assert [coral.bus for coral in result.coral] == ["usb"]
    assert {entry.name for entry in result.libraries} == {"libedgetpu.so.1", "libusb-1.0.so.0"}


@pytest.mark.parametrize(
    ("versions", "word"),
    [
        ({"numpy": "2.4.6", "tflite-runtime": "2.14.0"}, '"numpy<2"'),
        ({"numpy": "1.26.4", "tflite-runtime": "2.14.0"}, None),
        ({"numpy": "2.4.6", "tflite-runtime": "2.14.0", "ai-edge-litert": "2.3.0"}, None),
        ({"tf-keras": "2.20.0", "tensorflow-cpu": "2.21.0"}, "uninstall tf-keras"),
        ({}, None),
    ],
)
def test_package_clashes(versions: dict[str, str], word: str | None) -> None:
    found = list(package_clashes(versions))
    assert [word in problem.fix for problem in found if word] == ([True] if word else [])
    assert len(found) == (word is not None)
    assert "ai-edge-litert instead" not in "".join(p.fix for p in package_clashes(versions, True))


@pytest.mark.parametrize(
    ("machine", "bits", "python", "versions", "word"),
    [
        ("armv7l", 32, (3, 13), {}, "64-bit Raspberry Pi OS"),
        ("armv7l", 32, (3, 11), {}, '"tflite-runtime==2.14.0" "numpy<2"'),
        ("aarch64", 32, (3, 11), {}, '"tflite-runtime==2.14.0" "numpy<2"'),
        ("armv7l", 32, (3, 11), {"tflite-runtime": "2.14.0"}, None),
        ("aarch64", 64, (3, 13), {}, None),
        ("x86_64", 64, (3, 14), {}, "3.11 to 3.13"),
        ("x86_64", 64, (3, 13), {}, None),
    ],
)
def test_python_without_wheels(
    machine: str, bits: int, python: tuple[int, int], versions: dict[str, str], word: str | None
) -> None:
    host = Host(Path("/"), machine, bits, 4096, frozenset())
    found = list(python_clashes(host, versions, python))
    assert len(found) == (word is not None)
    assert all(word in problem.fix for problem in found if word)


@pytest.mark.parametrize(
    ("version", "parts"),
    [("2.14.0", (2, 14, 0)), ("2.5.0.post1", (2, 5, 0)), ("16.0+x.9", (16, 0))],
)
def test_numbers_of_a_version(version: str, parts: tuple[int, ...]) -> None:
    assert numbers(version) == parts
