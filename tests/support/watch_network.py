"""Runs a command in a network in which every packet goes nowhere and is seen.

    unshare --net python watch_network.py SEEN.json COMMAND...

Needs a network namespace of its own, and the right to change it. All addresses are routed to the
loopback device. SEEN.json becomes a list of "protocol address:port", one for each packet that left
a process, with the name that a name server is asked for. Exits as the command does.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

_ALL = socket.htons(3)
_LINK = 14  # bytes of the Ethernet header that loopback frames have
_DNS = 53
_PROTOCOLS = {6: "tcp", 17: "udp"}


def route_everything() -> None:
    for line in ("link set lo up", "route add default dev lo", "-6 route add default dev lo"):
        # Without IPv6 nobody can speak it.
        subprocess.run(["ip", *line.split()], check=not line.startswith("-6"),
                       stderr=subprocess.DEVNULL)  # fmt: skip


def describe(frame: bytes) -> str:
    """Where a packet goes."""
    packet = frame[_LINK:]
    if packet[0] >> 4 == 4:
        protocol, address = packet[9], packet[16:20]
        rest = packet[4 * (packet[0] & 15) :]
    else:
        protocol, address, rest = packet[6], packet[24:40], packet[40:]
    if protocol not in _PROTOCOLS:  # of IPv6 only the kernel's complaint is seen, by ICMP
        return f"protocol {protocol} {ipaddress.ip_address(address)}"
    port = int.from_bytes(rest[2:4], "big")
    where = f"{_PROTOCOLS[protocol]} {ipaddress.ip_address(address)}:{port}"
    return f"{where} {asked(rest[8:])}" if port == _DNS else where


def asked(question: bytes) -> str:
    """The name in a question to a name server (RFC 1035, 4.1)."""
    labels, place = [], 12
    while place < len(question) and question[place]:
        end = place + 1 + question[place]
        labels.append(question[place + 1 : end].decode("ascii", "replace"))
        place = end
    return ".".join(labels)


def main() -> int:
    out, *command = sys.argv[1:]
    route_everything()
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, _ALL)
    tap.bind(("lo", 0))
    tap.settimeout(0.2)
    seen: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        while True:
            try:
                frame, (_, _, kind, *_) = tap.recvfrom(65536)
            except TimeoutError:
                if ended.is_set():
                    return
                continue
            if kind == socket.PACKET_OUTGOING:  # loopback shows each packet twice
                seen.append(describe(frame))

    thread = threading.Thread(target=watch)
    thread.start()
    code = subprocess.run(command, check=False).returncode
    ended.set()
    thread.join()
    Path(out).write_text(json.dumps(seen))
    return code


if __name__ == "__main__":
    sys.exit(main())
