"""A real browser for pages: Debian's chromium, driven by playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support import needs

# Milliseconds until a page counts as hung.
_PATIENCE_MS = 300_000


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; the test is skipped where there is none."""
    from playwright import sync_api

    needs.require("chromium")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=needs.find("chromium"), args=["--no-sandbox", "--disable-gpu"],
            timeout=_PATIENCE_MS,
        )  # fmt: skip
        yield browser
        browser.close()


def new_context(browser: Any, **options: Any) -> Any:
    """A profile of its own, whose pages may take their time on a busy machine."""
    context = browser.new_context(**options)
    context.set_default_timeout(_PATIENCE_MS)
    return context
