"""MobileNetV3 small and large: found by search, with hard-swish and squeeze-and-excitation.

A. Howard et al., ICCV 2019. The table's figures are those of alpha 1.0 at 224 pixels, accuracy as
Keras documents it for these weights. The networks normalize inside and take raw pixels.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec, WeightsFile, WidthOptions

_BASE = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v3/"
_SMALL = "weights_mobilenet_v3_small_224_{alpha}_float.h5"
_LARGE = "weights_mobilenet_v3_large_224_{alpha}_float.h5"
_SMALL_NO_TOP = "weights_mobilenet_v3_small_224_{alpha}_float_no_top_v2.h5"
_LARGE_NO_TOP = "weights_mobilenet_v3_large_224_{alpha}_float_no_top_v2.h5"
_FIGURES = "https://keras.io/api/applications/mobilenet/"

SPECS = (
    ModelSpec(
        name="mobilenetv3small",
        family="mobilenet_v3",
        keras_name="MobileNetV3Small",
        preprocessing="raw",
        default_input_size=224,
        min_input_size=32,
        parameters=2_554_968,
        multiply_adds=56_510_400,
        depth=88,
        size_mb=9.7,
        top1=0.681,
        top5=None,
        figures=_FIGURES,
        paper="https://arxiv.org/abs/1905.02244",
        weights=WeightsFile(
            name=_SMALL,
            url=_BASE + _SMALL,
            md5={1.0: "8768d4c2e7dee89b9d02b2d03d65d862", 0.75: "cb65d4e5be93758266aa0a7f2c6708b7"},
            no_top=WeightsFile(
                name=_SMALL_NO_TOP,
                url=_BASE + _SMALL_NO_TOP,
                md5={
                    1.0: "d3e8ec802a04aa4fc771ee12a9a9b836",
                    0.75: "ebdb5cc8e0b497cd13a7c275d475c819",
                },
            ),
        ),
        weights_licence="Apache-2.0 (TensorFlow)",
        width=WidthOptions(
            alpha_codes={1.0: "1.0", 0.75: "0.75"},
            imagenet_sizes=(224,),
            fallback_size=224,
            parameters={0.75: 2_051_552, 1.0: 2_554_968},
        ),
        arguments={"alpha": "alpha", "dropout": "dropout_rate"},
    ),
    ModelSpec(
        name="mobilenetv3large",
        family="mobilenet_v3",
        keras_name="MobileNetV3Large",
        preprocessing="raw",
        default_input_size=224,
        min_input_size=32,
        parameters=5_507_432,
        multiply_adds=216_589_760,
        depth=110,
        size_mb=21.0,
        top1=0.756,
        top5=None,
        figures=_FIGURES,
        paper="https://arxiv.org/abs/1905.02244",
        weights=WeightsFile(
            name=_LARGE,
            url=_BASE + _LARGE,
            md5={1.0: "59e551e166be033d707958cf9e29a6a7", 0.75: "765b44a33ad4005b3ac83185abf1d0eb"},
            no_top=WeightsFile(
                name=_LARGE_NO_TOP,
                url=_BASE + _LARGE_NO_TOP,
                md5={
                    1.0: "07fb09a5933dd0c8eaafa16978110389",
                    0.75: "40af19a13ebea4e2ee0c676887f69a2e",
                },
            ),
        ),
        weights_licence="Apache-2.0 (TensorFlow)",
        width=WidthOptions(
            alpha_codes={1.0: "1.0", 0.75: "0.75"},
            imagenet_sizes=(224,),
            fallback_size=224,
            parameters={0.75: 4_012_616, 1.0: 5_507_432},
        ),
        arguments={"alpha": "alpha", "dropout": "dropout_rate"},
    ),
)
