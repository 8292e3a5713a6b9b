"""Inception v3: factorized convolutions in parallel branches.

C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, CVPR 2016.
"""

from __future__ import annotations

from edgezoo.core.spec import ModelSpec
from edgezoo.models._published import published

_FILE = "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels.h5"

SPECS = (
    ModelSpec(
        name="inceptionv3",
        family="inception_v3",
        keras_name="InceptionV3",
        preprocessing="tf",
        default_input_size=299,
        min_input_size=75,
        parameters=23_851_784,
        multiply_adds=5_713_216_096,
        depth=189,
        size_mb=92.0,
        top1=0.779,
        top5=0.937,
        paper="https://arxiv.org/abs/1512.00567",
        weights=published(
            _FILE, "9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63"
        ),
        weights_licence="Apache-2.0 (TensorFlow)",
    ),
)
