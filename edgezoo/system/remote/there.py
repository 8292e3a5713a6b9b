"""What runs on the device in the process of a command."""

from __future__ import annotations

import importlib
from typing import Any

from edgezoo.core import registry
from edgezoo.core.errors import UsageError


def run(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call `module:name` of EdgeZoo, and tell which runtimes are there.

    Returns:
        {"value": what the function returned, "runtimes": {name: package and version}}.
    """
    module, _, name = function.partition(":")
    if not module.startswith("edgezoo."):
        raise UsageError(f"{module} is not part of EdgeZoo.")
    lacking = registry.lacking_for_files()
    if lacking and module != "edgezoo.inspection.diagnosis":  # which tells of it itself
        raise registry.needed_error(lacking)
    value = getattr(importlib.import_module(module), name)(**arguments)
    versions = {runtime.name: runtime.version() for runtime in registry.runtimes().values()}
    return {"value": value, "runtimes": {name: text for name, text in versions.items() if text}}
