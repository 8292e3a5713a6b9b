"""Xception: Inception modules driven to their end, depthwise separable convolutions.

F. Chollet, CVPR 2017. The only architecture here whose weights Keras' author trained himself.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec
from edgezoo.models._published import published

_FILE = "xception/xception_weights_tf_dim_ordering_tf_kernels.h5"

SPECS = (
    ModelSpec(
        name="xception",
        family="xception",
        keras_name="Xception",
        preprocessing="tf",
        default_input_size=299,
        min_input_size=71,
        parameters=22_910_480,
        multiply_adds=8_357_403_496,
        depth=81,
        size_mb=88.0,
        top1=0.790,
        top5=0.945,
        paper="https://arxiv.org/abs/1610.02357",
        weights=published(
            _FILE, "0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97"
        ),
        weights_licence="MIT (Keras)",
    ),
)
