"""EdgeZoo: verified, quantized files of Keras image classifiers for the edge.

The names below are imported at first use, so that `import edgezoo` costs next to nothing.
"""

from __future__ import annotations

# Not typing's: what is loaded here is loaded before Ctrl-C can be caught.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edgezoo.api import (
        benchmark,
        build,
        bundle,
        classify,
        compile,
        decode_predictions,
        doctor,
        estimate,
        evaluate,
        explain,
        export,
        finetune,
        inspect,
        list_models,
        open_artifact,
        preprocess_input,
        recommend,
        report,
        show,
        verify,
    )

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "benchmark",
    "build",
    "bundle",
    "classify",
    "compile",
    "decode_predictions",
    "doctor",
    "estimate",
    "evaluate",
    "explain",
    "export",
    "finetune",
    "inspect",
    "list_models",
    "open_artifact",
    "preprocess_input",
    "recommend",
    "report",
    "show",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from edgezoo import api

        return getattr(api, name)
    raise AttributeError(f"module 'edgezoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
