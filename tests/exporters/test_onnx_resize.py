"""A file that resizes by itself does what `preprocessing.load_pixels` does with Pillow."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper
from PIL import Image

from edgezoo.core.artifact import InputContract, WeightsRecord
from edgezoo.core.spec import Resize
from edgezoo.exporters import _onnx_resize
from edgezoo.images.preprocessing import load_pixels
from tests.conftest import Ended, Trained, run_cli

SIZES = [
    (227, 227),
    (500, 375),
    (375, 500),
    (640, 360),
    (183, 183),
    (96, 64),
    (160, 1000),
    (33, 90),
]


def _image(size: tuple[int, int]) -> Image.Image:
    """Detail at several scales, as photographs have."""
    draw = np.random.default_rng(size[0])
    values = np.zeros((size[1], size[0], 3))
    for cells in (3, 17, 60):
        coarse = draw.integers(0, 256, (cells, cells, 3)).astype(np.uint8)
        values += np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)) / 3
    return Image.fromarray(values.astype(np.uint8))


def _identity(resize: Resize, size: int) -> onnx.ModelProto:
    """A network that gives back what it takes, behind the resize."""
    border = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, size, size, 3])
              for name in ("image", "same")]  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["same"])], "g", [border[0]], [border[1]]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    contract = InputContract(
        "m", "float32", size, "tf", WeightsRecord("random", ""), 2,
        crop_fraction=resize.crop_fraction, resize_filter=resize.filter,
    )  # fmt: skip
    _onnx_resize.embed(model, contract)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_identity(path: Path) -> None:
    """Such a network as a file, for others that need one."""
    onnx.save(_identity(Resize(), 32), str(path))


@pytest.mark.parametrize(
    ("resize", "size"),
    [(Resize(), 160), (Resize(), 224), (Resize(1.0), 96), (Resize(0.875, "bicubic"), 160)],
)
def test_equals_pillow(resize: Resize, size: int) -> None:
    session = onnxruntime.InferenceSession(_identity(resize, size).SerializeToString())
    for shape in SIZES:
        image = _image(shape)
        stream = io.BytesIO()
        image.save(stream, "PNG")
        wanted = load_pixels(stream, size, resize).astype(int)
        given: NDArray[np.float32] = session.run(None, {"image": np.asarray(image)[None]})[0]
        difference = np.abs(given[0] - wanted)
        # Of very long images Pillow resizes the other axis first, and rounds in between.
        assert difference.max() <= (max(shape) > 5 * min(shape)), shape


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Path:
    folder = tmp_path_factory.mktemp("resizes")
    ended = run_cli("export", *trained.options, "--precision", "float32,int8", "--embed-resize",
                    "--format", "onnx", "-o", folder, "--json")  # fmt: skip
    assert ended.code == 0, ended.stderr
    (folder / "export.json").write_text(ended.stdout)
    return folder


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_file_classifies_a_decoded_image(made: Path, trained: Trained, precision: str) -> None:
    """A plain session and a decoder: nothing else."""
    path = made / f"mobilenet_0.25_32_{precision}_resizes.onnx"
    session = onnxruntime.InferenceSession(path)
    (border,) = session.get_inputs()
    assert (border.type, border.shape) == ("tensor(uint8)", [1, "height", "width", 3])
    labels = session.get_modelmeta().custom_metadata_map["labels"].splitlines()
    assert len(labels) == 1000
    right = 0
    images = sorted(trained.test.rglob("*.png"))[::12]
    folders = sorted({path.parent.name for path in trained.test.rglob("*.png")})
    for image in images:
        with Image.open(image) as opened:
            larger = opened.convert("RGB").resize((111, 111), Image.Resampling.BICUBIC)
        best = session.run(None, {"image": np.asarray(larger)[None]})[0].argmax()
        right += int(best) == folders.index(image.parent.name)
    assert right / len(images) > 0.8


def test_commands_take_such_files(made: Path, cli: Callable[..., Ended], trained: Trained) -> None:
    entries = json.loads((made / "export.json").read_text())["artifacts"]
    assert [entry["input"]["shape"] for entry in entries] == [[1, -1, -1, 3]] * 2
    assert all(entry["verification"]["verdict"] == "passed" for entry in entries)
    path = made / "mobilenet_0.25_32_int8_resizes.onnx"
    facts = cli("inspect", path, "--json").json
    assert facts["contract"]["resizes"] is True
    scored = cli("evaluate", path, "--images", trained.test, "--limit", "50", "--json").json
    assert scored["results"][0]["top1"] > 0.8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--format", "tflite"), "only ONNX files"),
        (("--format", "openvino"), "only ONNX files"),
        (("--format", "onnx", "--input", "normalized"), "takes pixels"),
        (("--format", "onnx", "--int8", "--io", "float32"), "takes uint8 images"),
    ],
)
def test_refused(cli: Callable[..., Ended], options: tuple[str, ...], words: str) -> None:
    ended = cli("export", "mobilenet", "--weights", "random", "--dry-run", "--embed-resize",
                *options)  # fmt: skip
    assert words in ended.error(3)
