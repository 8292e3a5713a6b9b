"""What a Linux machine reports of itself in /proc, /sys and /dev; no device is opened.

Everything is read below a root folder, so that a copied or made-up tree can be examined too.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Google's identifiers on the USB and PCI bus. A USB accelerator that was not used since it was
# plugged in appears as 1a6e:089a; libedgetpu loads its firmware, and it reappears as 18d1:9302.
_USB_CORAL = {("1a6e", "089a"): "firmware not loaded yet", ("18d1", "9302"): "ready"}
_PCI_CORAL = ("0x1ac1", "0x089a")
# Libraries through which runtimes reach accelerators.
_LIBRARIES = {
    "libedgetpu.so.1": "Coral Edge TPU",
    "libusb-1.0.so.0": "Coral Edge TPU on USB",
    "libvulkan.so.1": "GPU",
    "libOpenCL.so.1": "GPU",
}
EDGETPU, EDGETPU_VARIABLE = "libedgetpu.so.1", "EDGEZOO_EDGETPU_LIBRARY"
_FOLDERS = ("usr/lib", "usr/local/lib", "lib", "opt/vc/lib")
# CPU features that decide how fast and how exactly int8 runs.
_FEATURES = "avx2 avx512f avx512_vnni avx_vnni amx_int8 neon asimd asimddp i8mm sve"


@dataclass(frozen=True, slots=True)
class Host:
    """A machine and its user: `groups` are those of the user, "root" for the superuser."""

    root: Path
    machine: str
    bits: int
    page_size: int
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Processor:
    """A CPU.

    Attributes:
        cpu: the name that the kernel reports.
        board: name of a single-board computer.
        features: of the CPU, those that decide how fast and how exactly int8 runs.
    """

    cpu: str
    board: str | None
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coral:
    """A Coral Edge TPU.

    Attributes:
        bus: usb or pcie.
        node: the device file; null where it does not exist.
        allowed: whether this user may open it.
    """

    bus: str
    id: str
    state: str
    node: str | None
    allowed: bool


@dataclass(frozen=True, slots=True)
class Library:
    """A delegate library.

    Attributes:
        serves: the device that runtimes reach through it.
    """

    name: str
    path: str
    serves: str


def this_host(root: Path = Path("/")) -> Host:
    """Return this machine, with the files below `root`."""
    rows = [line.split(":") for line in _lines(root / "etc/group") if line.count(":") >= 3]
    names = {row[2]: row[0] for row in rows}
    groups = {names.get(str(number), str(number)) for number in os.getgroups()}
    if os.geteuid() == 0:
        groups.add("root")
    bits = 64 if sys.maxsize > 1 << 32 else 32
    return Host(root, platform.machine(), bits, os.sysconf("SC_PAGE_SIZE"), frozenset(groups))


def processor(host: Host) -> Processor:
    """Return the CPU of a machine."""
    facts: dict[str, str] = {}
    for line in _lines(host.root / "proc/cpuinfo"):
        key, _, value = line.partition(":")
        facts.setdefault(key.strip().lower(), value.strip())
    flags = set((facts.get("flags") or facts.get("features") or "").split())
    board = _text(host.root / "proc/device-tree/model") or None
    features = tuple(name for name in _FEATURES.split() if name in flags)
    return Processor(facts.get("model name") or board or host.machine, board, features)


def corals(host: Host) -> list[Coral]:
    """Return the Coral Edge TPUs on USB and PCIe."""
    return [*_usb_corals(host), *_pci_corals(host)]


def _usb_corals(host: Host) -> Iterator[Coral]:
    for folder in _folders(host.root / "sys/bus/usb/devices"):
        identity = (_text(folder / "idVendor"), _text(folder / "idProduct"))
        if identity in _USB_CORAL:
            numbers = [int(_text(folder / name) or 0) for name in ("busnum", "devnum")]
            node = host.root / "dev/bus/usb" / f"{numbers[0]:03}" / f"{numbers[1]:03}"
            yield _coral(host, "usb", ":".join(identity), _USB_CORAL[identity], node, "plugdev")


def _pci_corals(host: Host) -> Iterator[Coral]:
    devices = _folders(host.root / "sys/bus/pci/devices")
    found = [(_text(folder / "vendor"), _text(folder / "device")) for folder in devices]
    for number in range(found.count(_PCI_CORAL)):
        node = host.root / f"dev/apex_{number}"
        state = "ready" if node.exists() else "no driver"
        yield _coral(host, "pcie", "1ac1:089a", state, node, "apex")


def _coral(host: Host, bus: str, identity: str, state: str, node: Path, group: str) -> Coral:
    there = node.exists()
    everyone = there and node.stat().st_mode & 0o006 == 0o006
    allowed = there and (everyone or bool({group, "root"} & host.groups))
    name = f"/{node.relative_to(host.root)}" if there else None
    return Coral(bus, identity, state, name, allowed)


def named_edgetpu() -> str | None:
    """Return the library that the user names for the Edge TPU in place of the usual one."""
    return os.environ.get(EDGETPU_VARIABLE) or None


def libraries(host: Host) -> list[Library]:
    """Return the delegate libraries in the usual folders."""
    found = []
    named = named_edgetpu()
    if named and ("/" not in named or (host.root / named.lstrip("/")).exists()):
        found.append(Library(EDGETPU, named, _LIBRARIES[EDGETPU]))
    for name, serves in _LIBRARIES.items():
        if named and name == EDGETPU:
            continue
        for folder in _FOLDERS:
            places = sorted((host.root / folder).glob(f"*-linux-*/{name}"))
            places += [path for path in [host.root / folder / name] if path.exists()]
            if places:
                found.append(Library(name, f"/{places[0].relative_to(host.root)}", serves))
                break
    return found


def debian_version(host: Host, *packages: str) -> str | None:
    """Return the version of the first of these Debian packages that is installed."""
    wanted, version = False, None
    for line in _lines(host.root / "var/lib/dpkg/status"):
        key, _, value = line.partition(": ")
        if key == "Package":
            wanted = value in packages
        elif key == "Status" and wanted:
            wanted = value.endswith(" installed")
        elif key == "Version" and wanted:
            version = version or value
    return version


def _folders(place: Path) -> list[Path]:
    return sorted(place.iterdir()) if place.is_dir() else []


def _lines(path: Path) -> list[str]:
    return _text(path).splitlines()


def _text(path: Path) -> str:
    return read(path) or ""


def read(path: Path) -> str | None:
    """Return a small system file without surrounding blanks, None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None
