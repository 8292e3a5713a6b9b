"""NASNet-A mobile and large: cells that a search found on CIFAR-10, stacked for ImageNet.

B. Zoph, V. Vasudevan, J. Shlens and Q. V. Le, CVPR 2018. Keras caches these weights under a name
other than that of the published file.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec, WeightsFile

_BASE = "https://storage.googleapis.com/tensorflow/keras-applications/nasnet/NASNet-"


def _weights(size: str, md5: str, no_top_md5: str) -> WeightsFile:
    no_top = WeightsFile(f"nasnet_{size}_no_top.h5", f"{_BASE}{size}-no-top.h5", no_top_md5)
    return WeightsFile(f"nasnet_{size}.h5", f"{_BASE}{size}.h5", md5, no_top)


_MOBILE = _weights("mobile", "020fb642bf7360b370c678b08e0adf61", "1ed92395b5b598bdda52abe5c0dbfd63")
_LARGE = _weights("large", "11577c9a518f0070763c2b964a382f17", "d81d89dc07e6e56530c4e77faddd61b5")

SPECS = tuple(
    ModelSpec(
        name=f"nasnet{size.lower()}",
        family="nasnet",
        keras_name=f"NASNet{size}",
        preprocessing="tf",
        default_input_size=pixels,
        min_input_size=32,
        parameters=parameters,
        multiply_adds=multiply_adds,
        depth=depth,
        size_mb=size_mb,
        top1=top1,
        top5=top5,
        paper="https://arxiv.org/abs/1707.07012",
        weights=weights,
        weights_licence="Apache-2.0 (TensorFlow)",
    )
    for size, pixels, parameters, multiply_adds, depth, size_mb, top1, top5, weights in (
        ("Mobile", 224, 5_326_716, 563_638_816, 389, 23.0, 0.744, 0.919, _MOBILE),
        ("Large", 331, 88_949_818, 23_783_414_658, 533, 343.0, 0.825, 0.960, _LARGE),
    )
)
