#!/usr/bin/env python3
"""Classify images, with numpy, Pillow and one TFLite runtime.

    python3 classify.py IMAGE... [--model FILE.tflite] [--top N] [--threads N] [--json]

The model file contains its contract: size, crop, colours, normalisation and labels. `prepare`,
`open_interpreter` and `probabilities` may be called from your own program; to check that it feeds
the model the right input, run `selftest.py --using YOUR_PROGRAM.py`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

# Module with the Interpreter, and its package: the first one that is installed is used.
RUNTIMES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
    ("tensorflow.lite.python.interpreter", "tensorflow"),
)
Contract = dict[str, Any]  # JSON, as docs/schemas/contract.json describes it
Tensor = dict[str, Any]  # as get_input_details() and get_output_details() return it


# Control characters, ends of lines, changes of the direction of writing, and surrogates.
UNSEEN = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069"
    "\\ud800-\\udfff]"
)


def shown(text: object) -> str:
    """Escape a name for a line of a terminal: it may come from a stranger's file."""
    return UNSEEN.sub(lambda found: ascii(found[0])[1:-1], str(text))


def read_contract(model: Path) -> Contract:
    """Read what the model takes and returns: from the file itself, else FILE.contract.json."""
    try:
        with zipfile.ZipFile(model) as inside:
            contract: Contract = json.loads(inside.read("edgezoo_contract.json"))
            if "labels.txt" in inside.namelist():
                # Only a line feed ends a label, not what str.splitlines takes for a line as well.
                text = inside.read("labels.txt").decode().rstrip("\n")
                contract["labels"] = text.split("\n") if text else []
    except (zipfile.BadZipFile, KeyError):
        sidecar = model.with_suffix(".contract.json")
        if not sidecar.is_file():
            raise SystemExit(f"{model} has no contract, and {sidecar} does not exist.") from None
        contract = json.loads(sidecar.read_text(encoding="utf-8"))
    return contract


def open_interpreter(model: Path, threads: int = 1) -> tuple[Any, str]:
    """Open the model; return it with the name of the package that runs it."""
    for module, package in RUNTIMES:
        try:
            interpreter_class = importlib.import_module(module).Interpreter
        except ModuleNotFoundError:
            continue
        try:
            interpreter = interpreter_class(model_path=str(model), num_threads=threads)
        except (AttributeError, SystemError) as error:  # an extension for numpy 1 meets numpy 2
            if "_ARRAY_API" not in str(error) and not isinstance(error.__cause__, ImportError):
                raise
            raise SystemExit(f'{package} was built for numpy 1: pip install "numpy<2".') from None
        interpreter.allocate_tensors()
        return interpreter, package
    raise SystemExit("No TFLite runtime is installed: pip install -r requirements.txt")


def require_packages() -> None:
    """Exit with instructions where a required package is missing."""
    for module, package in (("numpy", "numpy"), ("PIL", "pillow")):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:
            raise SystemExit(f"{package} is not installed: pip install numpy pillow") from None


def decode(path: Path) -> Any:
    """Read an image, upright, as RGB; of 16-bit grey the upper 8 bits."""
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # Opened by name instead of as a stream, rotated grey TIFFs come out garbled.
        with path.open("rb") as stream, Image.open(stream) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16") or (image.mode, opened.format) == ("I", "PNG"):
                # Pillow would clip them to 255.
                grey = (np.asarray(image.convert("I")) >> 8).astype(np.uint8)
                image = Image.fromarray(grey)
            elif image.mode in ("I", "F"):
                raise ValueError("the range of its 32-bit pixels is not known")
            return image.convert("RGB")
    except Exception as error:  # decoders raise whatever a damaged file leads to
        unknown = isinstance(error, UnidentifiedImageError)
        reason = str(error).rstrip(".") or type(error).__name__
        reason = "its format is unknown" if unknown else reason
        raise ValueError(f"{path} is not a readable image: {reason}.") from error


def frame(contract: Contract) -> tuple[int, int, int]:
    """Return height, width and channels of the input: 3 for RGB, 1 for grey."""
    height = int(contract["input_size"])
    return height, int(contract.get("input_width") or height), int(contract.get("channels") or 3)


