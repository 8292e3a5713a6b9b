"""What MediaPipe Tasks' ImageClassifier says of pictures, told nothing but paths.

Runs in an environment with mediapipe alone: ask_mediapipe.py MODEL PICTURES.json prints a list of
[index, name, score]. PICTURES.json is a list of paths.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mediapipe as mp


def main(model: str, pictures: str) -> None:
    answers = []
    with mp.tasks.vision.ImageClassifier.create_from_model_path(model) as classifier:
        for path in json.loads(Path(pictures).read_text()):
            result = classifier.classify(mp.Image.create_from_file(path))
            best = result.classifications[0].categories[0]
            answers.append([best.index, best.category_name, best.score])
    print(json.dumps(answers))


main(*sys.argv[1:])
