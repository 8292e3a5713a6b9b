"""DenseNet 121, 169 and 201: every layer of a block reads all layers before it.

G. Huang, Z. Liu, L. van der Maaten and K. Q. Weinberger, CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgezoo.core.spec import ModelSpec, WeightsFile

if TYPE_CHECKING:
    import keras

_BASE = "https://storage.googleapis.com/tensorflow/keras-applications/densenet/"


def DenseNet121(**options: Any) -> keras.Model:
    """Keras' DenseNet121; `blocks` as `_network` takes them."""
    return _network("DenseNet121", **options)


def DenseNet169(**options: Any) -> keras.Model:
    """Keras' DenseNet169; `blocks` as `_network` takes them."""
    return _network("DenseNet169", **options)


def DenseNet201(**options: Any) -> keras.Model:
    """Keras' DenseNet201; `blocks` as `_network` takes them."""
    return _network("DenseNet201", **options)


def _network(function: str, blocks: Sequence[int] | None = None, **options: Any) -> keras.Model:
    """Build a network, with the arguments of a Keras Applications function.

    Args:
        function: of `keras.applications`.
        blocks: layers in each of the four blocks. Keras documents this argument, but has it only in
            the private function that its public ones call.
    """
    import keras
    from keras.src.applications.densenet import DenseNet

    if blocks is None:
        network: keras.Model = getattr(keras.applications, function)(**options)
        return network
    return DenseNet(list(blocks), **options)


def _spec(
    layers: int,
    *,
    parameters: int,
    multiply_adds: int,
    depth: int,
    size_mb: float,
    top1: float,
    top5: float,
    md5: str,
    no_top_md5: str,
) -> ModelSpec:
    file = f"densenet{layers}_weights_tf_dim_ordering_tf_kernels"
    no_top = WeightsFile(f"{file}_notop.h5", f"{_BASE}{file}_notop.h5", no_top_md5)
    return ModelSpec(
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
        weights=WeightsFile(f"{file}.h5", f"{_BASE}{file}.h5", md5, no_top),
        weights_licence="BSD-3-Clause (DenseNet authors)",
        arguments={"blocks": "blocks"},
    )


SPECS = (
    _spec(
        121,
        parameters=8_062_504,
        multiply_adds=2_834_161_664,
        depth=242,
        size_mb=33.0,
        top1=0.750,
        top5=0.923,
        md5="9d60b8095a5708f2dcce2bca79d332c7",
        no_top_md5="30ee3e1110167f948a6b9946edeeb738",
    ),
    _spec(
        169,
        parameters=14_307_880,
        multiply_adds=3_359_843_328,
        depth=338,
        size_mb=57.0,
        top1=0.762,
        top5=0.932,
        md5="d699b8f76981ab1b30698df4c175e90b",
        no_top_md5="b8c4d4c20dd625c148057b9ff1c1176b",
    ),
    _spec(
        201,
        parameters=20_242_984,
        multiply_adds=4_291_365_888,
        depth=402,
        size_mb=80.0,
        top1=0.773,
        top5=0.936,
        md5="1ceb130c1ea1b78c3bf6114dbdfd8807",
        no_top_md5="c13680b51ded0fb44dff2d8f86ac8bb1",
    ),
)
