"""Netron's own server opens every format without an error, and shows what the file takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FORMATS, Exported
from tests.support.browser import chromium, new_context


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """`opened(path)`: a page on which Netron shows the file, and what went wrong on it."""
    import netron

    places: list[Any] = []

    def show(path: Path) -> tuple[Any, list[str]]:
        address = netron.start(str(path), browse=False)
        places.append(address)
        own = f"http://{address[0]}:{address[1]}/"
        context = new_context(browser)
        context.add_cookies([{"name": "consent", "value": "1", "url": own}])
        # It counts its users elsewhere; nothing but the file is wanted here.
        context.route(lambda url: not url.startswith(own), lambda route: route.abort())
        page, errors = context.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(own)
        page.wait_for_selector("body.default .node, .message-text:visible")
        return page, errors

    yield show
    for address in places:
        netron.stop(address)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("format", FORMATS)
def test_netron_shows_the_contract(
    opened: Any, exported: Exported, format: str, precision: str
) -> None:
    page, errors = opened(exported.path(format, precision))
    # Netron forbids eval, so nothing but locators works on its page.
    assert page.locator("body").get_attribute("class") == "default", "no error message in front"
    assert page.locator(".node").count() > 60
    page.keyboard.press("Control+Enter")
    page.get_by_text("Graph Properties").wait_for()
    page.get_by_text("Metrics").wait_for()  # the last part
    shown = page.locator("#sidebar").inner_text()
    assert f"mobilenet 0.25 {precision}, made by EdgeZoo. Takes RGB pixels 0 to 255" in shown
    assert "shorter side resized to 37 (bilinear), then 32 x 32" in shown
    assert errors == []


def test_netron_complains_of_a_damaged_file(opened: Any, tmp_path: Path) -> None:
    """Else the test above could not fail."""
    path = tmp_path / "damaged.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    page, _ = opened(path)
    assert page.locator("body").get_attribute("class") != "default"
