"""DenseNet 121, 169 and 201: every layer of a block reads all layers before it.

G. Huang, Z. Liu, L. van der Maaten and K. Q. Weinberger, CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from edgezoo.core.spec import ModelSpec
from edgezoo.models._published import published

if TYPE_CHECKING:
    import keras

_MD5S = {
    121: ("9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
    169: ("d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
    201: ("1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"),
}


def _network(function: str, blocks: Sequence[int] | None = None, **options: Any) -> keras.Model:
    """Call a function of `keras.applications`, or build with other numbers of layers in the blocks.

    Keras documents `blocks`, but has it only in the private function that its public ones call.
    """
    import keras
    from keras.src.applications.densenet import DenseNet

    if blocks is None:
        network: keras.Model = getattr(keras.applications, function)(**options)
        return network
    return DenseNet(list(blocks), **options)


DenseNet121 = partial(_network, "DenseNet121")
DenseNet169 = partial(_network, "DenseNet169")
DenseNet201 = partial(_network, "DenseNet201")

SPECS = tuple(
    ModelSpec(
        name=f"densenet{layers}",
        family="densenet",
        keras_name=f"DenseNet{layers}",
        module=__name__,
        preprocessing="torch",
        default_input_size=224,
        min_input_size=32,
        parameters=parameters,
        multiply_adds=multiply_adds,
        depth=depth,
        size_mb=size_mb,
        top1=top1,
        top5=top5,
        paper="https://arxiv.org/abs/1608.06993",
        weights=published(
            f"densenet/densenet{layers}_weights_tf_dim_ordering_tf_kernels.h5", *_MD5S[layers]
        ),
        weights_licence="BSD-3-Clause (DenseNet authors)",
        arguments={"blocks": "blocks"},
    )
    for layers, parameters, multiply_adds, depth, size_mb, top1, top5 in (
        (121, 8_062_504, 2_834_161_664, 242, 33.0, 0.750, 0.923),
        (169, 14_307_880, 3_359_843_328, 338, 57.0, 0.762, 0.932),
        (201, 20_242_984, 4_291_365_888, 402, 80.0, 0.773, 0.936),
    )
)
