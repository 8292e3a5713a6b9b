"""EfficientNetV2B0: fused convolutions in the first stages, smaller and faster to train.

M. Tan and Q. V. Le, ICML 2021. The network normalizes inside and takes raw pixels.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec, Resize
from edgezoo.models._published import published

_FILE = "efficientnet_v2/efficientnetv2-b0.h5"

SPECS = (
    ModelSpec(
        name="efficientnetv2b0",
        family="efficientnet_v2",
        keras_name="EfficientNetV2B0",
        preprocessing="raw",
        resize=Resize(filter="bicubic"),
        default_input_size=224,
        min_input_size=32,
        parameters=7_200_312,
        multiply_adds=718_086_176,
        depth=151,
        size_mb=29.0,
        top1=0.787,
        top5=0.943,
        paper="https://arxiv.org/abs/2104.00298",
        weights=published(
            _FILE, "21ecbf6da12460d5c40bb2f29ceb2188", "893217f2bb855e2983157299931e43ff"
        ),
        weights_licence="Apache-2.0 (TensorFlow)",
    ),
)
