"""MobileNet v1: depthwise separable convolutions, with a width factor alpha.

A. G. Howard et al., 2017. The table's figures are those of alpha 1.0 at 224 pixels. Keras
publishes weights for four widths at four sizes, without hashes. At any other input size those of
`fallback_size` are used: no parameter depends on the size.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec, WidthOptions
from edgezoo.models._published import published

_FILE = "mobilenet/mobilenet_{alpha}_{size}_tf.h5"

SPECS = (
    ModelSpec(
        name="mobilenet",
        family="mobilenet",
        keras_name="MobileNet",
        preprocessing="tf",
        default_input_size=224,
        min_input_size=32,
        parameters=4_253_864,
        multiply_adds=568_740_352,
        depth=55,
        size_mb=16.0,
        top1=0.704,
        top5=0.895,
        paper="https://arxiv.org/abs/1704.04861",
        weights=published(_FILE, None, None, no_top="_no_top"),
        weights_licence="Apache-2.0 (TensorFlow)",
        width=WidthOptions(
            alpha_codes={1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"},
            imagenet_sizes=(128, 160, 192, 224),
            fallback_size=224,
            parameters={0.25: 475_544, 0.5: 1_342_536, 0.75: 2_601_976, 1.0: 4_253_864},
            least_alpha=1 / 32,
        ),
        arguments={"alpha": "alpha", "depth_multiplier": "depth_multiplier", "dropout": "dropout"},
    ),
)
