"""The command line that the examples of Keras Applications share."""

from __future__ import annotations

import argparse
from pathlib import Path


def parse(about: str, size: int) -> argparse.Namespace:
    """Read the arguments of an example.

    Args:
        about: its docstring.
        size: height and width of the network's input, by default.

    Returns:
        `image`, `weights`, `input_size`, `format` and `output`.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("image", type=Path, help="a photograph")
    parser.add_argument(
        "--weights", default="imagenet", help="imagenet (default), random (untrained) or a file"
    )
    parser.add_argument("--input-size", type=int, default=size, metavar="PX")
    parser.add_argument("--format", default="all", help="tflite, onnx, openvino or all (default)")
    parser.add_argument("-o", "--output", type=Path, default=Path("exported"), metavar="DIR")
    return parser.parse_args()
