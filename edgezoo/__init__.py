"""EdgeZoo: verified, quantized files of Keras image classifiers for the edge.

The public names are those of `edgezoo.api`. They are imported at first use, so that
`import edgezoo` costs next to nothing.
"""

from __future__ import annotations

# Not typing's: what is loaded here is loaded before Ctrl-C can be caught.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from edgezoo.api import *  # noqa: F403
    from edgezoo.api import __all__ as __all__

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if (name.startswith("_") and name != "__all__") or name == "api":
        raise AttributeError(f"module 'edgezoo' has no attribute {name!r}")
    import edgezoo.api as api

    if name != "__all__" and name not in api.__all__:
        raise AttributeError(f"module 'edgezoo' has no attribute {name!r}")
    return getattr(api, name)


def __dir__() -> list[str]:
    import edgezoo.api as api

    return sorted([*api.__all__, "__version__"])
