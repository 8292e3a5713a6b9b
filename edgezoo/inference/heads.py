"""From the values of an output to probabilities of classes.

A softmax gives them as they are. Logits get a softmax, or a sigmoid each where classes do not
exclude one another. A single sigmoid is the probability of the second of two classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgezoo.core.artifact import InputContract

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def probabilities(values: NDArray[np.float32], contract: InputContract) -> NDArray[np.float32]:
    """Return the probability of each class.

    Args:
        values: of the output, float32, shape (n, values).
        contract: says what they are.
    """
    if contract.head == "logits":
        return softmax(values)
    if contract.head == "sigmoid-logits":
        values = sigmoid(values)
    return both_sides(values) if contract.binary else values


def ranking(values: NDArray[np.float32], contract: InputContract) -> NDArray[np.float32]:
    """Return scores by which classes are ranked: their probabilities, or logits as they are."""
    return values if contract.head == "logits" else probabilities(values, contract)


def both_sides(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities of two classes for one value, that of the second; else the values.

    Args:
        values: probabilities, shape (n, values).
    """
    import numpy as np

    return np.concatenate([1 - values, values], axis=1) if values.shape[1] == 1 else values


def softmax(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax of each row, in double precision."""
    import numpy as np

    shifted = values.astype(np.float64)
    shifted -= shifted.max(1, keepdims=True)
    powers = np.exp(shifted)
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sigmoid of each value, which does not overflow."""
    import numpy as np

    return np.asarray(0.5 * (1 + np.tanh(0.5 * values.astype(np.float64))), np.float32)
