"""The function that runs on the device in the child process of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgezoo.core import registry
from edgezoo.core.typed_json import Json
from edgezoo.system import process, sandbox


@dataclass(frozen=True, slots=True)
class There:
    """The result of a function as JSON, and the versions of the device's runtimes."""

    value: Any
    runtimes: dict[str, str]


def run(function: str, arguments: Json, limited: list[str] | None) -> There:
    """Call "edgezoo.module:name" with keyword arguments as JSON.

    `limited` names the arguments with paths of untrusted files; None is for no limits.
    """
    lacking = registry.lacking_for_files()
    # `doctor` reports missing packages itself.
    if lacking and not function.startswith("edgezoo.inspection.diagnosis:"):
        raise registry.needed_error(lacking)
    if limited is None:  # only now: the function's module may import numpy
        value = process.invoke(process.find(function), arguments)
    else:
        value = sandbox.call_with_default_limits(function, limited, arguments)
    versions = {runtime.name: runtime.version() for runtime in registry.runtimes().values()}
    return There(value, {name: text for name, text in versions.items() if text})
