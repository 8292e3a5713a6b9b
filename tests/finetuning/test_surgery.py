"""Where tops begin and blocks end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgezoo.finetuning.surgery import blocks_of, features_of, inputs_of, output_of


def _config(**before: tuple[str, ...]) -> dict[str, Any]:
    """A functional network as Keras describes it: each layer with those it takes."""
    layers = [
        {
            "config": {"name": name},
            "inbound_nodes": [
                {
                    "args": [
                        [
                            {
                                "class_name": "__keras_tensor__",
                                "config": {"keras_history": [source, 0, 0]},
                            }
                            for source in sources
                        ]
                    ],
                    "kwargs": {},
                }
            ],
        }
        for name, sources in before.items()
    ]
    return {"layers": layers}


RESIDUAL = _config(
    image=(), stem=("image",), relu=("stem",),
    a1=("relu",), a2=("a1",), add1=("relu", "a2"),
    b1=("add1",), short=("add1",), add2=("b1", "short"), last=("add2",),
    pool=("last",), drop=("pool",), dense=("drop",),
)  # fmt: skip


def test_chain_has_a_block_a_layer() -> None:
    config = {"layers": [{"config": {"name": name}} for name in ("conv", "relu", "dense", "soft")]}
    inputs = inputs_of(config)
    assert inputs == {"conv": (), "relu": ("conv",), "dense": ("relu",), "soft": ("dense",)}
    assert blocks_of(inputs, ["conv", "dense"]) == [("conv", "relu"), ("dense", "soft")]


def test_residual_block_ends_where_its_paths_meet() -> None:
    learning = ("stem", "a1", "a2", "b1", "short", "last", "dense")
    assert blocks_of(inputs_of(RESIDUAL), learning) == [
        ("stem", "relu"),
        ("a1", "a2", "add1"),
        ("b1", "short", "add2"),
        ("last", "pool", "drop"),
        ("dense",),
    ]


def test_paths_that_never_meet_are_one_block() -> None:
    config = _config(image=(), a=("image",), b=("a", "image"), c=("b", "a"), d=("c", "b"))
    assert len(blocks_of(inputs_of(config), "abcd")) == 1


def test_top_is_the_last_sum_and_its_dropout() -> None:
    inputs = inputs_of(RESIDUAL)
    kinds = dict.fromkeys(inputs, "Conv2D") | {"drop": "Dropout", "dense": "Dense", "pool": "Pool"}
    assert output_of({"output_layers": ["dense", 0, 0]}) == "dense"
    assert output_of({"output_layers": [["dense", 0, 0]]}) == "dense"
    assert output_of(RESIDUAL) == "dense"
    assert features_of(inputs, kinds, {"stem", "last", "dense"}, "dense") == "pool"
    assert features_of(inputs, kinds | {"dense": "BatchNormalization"}, {"dense"}, "dense") == (
        "dense"
    )


def test_blocks_of_a_network_of_keras(own_networks: Path) -> None:
    blocks = json.loads((own_networks / "facts.json").read_text())["mobilenetv2_blocks"]
    assert ["block_15_expand", "block_15_add"] in blocks
    assert blocks[-2][0] == "Conv_1" and blocks[-1][0] == "predictions"
