"""Finds a network's top and its blocks in its configuration.

A block ends where all paths of the network meet in one layer: after an addition or concatenation
of a residual or inception block, after each convolution of a plain chain. NASNet's cells also take
the output of the cell before the last, so its paths never meet, and its body is one block.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from edgezoo.core.typed_json import Json

# A classification layer computes weighted sums of features.
_SUMS = ("Dense", "Conv2D")
_TRANSPARENT = ("Dropout",)


def inputs_of(config: Json) -> dict[str, tuple[str, ...]]:
    """Return the layers whose outputs each layer takes, in the order of the network.

    Args:
        config: `get_config()` of a functional or sequential network.
    """
    layers = config["layers"]
    names = [layer["config"]["name"] for layer in layers]
    if not any("inbound_nodes" in layer for layer in layers):
        return {name: tuple(names[max(0, i - 1) : i]) for i, name in enumerate(names)}
    return {
        name: tuple(dict.fromkeys(_tensors(layer.get("inbound_nodes", []))))
        for name, layer in zip(names, layers, strict=True)
    }


def _tensors(value: Any) -> Iterator[str]:
    """Yield the names of the layers that tensors in a layer's arguments come from."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield value["config"]["keras_history"][0]
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def output_of(config: Json) -> str:
    """Return the layer that computes the output of a network with one output; see `inputs_of`."""
    ends = config.get("output_layers") or [config["layers"][-1]["config"]["name"]]
    name = ends[0][0] if isinstance(ends[0], (list, tuple)) else ends[0]
    return str(name)


def features_of(
    inputs: dict[str, tuple[str, ...]],
    kinds: dict[str, str],
    weighted: Collection[str],
    output: str,
) -> str:
    """Return the layer whose output a new top takes.

    Args:
        inputs: see `inputs_of`.
        kinds: class of each layer.
        weighted: layers with weights.
        output: the network's last layer.

    Returns:
        The layer before the classification layer and its dropout; the last layer of a network
        without a top.
    """
    name = output
    while name not in weighted:
        if len(inputs[name]) != 1:
            return output
        name = inputs[name][0]
    if kinds[name] not in _SUMS or len(inputs[name]) != 1:
        return output
    name = inputs[name][0]
    while kinds[name] in _TRANSPARENT and len(inputs[name]) == 1:
        name = inputs[name][0]
    return name


def blocks_of(
    inputs: dict[str, tuple[str, ...]], trainable: Collection[str]
) -> list[tuple[str, ...]]:
    """Return the layers by block, in the order of the network; each block has trainable layers.

    Args:
        inputs: see `inputs_of`.
        trainable: layers with trainable weights.
    """
    names = list(inputs)
    last_use = {name: place for place, name in enumerate(names)}
    for place, name in enumerate(names):
        for before in inputs[name]:
            last_use[before] = max(last_use[before], place)
    blocks: list[tuple[str, ...]] = []
    part: list[str] = []
    reach = 0
    for place, name in enumerate(names):
        part.append(name)
        if reach <= place:  # no later layer takes the output of an earlier one
            if blocks and not any(layer in trainable for layer in part):
                blocks[-1] += tuple(part)
            else:
                blocks.append(tuple(part))
            part = []
        reach = max(reach, last_use[name])
    return [block for block in blocks if any(layer in trainable for layer in block)]
