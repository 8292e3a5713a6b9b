"""A server on loopback, and a cache and a network environment of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.file_server import FileServer, serving


@pytest.fixture(scope="module")
def running() -> Iterator[FileServer]:
    with serving() as site:
        yield site


@pytest.fixture
def site(running: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """A sound server without files; whoever asks has no proxy, and no hash is known."""
    running.forget()
    running.files.clear()
    running.tags.clear()
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("EDGEZOO_MIRROR", raising=False)
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path / "cache"))
    return running
