"""What each Python that a test starts begins with: patience, for a busy machine is no hang.

`tests.conftest.environment` puts this folder on PYTHONPATH. Under `make coverage` it also lets
limited processes write what coverage counted in them.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False  # a start without typing is twice as fast
if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import ModuleType
    from typing import Any


def _limits(module: Any) -> None:
    module._MIN_TIMEOUT = 600.0
    confine, counted = module.confine, os.environ.get("EDGEZOO_TEST_COVERAGE")

    def confine_all_but_coverage(limits: Any, writable: Iterable[Path]) -> None:
        confine(limits, [*writable, module.Path(counted)])

    if counted:
        module.confine = confine_all_but_coverage


def _cluster(module: Any) -> None:
    module._WORKERS_S = 600


CHANGES = {"edgezoo.system.limits": _limits, "edgezoo.sweep.cluster": _cluster}


class _Finder:
    """Changes modules as they are loaded."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name in CHANGES else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            CHANGES[name](module)

        spec.loader.exec_module = execute_and_change  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder)
