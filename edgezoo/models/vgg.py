"""VGG16 and VGG19: plain stacks of 3x3 convolutions under three dense layers.

K. Simonyan and A. Zisserman, ICLR 2015. The first dense layer takes the flattened feature map,
so ImageNet weights fit only the default input size.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec, WeightsFile

_BASE = "https://storage.googleapis.com/tensorflow/keras-applications/"

SPECS = (
    ModelSpec(
        name="vgg16",
        family="vgg16",
        keras_name="VGG16",
        preprocessing="caffe",
        default_input_size=224,
        min_input_size=32,
        parameters=138_357_544,
        multiply_adds=15_470_264_320,
        depth=16,
        size_mb=528.0,
        top1=0.713,
        top5=0.901,
        paper="https://arxiv.org/abs/1409.1556",
        weights=WeightsFile(
            name="vgg16_weights_tf_dim_ordering_tf_kernels.h5",
            url=_BASE + "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
            md5="64373286793e3c8b2b4e3219cbf3544b",
            no_top=WeightsFile(
                name="vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
                url=_BASE + "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
                md5="6d6bbae143d832006294945121d1f1fc",
            ),
        ),
        weights_licence="CC BY 4.0 (VGG, University of Oxford)",
        fixed_size_weights=True,
    ),
    ModelSpec(
        name="vgg19",
        family="vgg19",
        keras_name="VGG19",
        preprocessing="caffe",
        default_input_size=224,
        min_input_size=32,
        parameters=143_667_240,
        multiply_adds=19_632_062_464,
        depth=19,
        size_mb=549.0,
        top1=0.713,
        top5=0.900,
        paper="https://arxiv.org/abs/1409.1556",
        weights=WeightsFile(
            name="vgg19_weights_tf_dim_ordering_tf_kernels.h5",
            url=_BASE + "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels.h5",
            md5="cbe5617147190e668d6c5d5026f83318",
            no_top=WeightsFile(
                name="vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
                url=_BASE + "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
                md5="253f8cb515780f3b799900260a226db6",
            ),
        ),
        weights_licence="CC BY 4.0 (VGG, University of Oxford)",
        fixed_size_weights=True,
    ),
)
