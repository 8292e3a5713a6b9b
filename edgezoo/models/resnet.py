"""ResNet50: bottleneck blocks that learn residuals (version 1, batch norm after convolution).

K. He, X. Zhang, S. Ren and J. Sun, CVPR 2016.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec, WeightsFile

_BASE = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"

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
        weights=WeightsFile(
            name="resnet50_weights_tf_dim_ordering_tf_kernels.h5",
            url=_BASE + "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
            md5="2cb95161c43110f7111970584f804107",
            no_top=WeightsFile(
                name="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
                url=_BASE + "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
                md5="4d473c1dd8becc155b73f8504c6f6626",
            ),
        ),
        weights_licence="MIT (Kaiming He)",
    ),
)
