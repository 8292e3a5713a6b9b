"""A real browser for pages: Debian's chromium, driven by playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; skips where there is none, and fails on CI, which installs it."""
    missing = None if _CHROMIUM else "chromium (apt-get install chromium)"
    try:
        from playwright import sync_api
    except ImportError:
        sync_api, missing = None, "playwright"
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"needs {missing}", pytrace=False)
    if missing:
        pytest.skip(f"needs {missing}")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=_CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()
