"""Devices that tests run on: an emulated Raspberry Pi, and a machine behind a real sshd."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, SUPPORT, Ended, environment, made_once
from tests.support import needs
from tests.support.processes import PATIENCE, until

SCRIPT = ROOT / "docs" / "examples" / "raspberry_pi.py"


@dataclass(frozen=True)
class Pi:
    """An emulated Raspberry Pi's Python."""

    python: Path

    def run(self, *arguments: str | Path, timeout: float = 4 * PATIENCE, **env: str) -> Ended:
        ended = subprocess.run(
            [str(self.python), *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment(**env),
            timeout=timeout,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def edgezoo(self, *arguments: str | Path) -> Ended:
        """A command of this checkout, on the device."""
        return self.run("-m", "edgezoo", *arguments)


def make_pi(common: Path, *boards: str) -> dict[str, Pi]:
    """Boards of docs/examples/raspberry_pi.py, made once a run; takes half a minute."""
    needs.require("mmdebstrap", "qemu-aarch64-static", "qemu-arm-static")
    chosen = [word for board in boards for word in ("--board", board)]

    base = Path(os.environ.get("EDGEZOO_TEST_CACHE") or common)
    place = base / "raspberry-pi"  # for good: the interpreters hold their own path

    def make(folder: Path) -> None:
        subprocess.run(
            [sys.executable, str(SCRIPT), str(place), *chosen],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            timeout=4 * PATIENCE,
        )  # fmt: skip

    made_once(base / "-".join(boards), make)
    return {board: Pi(place / "bin" / board) for board in boards}


@dataclass(frozen=True)
class Machine:
    """A machine behind sshd on the loopback device, and the client's side of it."""

    folder: Path
    port: int
    pid: int

    @property
    def store(self) -> Path:
        """What EdgeZoo keeps there."""
        return self.folder / "cache" / "edgezoo" / "remote"

    def url(self, python: str | Path = sys.executable) -> str:
        return f"ssh://{_user()}@127.0.0.1:{self.port}{python}"

    @property
    def path(self) -> str:
        """PATH with a client that knows this machine's key and has one of its own.

        OpenSSH takes its configuration from the home folder of the user database, whatever HOME
        says: so a program named ssh stands before the real one and names another file.
        """
        return f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def configure(self, key: str = "key", known: str = "known") -> None:
        """Which key the client uses, and which file of host keys."""
        (self.folder / "client").write_text(
            f"IdentityFile {self.folder / key}\nIdentitiesOnly yes\n"
            f"UserKnownHostsFile {self.folder / known}\nGlobalKnownHostsFile none\n"
        )


def _user() -> str:
    import getpass

    return getpass.getuser()


@contextlib.contextmanager
def ssh_machine(folder: Path) -> Iterator[Machine]:
    """Start an sshd of this user's, with keys made for it; stop it at the end."""
    needs.require("sshd", "ssh", "ssh-keygen")
    folder.mkdir()
    for name in ("host", "key", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)],
                       check=True)  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key}\n")
    (folder / "none").write_text("")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'key.pub'}\nPidFile {folder / 'pid'}\nUsePAM no\n"
        f"StrictModes no\nSetEnv XDG_CACHE_HOME={folder / 'cache'} PYTHONPATH={SUPPORT / 'site'}\n"
        "PermitRootLogin yes\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd of root insists on it
    (folder / "bin").mkdir()
    client = folder / "bin" / "ssh"
    client.write_text(f'#!/bin/sh\nexec {needs.find("ssh")} -F {folder / "client"} "$@"\n')
    client.chmod(0o755)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [str(needs.find("sshd")), "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log
        )
        try:
            _wait_for_port(port, server)
            machine = Machine(folder, port, server.pid)
            machine.configure()
            yield machine
        finally:
            server.terminate()
            server.wait()


def _wait_for_port(port: int, server: subprocess.Popen[bytes]) -> None:
    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return server.poll() is not None

    if not until(listens) or server.poll() is not None:
        pytest.fail("sshd did not start", pytrace=False)
