"""Accuracy and latency of the MobileNets in ../shared, in every format, float32 and int8.

Runs the sweeps of sweeps/ into one results store, which a second run goes on with, and writes the
data of its report to results/mobilenet-sweep.json, with results/mobilenet-sweep.md to read. Exits 1
where a variant failed.

    python benchmarks/sweep.py STORE
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import _common as common

SWEEPS = Path(__file__).resolve().parent / "sweeps"


def edgezoo(*arguments: str | Path) -> None:
    subprocess.run(
        [*common.EDGEZOO, *map(str, arguments)], check=True, env=common.keras_environment()
    )


def main() -> int:
    common.require_shared()
    if len(sys.argv) != 2:
        sys.exit("Name a folder for the results store.")
    store = Path(sys.argv[1])
    for sweep in sorted(SWEEPS.glob("*.toml")):
        edgezoo("benchmark", sweep, "--output", store)
    edgezoo("report", store, "--as", "html,json,md")
    facts = json.loads((store / "report.json").read_text())
    for row in facts["rows"]:
        row["store"] = None  # a place on this machine
    common.save("mobilenet-sweep", facts)
    table = (store / "report.md").read_text()
    (common.RESULTS / "mobilenet-sweep.md").write_text(table)
    return 1 if facts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
