"""A real HTTP server on loopback whose answers go wrong as a test says."""

from __future__ import annotations

import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.support.processes import PATIENCE

HTML = b"<!DOCTYPE html><html><body>Please log in to this network.</body></html>"


@dataclass(frozen=True)
class Fault:
    """How one answer goes wrong.

    Attributes:
        alter: the file as it is served instead.
        cut: close the connection after so many bytes of the body.
        stall: fall silent after so many bytes of the body.
        status: answer with it, and with no file.
        headers: added; None takes one away.
        whole: know nothing of ranges.
        blind: send the range that is asked for, whatever If-Range says.
    """

    alter: Callable[[bytes], bytes] | None = None
    cut: int | None = None
    stall: int | None = None
    status: int | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    whole: bool = False
    blind: bool = False


@dataclass
class FileServer:
    """Files by path, and the faults of the next answers, the last of which may stay for good."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    for_good: Fault | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)

    def fault(self, path: str) -> Fault:
        """That of the next answer."""
        queue = self.faults[path]
        return queue.popleft() if queue else self.for_good or Fault()

    def forget(self) -> None:
        """Be sound from now on."""
        self.faults.clear()
        self.for_good = None
        self.asked.clear()
        self.stalled.clear()
        self.released.clear()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        try:
            self._answer()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _answer(self) -> None:
        site = self.server.site
        path = urlsplit(self.path).path  # a proxy is asked for whole addresses
        asked_range = self.headers.get("Range")
        site.asked.append((self.path, asked_range))
        fault = site.fault(path)
        if fault.status is not None or path not in site.files:
            self._send(fault.status or 404, dict(fault.headers), b"no file", fault)
            return
        data = site.files[path]
        tag = site.tags.get(path)
        headers: dict[str, str | None] = {"ETag": tag} if tag else {}
        if fault.alter:
            data = fault.alter(data)
        found = re.fullmatch(r"bytes=(\d+)-", asked_range or "")
        same = fault.blind or self.headers.get("If-Range") in (None, tag)
        if found and same and not fault.whole:
            start = int(found[1])
            if start >= len(data):
                self._send(416, {"Content-Range": f"bytes */{len(data)}"}, b"", fault)
                return
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._send(206, {**headers, **fault.headers}, data[start:], fault)
        else:
            self._send(200, {**headers, **fault.headers}, data, fault)

    def _send(self, status: int, headers: dict[str, str | None], body: bytes, fault: Fault) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value is not None:
                self.send_header(name, value)
        if "Content-Length" in headers or fault.cut is not None or fault.stall is not None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        stop = min(n for n in (fault.cut, fault.stall, len(body)) if n is not None)
        self.wfile.write(body[:stop])
        self.wfile.flush()
        if fault.stall is not None:
            self.server.site.stalled.set()
            self.server.site.released.wait(PATIENCE)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    site: FileServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that have had enough are no error."""


@contextmanager
def serving() -> Iterator[FileServer]:
    """A server that runs."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.site = FileServer(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.site
        finally:
            server.site.released.set()
            server.shutdown()
            thread.join()
