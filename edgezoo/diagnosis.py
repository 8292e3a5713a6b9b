"""What this machine has, what clashes, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Any

from edgezoo import registry
from edgezoo.machine import describe_machine
from edgezoo.weights import keras_home


def diagnose() -> dict[str, Any]:
    """Everything that `edgezoo doctor --json` prints.

    Returns:
        {"machine", "keras_home", "runtimes", "exporters", "problems": [{"what", "mend"}]}.
    """
    runtimes = [
        {
            "name": runtime.name,
            "version": runtime.version(),
            "suffixes": list(runtime.suffixes),
            "devices": list(runtime.devices()),
        }
        for runtime in registry.runtimes().values()
    ]
    exporters = [
        {
            "name": exporter.name,
            "missing": [p for p in exporter.packages if not registry.has_package(p)],
        }
        for exporter in registry.exporters().values()
    ]
    machine = describe_machine()
    return {
        "machine": machine,
        "keras_home": str(keras_home()),
        "runtimes": runtimes,
        "exporters": exporters,
        "problems": _problems(machine, runtimes),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _problems(machine: dict[str, Any], runtimes: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Clashes that cost users days, each with its mend."""
    found = []
    numpy, lite = _version("numpy"), _version("tflite-runtime")
    if numpy and lite and int(numpy.split(".")[0]) >= 2 and not _version("ai-edge-litert"):
        found.append(
            {
                "what": f"tflite-runtime {lite} was built for numpy 1 and numpy {numpy} is here.",
                "mend": 'Run: pip install "numpy<2", or pip install ai-edge-litert instead.',
            }
        )
    if _version("tf-keras") and _version("tensorflow-cpu"):
        found.append(
            {
                "what": "tf-keras lays its own tensorflow over tensorflow-cpu.",
                "mend": "Run: pip uninstall tf-keras",
            }
        )
    if sys.version_info >= (3, 14):
        found.append(
            {
                "what": f"There is no TensorFlow for Python {machine['python']}.",
                "mend": "Export on Python 3.11 to 3.13; this machine can still run files.",
            }
        )
    if not any(runtime["devices"] for runtime in runtimes):
        found.append(
            {
                "what": "No runtime is installed: no file can be run.",
                "mend": 'Run: pip install "edgezoo[tflite]"',
            }
        )
    return found
