"""How long a report of 500 variants takes to open in headless Chromium, and how large it is.

From the start of the navigation until charts and table are drawn, several times; and the time that
the page's main thread was at work, which a busy machine disturbs less. Writes results/page.json and
exits 1 where a bound does not hold.

    python benchmarks/page.py
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import _common as common

RUNS = 5
VARIANTS = 500
MOST_S, MOST_BYTES = 3.0, 8_000_000


def open_page(browser: object, path: Path) -> tuple[float, float]:
    """Wall seconds until it is drawn, and seconds of work of its main thread."""
    page = browser.new_page()  # type: ignore[attr-defined]
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    start = time.perf_counter()
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector("html[data-drawn]", timeout=120_000)
    wall = time.perf_counter() - start
    metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    page.close()
    return wall, metrics["TaskDuration"]


def main() -> int:
    sys.path.insert(0, str(common.ROOT))
    from playwright.sync_api import sync_playwright

    from edgezoo.reporting.report_files import write
    from tests.support.fake_records import grid, write_store

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit("This needs chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as play:
        store = write_store(Path(scratch, "store"), grid(VARIANTS))
        path = Path(write([store], ("html",), store).reports[0])
        size = path.stat().st_size
        browser = play.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        opened = [open_page(browser, path) for _ in range(RUNS)]
        version = browser.version
        browser.close()
    wall = statistics.median(pair[0] for pair in opened)
    missed = [f"{wall:.2f} s to open"] if wall > MOST_S else []
    missed += [f"{size} bytes"] if size > MOST_BYTES else []
    facts = {
        "variants": VARIANTS,
        "chromium": version,
        "bytes": size,
        "open_s": round(wall, 3),
        "main_thread_s": round(statistics.median(pair[1] for pair in opened), 3),
        "samples": [[round(value, 3) for value in pair] for pair in opened],
        "missed": missed,
    }
    place = common.save("page", facts)
    print(f"{size / 1e6:.1f} MB, open in {wall:.2f} s, {facts['main_thread_s']} s of work; "
          f"{place.relative_to(common.ROOT)}: {missed or 'all bounds hold'}")  # fmt: skip
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
