"""Turns what a converter raises into a refusal: the operation, the layer, and what to do.

Converters raise any exception, with words for their authors. The whole text is printed to the
child's log, which --debug shows.
"""

from __future__ import annotations

import contextlib
import logging
import re
import traceback
from collections.abc import Iterator

from edgezoo.core.errors import EdgeZooError, RefusedError, words_of
from edgezoo.formats.tflite_flatbuffer import layer_name

HINT = (
    "Replace that layer by ones that can be exported (docs/own-models.md), or leave this format or "
    "precision out."
)
# As TensorFlow's converter names an operation that TFLite does not have, with its scope.
_UNKNOWN = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")
_SCOPE = re.compile(r'"([^"\s]+/[^"\s]+)"\("')


@contextlib.contextmanager
def converting(converter: str, to: str) -> Iterator[None]:
    """Refuse a network that a converter fails on.

    Raises:
        RefusedError: with the operations and layers that it named, or its reason.
    """
    try:
        yield
    except (EdgeZooError, MemoryError, OSError):
        raise
    except Exception as error:
        traceback.print_exc()
        raise RefusedError(f"{_reason(error, converter, to)}.", HINT) from error


def _reason(error: Exception, converter: str, to: str) -> str:
    text = str(error)
    unknown = sorted(set(_UNKNOWN.findall(text)))
    if not unknown:
        return f"{converter} fails on this network ({type(error).__name__}: {words_of(error)})"
    layers = sorted({layer_name(scope) for scope in _SCOPE.findall(text) if unknown[0] in scope})
    where = f" (layer {', '.join(layers)})" if layers else ""
    return f"{to} has no operation for TensorFlow's {', '.join(unknown)}{where}"


class FailedNodes(logging.Handler):
    """Collects the nodes that tf2onnx could not convert; it logs them and goes on without."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note the node of one record."""
        if str(record.msg).startswith("Failed to convert node") and isinstance(record.args, tuple):
            self.names.append(str(record.args[0]))
