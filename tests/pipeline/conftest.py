"""What the tests of the pipeline share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgezoo.core import registry
from edgezoo.system import process
from tests.support import fake_export


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The quick format of `support/fake_export.py` in this process, for one test."""
    monkeypatch.setattr(process.Launcher, "run", process.Launcher.run)
    monkeypatch.setattr(process.Launcher, "attempt_many", process.Launcher.attempt_many)
    fake_export.install()
    yield
    registry.exporters.cache_clear()
    registry.runtimes.cache_clear()
