"""Inception-ResNet v2: Inception branches with residual connections around them.

C. Szegedy, S. Ioffe, V. Vanhoucke and A. Alemi, AAAI 2017.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec
from edgezoo.models._published import published

_FILE = "inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5"

SPECS = (
    ModelSpec(
        name="inceptionresnetv2",
        family="inception_resnet_v2",
        keras_name="InceptionResNetV2",
        preprocessing="tf",
        default_input_size=299,
        min_input_size=75,
        parameters=55_873_736,
        multiply_adds=13_155_794_016,
        depth=449,
        size_mb=215.0,
        top1=0.803,
        top5=0.953,
        paper="https://arxiv.org/abs/1602.07261",
        weights=published(
            _FILE, "e693bd0210a403b3192acc6073ad2e96", "d19885ff4a710c122648d3b5c3b684e4"
        ),
        weights_licence="Apache-2.0 (TensorFlow)",
    ),
)
