"""MediaPipe Tasks and OpenVINO's Model API classify with our files, told nothing but paths.

Their resizes are their own: both stretch to a square and cut nothing out. So they are compared
with our Session on stretched pictures, not with our usual resize and crop.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgezoo.inference.predict import open_artifact, predict
from tests.clients.conftest import SIZE, UNTRAINED, UNTRAINED_SIZE, Pictures
from tests.support.client_env import Client

pytestmark = pytest.mark.imagenet
FileOf = Callable[[str, str], Path]
each_precision = pytest.mark.parametrize("precision", ["float32", "int8"])
# Of 102. Model API stretches as cv2 does, exactly; MediaPipe by a kernel of its own, on which
# 93 and 91 answers were those of Pillow's.
MODEL_API, MEDIAPIPE = 100, 87
CLEAR = 0.97


def _ours(file: Path, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    artifact, session = open_artifact(file)
    with session:
        contract = artifact.required_contract()
        return predict(session, contract, pixels), contract.labels


def _agreement(answers: list[Any], ours: NDArray[np.float32]) -> int:
    return sum(index == best for (index, *_), best in zip(answers, ours.argmax(1), strict=True))


def _model_api(client: Client, file: Path, given: Pictures, size: int, folder: Path) -> Any:
    """The client's answers, and the pictures as it stretched them."""
    stretched = folder / "stretched.npy"
    answers = client.ask("ask_model_api", file, given.listed, str(size), stretched)
    return answers, np.load(stretched)


def _check_names(answers: list[Any], labels: tuple[str, ...], blank: str) -> None:
    assert [name for _, name, _ in answers] == [
        labels[index].replace(" ", blank) for index, _, _ in answers
    ]


def _check_clear(answers: list[Any], ours: NDArray[np.float32]) -> None:
    """A softmax of the softmax would make 0.003 of it."""
    clear = np.flatnonzero(ours.max(1) > CLEAR)
    assert len(clear) >= 5
    assert all(answers[place][2] > 0.9 for place in clear)


@each_precision
def test_model_api(
    model_api: Client, file_of: FileOf, pictures: Pictures, precision: str, tmp_path: Path
) -> None:
    file = file_of(precision, ".xml")
    answers, stretched = _model_api(model_api, file, pictures, SIZE, tmp_path)
    ours, labels = _ours(file, stretched)
    assert _agreement(answers, ours) >= MODEL_API
    _check_names(answers, labels, "_")
    _check_clear(answers, ours)


@each_precision
def test_mediapipe(mediapipe: Client, file_of: FileOf, pictures: Pictures, precision: str) -> None:
    file = file_of(precision, ".tflite")
    answers = mediapipe.ask("ask_mediapipe", file, pictures.listed)
    ours, labels = _ours(file, pictures.stretched(SIZE))
    assert _agreement(answers, ours) >= MEDIAPIPE
    _check_names(answers, labels, " ")
    both = [n for n, answer in enumerate(answers) if answer[0] == ours[n].argmax()]
    _check_clear([answers[n] for n in both], ours[both])


@pytest.mark.slow
@pytest.mark.parametrize("model", UNTRAINED)
def test_other_normalizations(
    model_api: Client,
    mediapipe: Client,
    untrained: FileOf,
    squares: Pictures,
    model: str,
    tmp_path: Path,
) -> None:
    """BGR minus mean, and mean with standard deviation: both are in the file."""
    file = untrained(model, ".xml")
    answers, pixels = _model_api(model_api, file, squares, UNTRAINED_SIZE, tmp_path)
    ours, labels = _ours(file, pixels)
    assert len(set(ours.argmax(1))) > 30, "a network that tells pictures apart"
    assert _agreement(answers, ours) >= MODEL_API
    answers = mediapipe.ask("ask_mediapipe", untrained(model, ".tflite"), squares.listed)
    assert _agreement(answers, ours) >= MODEL_API
    _check_names(answers, labels, " ")
    swapped, _ = _ours(file, np.ascontiguousarray(pixels[..., ::-1]))
    assert _agreement(answers, swapped) < 60, "swapped channels would be noticed"


def _without(file: Path, key: str, folder: Path) -> Path:
    """A copy of an .xml without one key of model_info."""
    shutil.copy(file.with_suffix(".bin"), folder)
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if f"<{key} " not in line]
    assert len(kept) == len(lines) - 1
    (folder / file.name).write_text("".join(kept))
    return folder / file.name


def test_model_api_needs_the_channel_order(
    model_api: Client, file_of: FileOf, pictures: Pictures, tmp_path: Path
) -> None:
    spoilt = _without(file_of("float32", ".xml"), "reverse_input_channels", tmp_path)
    answers, stretched = _model_api(model_api, spoilt, pictures, SIZE, tmp_path)
    assert _agreement(answers, _ours(spoilt, stretched)[0]) < 0.9 * MODEL_API


def test_model_api_needs_the_labels(
    model_api: Client, file_of: FileOf, pictures: Pictures, tmp_path: Path
) -> None:
    spoilt = _without(file_of("float32", ".xml"), "labels", tmp_path)
    answers, _ = _model_api(model_api, spoilt, pictures, SIZE, tmp_path)
    assert not any(name for _, name, _ in answers if str(name).isalpha())


def test_mediapipe_needs_metadata(
    mediapipe: Client, file_of: FileOf, pictures: Pictures, tmp_path: Path
) -> None:
    from edgezoo.exporters._tflite_metadata import NAME
    from edgezoo.formats import tflite_flatbuffer

    spoilt = tmp_path / "spoilt.tflite"
    for precision, said in (("float32", "NormalizationOptions"), ("int8", "")):
        model = tflite_flatbuffer.read_model(file_of(precision, ".tflite"))
        tflite_flatbuffer.remove_metadata(model, NAME)
        tflite_flatbuffer.write_model(model, spoilt)
        ended = mediapipe.run("ask_mediapipe", spoilt, pictures.listed)
        if said:
            assert ended.returncode and said in ended.stderr
        else:
            assert '""' in ended.stdout or "null" in ended.stdout, "answers without names"


@each_precision
def test_old_runtimes_open_the_files(
    old: Client, file_of: FileOf, pictures: Pictures, precision: str, tmp_path: Path
) -> None:
    """tflite-runtime 2.14 and the oldest onnxruntime at hand answer as the new ones do."""
    pixels = pictures.stretched(SIZE)[:40]
    for suffix in (".tflite", ".onnx"):
        file = file_of(precision, suffix)
        np.save(tmp_path / "pixels.npy", pixels.astype("uint8" if precision == "int8" else "f4"))
        answers = old.ask("ask_old_runtimes", file, tmp_path / "pixels.npy")
        ours, _ = _ours(file, pixels)
        same = sum(a == b for a, b in zip(answers, ours.argmax(1), strict=True))
        assert same >= (38 if precision == "int8" else 40), suffix
