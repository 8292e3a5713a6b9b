"""Keras' `preprocess_input` and `decode_predictions` for each family, with numpy only.

They repeat `keras.applications.imagenet_utils` operation by operation, so results are identical
to the bit (https://keras.io/api/applications/). Unlike Keras', they never change their argument.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgezoo.core import registry
from edgezoo.core.errors import UsageError, did_you_mean
from edgezoo.core.spec import BGR_MEAN, IMAGENET_MEAN, IMAGENET_STD
from edgezoo.images import imagenet_classes

_DATA_FORMATS = ("channels_last", "channels_first")


def preprocess_input(
    model: str, x: ArrayLike, data_format: str = "channels_last"
) -> NDArray[np.floating[Any]]:
    """Convert RGB pixels into the input of a Keras network of the zoo.

    Args:
        model: name of a model.
        x: RGB, 0 to 255, shape (height, width, 3) or (n, height, width, 3).
        data_format: "channels_last", or "channels_first" with 3 before height and width.

    Returns:
        A new array of the same shape, channels in the network's own order; of the dtype of `x` if
        that is floating-point, else float32.

    Raises:
        UsageError: an unknown model or data format, or another shape.
    """
    mode = registry.model(model).preprocessing
    if data_format not in _DATA_FORMATS:
        raise UsageError(
            f"There is no data_format {data_format!r}.", did_you_mean(data_format, _DATA_FORMATS)
        )
    given = np.asarray(x)
    floating = np.issubdtype(given.dtype, np.floating)
    values = np.array(given, given.dtype if floating else np.float32)
    axis = -1 if data_format == "channels_last" else -3
    if values.ndim not in (3, 4) or values.shape[axis] != 3:
        raise UsageError(
            f"preprocess_input takes RGB images, {data_format}, not the shape {values.shape}.",
            "Give (height, width, 3) or (n, height, width, 3).",
        )
    channels = np.moveaxis(values, axis, -1)  # a view of `values`
    if mode == "tf":
        values /= 127.5
        values -= 1.0
    elif mode == "torch":
        values /= 255.0
        for c in range(3):
            channels[..., c] -= IMAGENET_MEAN[c]
            channels[..., c] /= IMAGENET_STD[c]
    elif mode == "caffe":
        channels[...] = channels[..., ::-1].copy()
        for c in range(3):
            channels[..., c] -= BGR_MEAN[c]
    return values


def decode_predictions(
    model: str | None, preds: ArrayLike, top: int = 5
) -> list[list[tuple[str, str, np.floating[Any]]]]:
    """Return the best classes of each row of predictions.

    Args:
        model: name of a model, or None: all models have the same classes.
        preds: shape (n, 1000).
        top: number of classes.

    Returns:
        For each row a list of (wnid, name, score), best first.

    Raises:
        UsageError: an unknown model, or another shape.
    """
    if model is not None:
        registry.model(model)
    classes, scores = imagenet_classes.classes(), np.asarray(preds)
    if scores.ndim != 2 or scores.shape[1] != len(classes):
        raise UsageError(
            f"decode_predictions takes predictions of shape (n, {len(classes)}), "
            f"not {scores.shape}.",
            "Give the output of a network with its ImageNet top.",
        )
    if top < 1:
        raise UsageError(f"top={top} is not a number of classes.", "Give 1 or more.")
    # Keras orders equal scores like this.
    return [[(*classes[i], row[i]) for i in row.argsort()[-top:][::-1]] for row in scores]
