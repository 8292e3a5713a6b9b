"""MobileNetV2: inverted residuals with linear bottlenecks.

M. Sandler, A. Howard, M. Zhu, A. Zhmoginov and L.-C. Chen, CVPR 2018. The table's figures are those
of alpha 1.0 at 224 pixels. As for MobileNet, Keras publishes no hashes, and at other input sizes
the weights of `fallback_size` are used.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec, WeightsFile, WidthOptions

_BASE = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{size}.h5"
_NO_TOP = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{size}_no_top.h5"

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
        weights=WeightsFile(
            name=_FILE,
            url=_BASE + _FILE,
            md5=None,
            no_top=WeightsFile(name=_NO_TOP, url=_BASE + _NO_TOP, md5=None),
        ),
        weights_licence="Apache-2.0 (TensorFlow)",
        width=WidthOptions(
            alpha_codes={
                1.4: "1.4",
                1.3: "1.3",
                1.0: "1.0",
                0.75: "0.75",
                0.5: "0.5",
                0.35: "0.35",
            },
            imagenet_sizes=(96, 128, 160, 192, 224),
            fallback_size=224,
            parameters={
                0.35: 1_691_208,
                0.5: 1_987_224,
                0.75: 2_663_064,
                1.0: 3_538_984,
                1.3: 5_431_048,
                1.4: 6_156_712,
            },
            least_alpha=1 / 16,
        ),
        arguments={"alpha": "alpha"},
    ),
)
