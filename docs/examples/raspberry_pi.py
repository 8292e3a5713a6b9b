"""Makes a Raspberry Pi's Python that runs on this machine in an emulator.

    python docs/examples/raspberry_pi.py FOLDER [--board pi4] [--board pi5] [--package NAME ...]

FOLDER/bin/pi4 is then a Python of Debian 12 for aarch64 with numpy, Pillow and the runtimes, on the
processor of a Raspberry Pi 4: use it as any other interpreter. qemu runs it as an ordinary process
of this user: no chroot, no mount, no change to the machine. It needs Linux, qemu-user-static and
mmdebstrap.

Results are those of a Pi, computed by the Pi's own kernels. Times are not those of a Pi: never
report them as a latency.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MIRROR = "http://deb.debian.org/debian"
SUITE, PYTHON = "bookworm", "3.11"
DEBIAN = (f"python{PYTHON}-minimal", f"libpython{PYTHON}-stdlib", "libstdc++6", "zlib1g",
          "libexpat1", "libffi8")  # fmt: skip
TOOLS = ("mmdebstrap", "qemu-aarch64-static", "qemu-arm-static")
CORES = 4


@dataclass(frozen=True)
class Architecture:
    """Names of Debian and pip, and the packages."""

    debian: str
    qemu: str
    platforms: tuple[str, ...]
    packages: tuple[str, ...]
    debian_packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Board:
    """/proc and /sys of a board, without which the runtimes see this machine's processor.

    `qemu_cpu` is never "max": with qemu 7.2, XNNPACK then computes wrong results in silence.
    """

    model: str
    architecture: Architecture
    qemu_cpu: str
    midr: int
    features: str


ARM64 = Architecture(
    "arm64",
    "qemu-aarch64-static",
    ("manylinux_2_35_aarch64", "manylinux_2_28_aarch64", "manylinux_2_27_aarch64",
     "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    ("ai-edge-litert", "numpy", "pillow", "click", "flatbuffers", "onnxruntime"),
)  # fmt: skip
# No wheels of numpy, Pillow or ai-edge-litert: Debian's own, and the older runtime.
ARMHF = Architecture(
    "armhf",
    "qemu-arm-static",
    ("manylinux_2_34_armv7l", "manylinux2014_armv7l"),
    ("tflite-runtime", "click"),
    ("python3-numpy", "python3-pil"),
)
_PI4 = "fp asimd evtstrm crc32 cpuid"
BOARDS = {
    "pi4": Board("Raspberry Pi 4 Model B Rev 1.4", ARM64, "cortex-a72", 0x410FD083, _PI4),
    "pi5": Board(
        "Raspberry Pi 5 Model B Rev 1.0", ARM64, "cortex-a76", 0x414FD0B1,
        f"{_PI4} aes pmull sha1 sha2 atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp",
    ),
    "pi2-32bit": Board(
        "Raspberry Pi 2 Model B Rev 1.1", ARMHF, "cortex-a7", 0x410FC075,
        "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm",
    ),
}  # fmt: skip


def run(*command: str | Path) -> None:
    """Run a program; print its output if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{shlex.join(map(str, command))} failed:\n{done.stdout[-3000:]}")


def install(folder: Path, architecture: Architecture, packages: tuple[str, ...]) -> None:
    """Debian's Python into folder/root, wheels into folder/site."""
    include = ",".join((*DEBIAN, *architecture.debian_packages))
    run("mmdebstrap", "--variant=extract", f"--architectures={architecture.debian}",
        f"--include={include}", SUITE, folder / "root", f"deb {MIRROR} {SUITE} main")  # fmt: skip
    for place in (folder / "root" / "usr" / "lib").glob("*/*/lib*.so.3"):
        if place.parent.name in ("blas", "lapack"):  # what update-alternatives would do
            (place.parents[1] / place.name).symlink_to(f"{place.parent.name}/{place.name}")
    platforms = [f"--platform={name}" for name in architecture.platforms]
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile",
        "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}", *platforms,
        "--constraint", ROOT / "constraints.txt", "--target", folder / "site",
        *architecture.packages, *packages)  # fmt: skip


