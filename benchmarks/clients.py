"""Other people's programs on our files: agreement with our Session, and top-1.

MediaPipe Tasks' ImageClassifier and OpenVINO's Model API get paths alone. Each is compared with our
Session on the same pictures stretched as it stretches them (Pillow's bilinear for MediaPipe, cv2's
for Model API), and on our own resize and centre crop, which neither can follow. Writes
results/clients.json.

    python benchmarks/clients.py PYTHON_WITH_MEDIAPIPE PYTHON_WITH_MODEL_API
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgezoo.images import imagenet_classes
from edgezoo.images.preprocessing import find_images, load_pixels
from edgezoo.inference.predict import open_artifact, predict

SIZE = 160
NOT_SQUARE = 2
PROGRAMS = common.ROOT / "tests" / "support"
MIN_AGREEMENT = {"Model API": 0.98, "MediaPipe Tasks": 0.85}


def pictures() -> tuple[list[Path], list[int]]:
    """All validation pictures, which are square, and two others; with their classes."""
    order = {wnid: place for place, (wnid, _) in enumerate(imagenet_classes.classes())}
    paths = find_images(common.SHARED / "imagenet" / "val")
    for path in find_images(common.SHARED / "imagenet" / "calibration"):
        with Image.open(path) as opened:
            if opened.width != opened.height:
                paths.append(path)
        if paths[-NOT_SQUARE].parts[-3] == "calibration":
            break
    return paths, [order[path.parent.name] for path in paths]


def stretched(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        square = opened.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(square, np.uint8)


def ask(python: str, program: str, *arguments: str | Path) -> list[Any]:
    done = subprocess.run(
        [python, "-P", str(PROGRAMS / f"{program}.py"), *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{program} failed: {done.stderr[-2000:]}")
    answers: list[Any] = json.loads(done.stdout)
    return answers


def compare(
    client: str, file: Path, answers: list[Any], same: NDArray[np.uint8],
    cropped: NDArray[np.uint8], classes: list[int],
) -> dict[str, Any]:  # fmt: skip
    artifact, session = open_artifact(file)
    with session:
        contract = artifact.required_contract()
        ours = predict(session, contract, same)
        usual = predict(session, contract, cropped)
    given = np.array([answer[0] for answer in answers])
    clear = ours.max(1) > 0.97
    blank = "_" if client == "Model API" else " "
    return {
        "client": client,
        "precision": contract.precision,
        "images": len(given),
        "agreement_same_resize": round(float((given == ours.argmax(1)).mean()), 4),
        "agreement_our_crop": round(float((given == usual.argmax(1)).mean()), 4),
        "names": sum(
            contract.labels[index].replace(" ", blank) == name for index, name, _ in answers
        ),
        "least_score_of_clear": round(
            min(a[2] for a, c, o in zip(answers, clear, ours, strict=True)
                if c and a[0] == o.argmax()), 4),
        "top1_client": round(float((given == classes).mean()), 4),
        "top1_our_crop": round(float((usual.argmax(1) == classes).mean()), 4),
    }  # fmt: skip


def main(mediapipe: str, model_api: str) -> None:
    common.require_shared()
    paths, classes = pictures()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = common.measure(
            [*common.EDGEZOO, "export", "mobilenet", "--alpha", "0.5", "--input-size", str(SIZE),
             "--precision", "float32,int8", "--format", "tflite,openvino", "--no-verify",
             "--calibration", str(common.SHARED / "imagenet" / "calibration"),
             "--calibration-count", "100", "-o", name]
        )  # fmt: skip
        if made["exit"]:
            sys.exit(made["stderr"])
        listed, seen = folder / "pictures.json", folder / "stretched.npy"
        listed.write_text(json.dumps([str(path) for path in paths]))
        cropped = np.stack([load_pixels(path, SIZE) for path in paths])
        by_pillow = np.stack([stretched(path) for path in paths])
        for precision in ("float32", "int8"):
            stem = folder / f"mobilenet_0.5_{SIZE}_{precision}"
            file = stem.with_name(stem.name + ".xml")
            answers = ask(model_api, "ask_model_api", file, listed, str(SIZE), seen)
            rows.append(compare("Model API", file, answers, np.load(seen), cropped, classes))
            file = stem.with_name(stem.name + ".tflite")
            answers = ask(mediapipe, "ask_mediapipe", file, listed)
            rows.append(compare("MediaPipe Tasks", file, answers, by_pillow, cropped, classes))
    missed = [row for row in rows if row["agreement_same_resize"] < MIN_AGREEMENT[row["client"]]]
    print(common.save("clients", {"model": "mobilenet", "alpha": 0.5, "size": SIZE,
                                  "clients": rows, "missed": missed}))  # fmt: skip
    sys.exit(bool(missed))


if __name__ == "__main__":
    main(*sys.argv[1:])
