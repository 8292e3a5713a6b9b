"""What OpenVINO Model API's ClassificationModel says of pictures, told nothing but paths.

Runs in an environment with openvino-model-api alone: ask_model_api.py MODEL PICTURES.json SIZE
STRETCHED.npy prints a list of [index, name, score], and leaves the same pictures, stretched as the
client does it: uint8 RGB, shape (n, SIZE, SIZE, 3).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from model_api.models import ClassificationModel


def main(model: str, pictures: str, size: str, stretched: str) -> None:
    decoded = [cv2.imread(path) for path in json.loads(Path(pictures).read_text())]
    client = ClassificationModel.create_model(model)
    answers = []
    for picture in decoded:
        best = client(picture).top_labels[0]
        answers.append([int(best.id), best.name, float(best.confidence)])
    square = (int(size), int(size))
    turned = [cv2.resize(picture, square)[..., ::-1] for picture in decoded]
    np.save(stretched, np.stack(turned))
    print(json.dumps(answers))


main(*sys.argv[1:])
