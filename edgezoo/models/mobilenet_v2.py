"""MobileNetV2: inverted residuals with linear bottlenecks.

M. Sandler, A. Howard, M. Zhu, A. Zhmoginov and L.-C. Chen, CVPR 2018. The table's figures are those
of alpha 1.0 at 224 pixels. As for MobileNet, Keras publishes no hashes, and at other input sizes
the weights of `fallback_size` are used.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec, WidthOptions
from edgezoo.models._published import published

_FILE = "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{size}.h5"
_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
_PARAMETERS = (1_691_208, 1_987_224, 2_663_064, 3_538_984, 5_431_048, 6_156_712)

SPECS = (
    ModelSpec(
        name="mobilenetv2",
        family="mobilenet_v2",
        keras_name="MobileNetV2",
        preprocessing="tf",
        default_input_size=224,
        min_input_size=32,
        parameters=3_538_984,
        multiply_adds=300_774_272,
        depth=105,
        size_mb=14.0,
        top1=0.713,
        top5=0.901,
        paper="https://arxiv.org/abs/1801.04381",
        weights=published(_FILE, None, None, no_top="_no_top"),
        weights_licence="Apache-2.0 (TensorFlow)",
        width=WidthOptions(
            alpha_codes={alpha: str(alpha) for alpha in _WIDTHS},
            imagenet_sizes=(96, 128, 160, 192, 224),
            fallback_size=224,
            parameters=dict(zip(_WIDTHS, _PARAMETERS, strict=True)),
            least_alpha=1 / 16,
        ),
        arguments={"alpha": "alpha"},
    ),
)
