"""What runs on the device in the process of a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgezoo.core import registry
from edgezoo.system import process, sandbox


@dataclass(frozen=True, slots=True)
class There:
    """What a function returned on the device, as JSON, and the runtimes that the device has."""

    value: Any
    runtimes: dict[str, str]


def run(function: str, arguments: dict[str, Any], limited: list[str] | None) -> There:
    """Call "edgezoo.module:name".

    Args:
        function: its name.
        arguments: keyword arguments as JSON.
        limited: names of the arguments that hold paths of untrusted files, for work within limits.
    """
    called = process.find(function)
    lacking = registry.lacking_for_files()
    # `doctor` reports itself what is lacking.
    if lacking and not function.startswith("edgezoo.inspection.diagnosis:"):
        raise registry.needed_error(lacking)
    if limited is None:
        value = process.invoke(called, arguments)
    else:
        value = sandbox.call_with_usual_limits(function, limited, arguments)
    versions = {runtime.name: runtime.version() for runtime in registry.runtimes().values()}
    return There(value, {name: text for name, text in versions.items() if text})
