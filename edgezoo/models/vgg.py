"""VGG16 and VGG19: plain stacks of 3x3 convolutions under three dense layers.

K. Simonyan and A. Zisserman, ICLR 2015. The first dense layer takes the flattened feature map,
so ImageNet weights fit only the default input size.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec
from edgezoo.models._published import published

_MD5S = {
    16: ("64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
    19: ("cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
}

SPECS = tuple(
    ModelSpec(
        name=f"vgg{depth}",
        family=f"vgg{depth}",
        keras_name=f"VGG{depth}",
        preprocessing="caffe",
        default_input_size=224,
        min_input_size=32,
        parameters=parameters,
        multiply_adds=multiply_adds,
        depth=depth,
        size_mb=size_mb,
        top1=0.713,
        top5=top5,
        paper="https://arxiv.org/abs/1409.1556",
        weights=published(
            f"vgg{depth}/vgg{depth}_weights_tf_dim_ordering_tf_kernels.h5", *_MD5S[depth]
        ),
        weights_licence="CC BY 4.0 (VGG, University of Oxford)",
        fixed_size_weights=True,
    )
    for depth, parameters, multiply_adds, size_mb, top5 in (
        (16, 138_357_544, 15_470_264_320, 528.0, 0.901),
        (19, 143_667_240, 19_632_062_464, 549.0, 0.900),
    )
)
