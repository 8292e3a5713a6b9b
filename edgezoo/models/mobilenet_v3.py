"""MobileNetV3 small and large: found by search, with hard-swish and squeeze-and-excitation.

A. Howard et al., ICCV 2019. The table's figures are those of alpha 1.0 at 224 pixels, accuracy as
Keras documents it for these weights. The networks normalize inside and take raw pixels.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec, WidthOptions
from edgezoo.models._published import published

# By size and width; first of the files with the top, then of those without.
_MD5S: dict[str, tuple[dict[float, str], dict[float, str]]] = {
    "small": (
        {1.0: "8768d4c2e7dee89b9d02b2d03d65d862", 0.75: "cb65d4e5be93758266aa0a7f2c6708b7"},
        {1.0: "d3e8ec802a04aa4fc771ee12a9a9b836", 0.75: "ebdb5cc8e0b497cd13a7c275d475c819"},
    ),
    "large": (
        {1.0: "59e551e166be033d707958cf9e29a6a7", 0.75: "765b44a33ad4005b3ac83185abf1d0eb"},
        {1.0: "07fb09a5933dd0c8eaafa16978110389", 0.75: "40af19a13ebea4e2ee0c676887f69a2e"},
    ),
}

SPECS = tuple(
    ModelSpec(
        name=f"mobilenetv3{size}",
        family="mobilenet_v3",
        keras_name=f"MobileNetV3{size.title()}",
        preprocessing="raw",
        default_input_size=224,
        min_input_size=32,
        parameters=parameters,
        multiply_adds=multiply_adds,
        depth=depth,
        size_mb=size_mb,
        top1=top1,
        top5=None,
        figures="https://keras.io/api/applications/mobilenet/",
        paper="https://arxiv.org/abs/1905.02244",
        weights=published(
            f"mobilenet_v3/weights_mobilenet_v3_{size}_224_{{alpha}}_float.h5",
            *_MD5S[size],
            no_top="_no_top_v2",
        ),
        weights_licence="Apache-2.0 (TensorFlow)",
        width=WidthOptions(
            alpha_codes={1.0: "1.0", 0.75: "0.75"},
            imagenet_sizes=(224,),
            fallback_size=224,
            parameters={0.75: narrower, 1.0: parameters},
        ),
        arguments={"alpha": "alpha", "dropout": "dropout_rate"},
    )
    for size, parameters, narrower, multiply_adds, depth, size_mb, top1 in (
        ("small", 2_554_968, 2_051_552, 56_510_400, 88, 9.7, 0.681),
        ("large", 5_507_432, 4_012_616, 216_589_760, 110, 21.0, 0.756),
    )
)