def scaled(contract: Contract, size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height to which an image of another size is resized."""
    height, width, _ = frame(contract)
    mode = contract["resize"].get("mode")
    if mode == "stretch":
        return width, height
    if mode == "fit":
        scale = min(width / size[0], height / size[1])
        fitted = min(width, round(size[0] * scale)), min(height, round(size[1] * scale))
        return max(1, fitted[0]), max(1, fitted[1])
    across, down = (round(side / contract["crop_fraction"]) for side in (width, height))
    scale = max(across / size[0], down / size[1])
    return max(across, round(size[0] * scale)), max(down, round(size[1] * scale))


def load_pixels(path: Path, contract: Contract) -> Any:
    """Decode, rotate upright, resize and crop: values 0 to 255, uint8 (height, width, channels).

    An image that has the right height and width already is left as it is.
    """
    import numpy as np
    from PIL import Image

    height, width, channels = frame(contract)
    image = decode(path)
    if channels == 1:
        image = image.convert("L")
    if image.size != (width, height):
        resample = Image.Resampling[contract["resize"]["filter"].upper()]
        image = image.resize(scaled(contract, image.size), resample)
        left, top = (image.size[0] - width) // 2, (image.size[1] - height) // 2
        # Beyond its edges an image is black.
        image = image.crop((left, top, left + width, top + height))
    return np.asarray(image, np.uint8).reshape(height, width, channels)


def to_input(pixels: Any, contract: Contract, tensor: Tensor) -> Any:
    """Convert pixels to the type, range and layout of the input tensor, shape (1, ...)."""
    import numpy as np

    dtype: Any = np.dtype(tensor["dtype"])
    if contract["input_kind"] == "normalized":
        how = contract["normalization"]
        source = pixels[..., ::-1] if how["channel_order"] == "BGR" else pixels
        values = source.astype(np.float32) * np.float32(how["scale"]) + np.float32(how["offset"])
        scale, zero_point = tensor["quantization"]
        if dtype.kind in "iu" and scale:
            limits = np.iinfo(dtype)
            values = np.clip(np.rint(values / float(scale)) + zero_point, limits.min, limits.max)
    elif dtype == np.int8:
        values = pixels.astype(np.int16) - 128
    else:
        values = pixels
    if contract["layout"] == "NCHW":
        values = np.moveaxis(values, -1, 0)
    return np.ascontiguousarray(values[None].astype(dtype))


def prepare(path: Path, contract: Contract, tensor: Tensor) -> Any:
    """Return the input for one image; `tensor` is get_input_details()[0]."""
    return to_input(load_pixels(path, contract), contract, tensor)


def input_of(interpreter: Any, contract: Contract) -> Tensor:
    """Return the input tensor; one of any height and width gets those of the contract."""
    tensor: Tensor = interpreter.get_input_details()[0]
    if any(int(side) < 0 for side in list(tensor.get("shape_signature", ()))[1:]):
        height, width, channels = frame(contract)
        nchw = contract["layout"] == "NCHW"
        shape = [1, channels, height, width] if nchw else [1, height, width, channels]
        interpreter.resize_tensor_input(tensor["index"], shape)
        interpreter.allocate_tensors()
    return tensor


def output_of(interpreter: Any, contract: Contract) -> Tensor:
    """Return the output tensor, the one of the contract where there are several."""
    tensors: list[Tensor] = interpreter.get_output_details()
    name = contract.get("output_name")
    return next((tensor for tensor in tensors if tensor["name"] == name), tensors[0])


def run(interpreter: Any, values: Any, tensor: Tensor | None = None) -> Any:
    """Run one input; return the raw output, shape (values,), in the type of its tensor."""
    import numpy as np

    tensor = tensor or interpreter.get_output_details()[0]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(tensor["index"])).reshape(-1)


def probabilities(raw: Any, contract: Contract, tensor: Tensor) -> Any:
    """Return the probability of each class; `tensor` is `output_of(interpreter, contract)`."""
    import numpy as np

    values = raw.astype(np.float32)
    scale, zero_point = tensor["quantization"]
    if scale:
        values = (values - np.float32(zero_point)) * np.float32(scale)
    head = contract.get("head")
    single = head in ("sigmoid", "sigmoid-logits") and contract["output_shape"] == [1]
    if not single and len(values) == contract["classes"] + 1:
        values = values[1:]  # the first one is the background
    if head == "logits":
        powers = np.exp(values.astype(np.float64) - values.max())
        values = (powers / powers.sum()).astype(np.float32)
    elif head == "sigmoid-logits":
        values = (0.5 * (1 + np.tanh(0.5 * values.astype(np.float64)))).astype(np.float32)
    # One value is the probability of the second of two classes.
    return np.concatenate([1 - values, values]) if single else values


def classify(model: Path, images: list[Path], top: int, threads: int) -> dict[str, Any]:
    """Return the best classes of each image, as JSON."""
    import numpy as np

    contract = read_contract(model)
    interpreter, runtime = open_interpreter(model, threads)
    taken, given = input_of(interpreter, contract), output_of(interpreter, contract)
    labels = contract.get("labels") or []
    results = []
    for image in images:
        raw = run(interpreter, prepare(image, contract, taken), given)
        scores = probabilities(raw, contract, given)
        best = [int(i) for i in np.argsort(-scores, kind="stable")[:top]]
        classes = [
            {
                "index": i,
                "label": labels[i] if i < len(labels) else f"class {i}",
                "probability": float(scores[i]),
            }
            for i in best
        ]
        results.append({"image": str(image), "classes": classes})
    return {"artifact": str(model), "runtime": runtime, "results": results}


def only_model(folder: Path) -> Path:
    """Return the one .tflite file of a folder."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".tflite")
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise SystemExit(f"Choose a model with --model: {folder} has {names}.")
    return found[0]


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Classify images.")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument("--model", type=Path, metavar="FILE", help="default: next to this program")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="classes to print")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    require_packages()
    model = asked.model or only_model(Path(__file__).resolve().parent)
    for path in (model, *asked.images):
        if not path.is_file():
            raise SystemExit(f"{shown(path)} is not a file.")
    try:
        facts = classify(model, asked.images, max(1, asked.top), asked.threads)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise SystemExit(f"Error: {shown(error)}") from None
    if asked.json:
        print(json.dumps(facts, indent=1))
        return 0
    for result in facts["results"]:
        print(shown(result["image"]))
        for entry in result["classes"]:
            print(f"  {entry['probability']:.3f}  {shown(entry['label'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
