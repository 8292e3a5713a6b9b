"""External programs, libraries and files that tests need, and the Debian packages that bring them.

`python3 tests/support/needs.py` prints the packages of what is missing; `.ci/run` installs them.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil

# What a test asks for, and its Debian package. A name with a slash is a file, lib*.so.* a library.
PACKAGES = {
    "chromium": "chromium",
    "gcc": "gcc",
    "git": "git",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "qemu-aarch64-static": "qemu-user-static",
    "qemu-arm-static": "qemu-user-static",
    "qemu-x86_64-static": "qemu-user-static",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "unshare": "util-linux",
    # A GPU that the CPU computes, and the loader that finds it.
    "/usr/lib/chromium/vk_swiftshader_icd.json": "chromium-common",
    "libvulkan.so.1": "libvulkan1",
    # MediaPipe brings an OpenCV that wants a window system's library.
    "libGL.so.1": "libgl1",
}
# Names of PACKAGES, separated by commas, that count as missing: how a machine without them fares.
WITHOUT = "EDGEZOO_TEST_WITHOUT"
# Daemons and tools of the superuser are not on every user's PATH.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def find(name: str) -> str | None:
    """Return where a program, library or file of `PACKAGES` is, or None if it is missing."""
    if name in os.environ.get(WITHOUT, "").split(","):
        return None
    if "/" in name:
        return name if os.path.exists(name) else None
    if ".so" in name:
        return ctypes.util.find_library(name.removeprefix("lib").partition(".so")[0])
    return shutil.which(name, path=PATH)


def missing(*names: str) -> str | None:
    """Return what is missing of `PACKAGES` with its apt line, or None if all are there."""
    absent = [name for name in names if find(name) is None]
    if not absent:
        return None
    packages = " ".join(sorted({PACKAGES[name] for name in absent}))
    return f"needs {', '.join(absent)}: apt-get install {packages}"


def require(*names: str) -> None:
    """Skip the test if something of `PACKAGES` is missing; on CI, which installs all, fail."""
    if reason := missing(*names):
        give_up(reason)


def give_up(reason: str) -> None:
    """Skip the test for a reason that CI may not have; there, fail."""
    import pytest

    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


if __name__ == "__main__":
    print(*sorted({package for name, package in PACKAGES.items() if find(name) is None}))
