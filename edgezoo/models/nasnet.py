"""NASNet-A mobile and large: cells that a search found on CIFAR-10, stacked for ImageNet.

B. Zoph, V. Vasudevan, J. Shlens and Q. V. Le, CVPR 2018. Keras caches these weights under a name
other than that of the published file.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec, WeightsFile

_BASE = "https://storage.googleapis.com/tensorflow/keras-applications/nasnet/"

SPECS = (
    ModelSpec(
        name="nasnetmobile",
        family="nasnet",
        keras_name="NASNetMobile",
        preprocessing="tf",
        default_input_size=224,
        min_input_size=32,
        parameters=5_326_716,
        multiply_adds=563_638_816,
        depth=389,
        size_mb=23.0,
        top1=0.744,
        top5=0.919,
        paper="https://arxiv.org/abs/1707.07012",
        weights=WeightsFile(
            name="nasnet_mobile.h5",
            url=_BASE + "NASNet-mobile.h5",
            md5="020fb642bf7360b370c678b08e0adf61",
            no_top=WeightsFile(
                name="nasnet_mobile_no_top.h5",
                url=_BASE + "NASNet-mobile-no-top.h5",
                md5="1ed92395b5b598bdda52abe5c0dbfd63",
            ),
        ),
        weights_licence="Apache-2.0 (TensorFlow)",
    ),
    ModelSpec(
        name="nasnetlarge",
        family="nasnet",
        keras_name="NASNetLarge",
        preprocessing="tf",
        default_input_size=331,
        min_input_size=32,
        parameters=88_949_818,
        multiply_adds=23_783_414_658,
        depth=533,
        size_mb=343.0,
        top1=0.825,
        top5=0.960,
        paper="https://arxiv.org/abs/1707.07012",
        weights=WeightsFile(
            name="nasnet_large.h5",
            url=_BASE + "NASNet-large.h5",
            md5="11577c9a518f0070763c2b964a382f17",
            no_top=WeightsFile(
                name="nasnet_large_no_top.h5",
                url=_BASE + "NASNet-large-no-top.h5",
                md5="d81d89dc07e6e56530c4e77faddd61b5",
            ),
        ),
        weights_licence="Apache-2.0 (TensorFlow)",
    ),
)
