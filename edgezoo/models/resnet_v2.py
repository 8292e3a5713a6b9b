"""ResNet50V2: residual blocks with batch norm before each convolution.

K. He, X. Zhang, S. Ren and J. Sun, ECCV 2016.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec
from edgezoo.models._published import published

_FILE = "resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels.h5"

SPECS = (
    ModelSpec(
        name="resnet50v2",
        family="resnet_v2",
        keras_name="ResNet50V2",
        preprocessing="tf",
        default_input_size=224,
        min_input_size=32,
        parameters=25_613_800,
        multiply_adds=3_482_255_360,
        depth=103,
        size_mb=98.0,
        top1=0.760,
        top5=0.930,
        paper="https://arxiv.org/abs/1603.05027",
        weights=published(
            _FILE, "3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"
        ),
        weights_licence="MIT (Kaiming He)",
    ),
)
