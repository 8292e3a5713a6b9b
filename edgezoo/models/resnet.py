"""ResNet50: bottleneck blocks that learn residuals (version 1, batch norm after convolution).

K. He, X. Zhang, S. Ren and J. Sun, CVPR 2016.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec
from edgezoo.models._published import published

_FILE = "resnet/resnet50_weights_tf_dim_ordering_tf_kernels.h5"

SPECS = (
    ModelSpec(
        name="resnet50",
        family="resnet",
        keras_name="ResNet50",
        preprocessing="caffe",
        default_input_size=224,
        min_input_size=32,
        parameters=25_636_712,
        multiply_adds=3_857_973_248,
        depth=107,
        size_mb=98.0,
        top1=0.749,
        top5=0.921,
        paper="https://arxiv.org/abs/1512.03385",
        weights=published(
            _FILE, "2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"
        ),
        weights_licence="MIT (Kaiming He)",
    ),
)