def describe(root: Path, board: Board) -> None:
    """Write the files of the board's kernel: qemu prefers the files below `root`."""
    part, variant, revision = board.midr >> 4 & 0xFFF, board.midr >> 20 & 0xF, board.midr & 0xF
    generation = 8 if board.architecture is ARM64 else 7
    core = (
        f"BogoMIPS\t: 108.00\nFeatures\t: {board.features}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: {generation}\nCPU variant\t: {variant:#x}\n"
        f"CPU part\t: {part:#x}\nCPU revision\t: {revision}\n\n"
    )
    text = "".join(f"processor\t: {i}\n{core}" for i in range(CORES))
    files = {
        "proc/cpuinfo": f"{text}Model\t\t: {board.model}\n",
        "proc/device-tree/model": f"{board.model}\0",
    }
    cpus = "sys/devices/system/cpu"
    for name in ("possible", "present", "online"):
        files[f"{cpus}/{name}"] = f"0-{CORES - 1}\n"
    for i in range(CORES):
        here = f"{cpus}/cpu{i}"
        files[f"{here}/regs/identification/midr_el1"] = f"{board.midr:#018x}\n"
        files[f"{here}/topology/core_id"] = f"{i}\n"
        files[f"{here}/topology/physical_package_id"] = "0\n"
        for name in ("package_cpus", "core_siblings"):
            files[f"{here}/topology/{name}"] = f"{(1 << CORES) - 1:x}\n"
            files[f"{here}/topology/{name}_list"] = f"0-{CORES - 1}\n"
    for name, content in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)


def write_interpreter(place: Path, folder: Path, root: Path, board: Board) -> None:
    """A program that acts as the board's Python, also for its child processes.

    Its argument zero is its own path, so that `sys.executable` leads back to it. Compiled modules
    go to a separate folder: qemu would write them next to this machine's Python. PYTHONHOME is
    a path of this machine, since qemu 7.2 does not redirect the statx of 32-bit programs.
    """
    q = shlex.quote
    places = (folder / "site", root / "usr/lib/python3/dist-packages")
    path = f"${{PYTHONPATH:+$PYTHONPATH:}}{':'.join(q(str(place)) for place in places)}"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(
        "#!/bin/sh\n"
        f"exec {board.architecture.qemu} -cpu {board.qemu_cpu} -0 {q(str(place))} "
        f"-L {q(str(root))} -E PYTHONHOME={q(str(root / 'usr'))} -E PYTHONPATH={path} "
        f"-E PYTHONPYCACHEPREFIX={q(str(folder / 'compiled'))} -E PYTHONNOUSERSITE=1 "
        f'{q(str(root / f"usr/bin/python{PYTHON}"))} "$@"\n'
    )
    place.chmod(0o755)


def make(folder: Path, names: list[str], packages: tuple[str, ...]) -> list[Path]:
    """Make missing interpreters and return all of them."""
    made = []
    for name in names:
        board = BOARDS[name]
        base = folder / board.architecture.debian
        if not base.is_dir():
            part = folder / f"{board.architecture.debian}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            install(part, board.architecture, packages)
            part.rename(base)
        root = folder / name
        if not root.is_dir():
            shutil.copytree(base / "root", root, symlinks=True, copy_function=os.link)
        describe(root, board)
        write_interpreter(folder / "bin" / name, base, root, board)
        made.append(folder / "bin" / name)
    return made


def main() -> None:
    """Read the command line and make the interpreters."""
    parser = argparse.ArgumentParser(description="Make an emulated Raspberry Pi's Python.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--board", action="append", choices=BOARDS, help="default: pi4 and pi5")
    parser.add_argument("--package", action="append", default=[], help="also install this wheel")
    asked = parser.parse_args()
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing:
        sys.exit(
            f"{', '.join(missing)} is missing. Run: apt-get install -y --no-install-recommends "
            "qemu-user-static mmdebstrap"
        )
    for path in make(asked.folder.resolve(), asked.board or ["pi4", "pi5"], tuple(asked.package)):
        print(path)


if __name__ == "__main__":
    main()
