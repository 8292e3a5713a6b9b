"""One int8 .tflite file on several kernels: how far apart its answers are.

LiteRT's default kernels (XNNPACK) on this CPU are held against those on an emulated Raspberry Pi 4
and on a GPU (SwiftShader, where there is none), and against TFLite's reference kernels; these are
held against those of the Pi and of TFLite Micro. So are files by hand: TensorFlow's documented
conversion with 100 calibration images, a batch of one and int8 at the border. Answers have 256
steps of probability. Needs qemu-user-static, mmdebstrap and Vulkan (chromium-common and libvulkan1
bring SwiftShader). Writes results/kernels.json and exits 1 where a bound does not hold.

    python benchmarks/kernels.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

MODELS = ((0.25, 224), (0.5, 160))
IMAGES, OF_SLOW_KERNELS, OF_SLOW_PI = 650, 100, 10
SWIFTSHADER = "/usr/lib/chromium/vk_swiftshader_icd.json"
SCRIPT = common.ROOT / "docs" / "examples" / "raspberry_pi.py"
CHILD = Path(__file__).with_name("_kernel_outputs.py")
# (kernels, held against, how many images)
PAIRS = (
    ("pi", "default", IMAGES),
    ("pi reference", "reference", OF_SLOW_PI),
    ("gpu", "default", OF_SLOW_KERNELS),
    ("reference", "default", OF_SLOW_KERNELS),
    ("tflite_micro", "reference", OF_SLOW_KERNELS),
)
SAME_BITS = ("pi", "pi reference", "tflite_micro")
GPU_STEPS = 4


def pixels(size: int, path: Path) -> None:
    """All validation images, evenly mixed, so that the first are a sample of all."""
    from edgezoo.images.preprocessing import find_images, load_pixels

    paths = find_images(common.SHARED / "imagenet" / "val")
    mixed = [path for start in range(13) for path in paths[start::13]]
    np.save(path, np.stack([load_pixels(one, size) for one in mixed[:IMAGES]]))


def export(alpha: float, size: int, folder: Path) -> Path:
    """EdgeZoo's file."""
    done = common.measure(
        [*common.EDGEZOO, "export", "mobilenet", "--alpha", str(alpha), "--input-size", str(size),
         "--int8", "--format", "tflite", "--calibration-count", "100", "--no-verify",
         "--calibration", str(common.SHARED / "imagenet" / "calibration"), "-o", str(folder)]
    )  # fmt: skip
    if done["exit"]:
        sys.exit(done["stderr"])
    (path,) = folder.glob("*.tflite")
    return path


def by_hand(alpha: float, size: int, path: Path) -> Path:
    """TensorFlow's documented conversion, in a process of its own."""
    command = [sys.executable, __file__, "--by-hand", str(path), str(alpha), str(size)]
    subprocess.run(command, check=True, capture_output=True, env=common.keras_environment())
    return path


def convert(path: Path, alpha: float, size: int) -> None:
    """Write the file by hand."""
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from edgezoo.images.preprocessing import find_images, load_pixels

    images = find_images(common.SHARED / "imagenet" / "calibration")
    chosen = [load_pixels(one, size) for one in images[:: len(images) // 100][:100]]
    network = keras.applications.MobileNet(input_shape=(size, size, 3), alpha=alpha)
    taken = tf.TensorSpec((1, size, size, 3), tf.float32)  # LiteRT's GPU takes no open batch axis
    traced = tf.function(lambda x: network(x, training=False)).get_concrete_function(taken)
    frozen = convert_variables_to_constants_v2(traced)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [one[None].astype(np.float32) / 127.5 - 1] for one in chosen
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())


def outputs(kernels: str, count: int, file: Path, batch: Path, pi: Path) -> np.ndarray:
    """Raw answers [count, classes] of one set of kernels."""
    python = pi if kernels.startswith("pi") else Path(sys.executable)
    name = {"pi": "default", "pi reference": "reference"}.get(kernels, kernels)
    target = file.with_suffix(f".{kernels.replace(' ', '-')}.npy")
    env = {**os.environ, "PYTHONPATH": str(common.ROOT)}
    if kernels == "gpu" and Path(SWIFTSHADER).exists():
        env |= {"VK_DRIVER_FILES": SWIFTSHADER, "VK_ICD_FILENAMES": SWIFTSHADER,
                "XDG_RUNTIME_DIR": str(file.parent)}  # fmt: skip
    command: list[str | Path] = [python, CHILD, file, batch, name, str(count), target]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{kernels}: {done.stderr[-2000:]}")
    answers: np.ndarray = np.load(target)
    return answers


def apart(ours: np.ndarray, others: np.ndarray) -> dict[str, Any]:
    """How far two sets of answers are from each other, in steps of the output."""
    steps = np.abs(ours.astype(int) - others.astype(int))
    largest = steps.max(axis=1)
    return {
        "images": len(ours),
        "identical": int((largest == 0).sum()),
        "within_1": int((largest <= 1).sum()),
        "within_4": int((largest <= GPU_STEPS).sum()),
        "largest": int(largest.max()),
        "bytes_within_4": round(float((steps <= GPU_STEPS).mean()), 6),
        "same_top1": int((ours.argmax(1) == others.argmax(1)).sum()),
    }


def compare(file: Path, batch: Path, pi: Path) -> dict[str, Any]:
    """All pairs of kernels of one file."""
    most = {"default": IMAGES, "reference": OF_SLOW_KERNELS}
    base = {name: outputs(name, count, file, batch, pi) for name, count in most.items()}
    found = {}
    for kernels, against, count in PAIRS:
        known = base.get(kernels)
        ours = outputs(kernels, count, file, batch, pi) if known is None else known[:count]
        found[f"{kernels} / {against}"] = apart(ours, base[against][: len(ours)])
        print(file.name, kernels, against, found[f"{kernels} / {against}"], flush=True)
    return found


def failures(model: dict[str, Any]) -> list[str]:
    """Bounds of EdgeZoo's files that do not hold, in words."""
    name, missed = f"mobilenet {model['alpha']}/{model['size']}", []
    for pair, facts in model["edgezoo"].items():
        kernels = pair.partition(" / ")[0]
        if kernels in SAME_BITS and facts["identical"] < facts["images"]:
            missed.append(f"{name} {pair}: {facts['identical']} of {facts['images']} identical")
        if kernels == "gpu" and facts["within_4"] < facts["images"]:
            missed.append(f"{name} {pair}: {facts['within_4']} of {facts['images']} within 4 steps")
    return missed


def main() -> int:
    if sys.argv[1:2] == ["--by-hand"]:
        convert(Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
        return 0
    common.require_shared()
    models = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subprocess.run([sys.executable, SCRIPT, folder / "pi", "--board", "pi4"], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        for alpha, size in MODELS:
            place = folder / f"{alpha}-{size}"
            place.mkdir()
            pixels(size, place / "pixels.npy")
            sides = {
                "edgezoo": export(alpha, size, place / "edgezoo"),
                "by_hand": by_hand(alpha, size, place / "hand.tflite"),
            }
            pi = folder / "pi" / "bin" / "pi4"
            facts = {side: compare(file, place / "pixels.npy", pi) for side, file in sides.items()}
            models.append({"alpha": alpha, "size": size, **facts})
    missed = [line for model in models for line in failures(model)]
    path = common.save("kernels", {"models": models, "missed": missed})
    print(f"{path.relative_to(common.ROOT)}: {missed or 'all bounds hold'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
