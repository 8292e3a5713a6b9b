"""Images, weights, folders and packages that are not what a command needs."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, Ended, Exported, Trained, environment, run_cli
from tests.support.foreign import strip_contract
from tests.support.hidden import SITECUSTOMIZE
from tests.support.processes import PATIENCE

SMALL = ("export", "mobilenet", "--alpha", "0.25", "--input-size", "32", "--format", "tflite")
INT8 = (*SMALL, "--weights", "random", "--int8")


def _images(folder: Path, good: int, bad: int) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(good):
        pixels = generator.integers(0, 256, (37, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"good{i:03}.png")
    for i in range(bad):
        (folder / f"bad{i:03}.jpg").write_bytes(b"\xff\xd8\xff\xe0 not an image")
    return folder


# Calibration images


def test_no_calibration_folder(tmp_path: Path, output: Path) -> None:
    message = run_cli(*INT8, "--calibration", tmp_path / "photos", "-o", output).error(5)
    assert str(tmp_path / "photos") in message and "synthetic" in message
    assert not output.exists()


def test_empty_calibration_folder(tmp_path: Path, output: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    message = run_cli(*INT8, "--calibration", tmp_path, "-o", output).error(5)
    assert str(tmp_path) in message and "no images" in message
    assert not output.exists()


def test_folder_of_non_images(tmp_path: Path, output: Path) -> None:
    folder = _images(tmp_path / "photos", 0, 12)
    message = run_cli(*INT8, "--calibration", folder, "-o", output).error(5)
    assert "12 of 12" in message and str(folder) in message
    assert not output.exists()


def test_a_fifth_unreadable(tmp_path: Path, output: Path) -> None:
    folder = _images(tmp_path / "photos", 40, 10)
    message = run_cli(*INT8, "--calibration", folder, "-o", output).error(5)
    assert "10 of 50" in message and "not readable" in message
    assert not output.exists()


def test_a_twentieth_unreadable_is_skipped_and_counted(tmp_path: Path, output: Path) -> None:
    folder = _images(tmp_path / "photos", 38, 2)
    ended = run_cli(*INT8, "--calibration", folder, "--no-verify", "-o", output, "--json")
    assert ended.code == 0, ended.stderr
    (entry,) = ended.json["artifacts"]
    metadata = entry["contract"]["calibration"]
    assert metadata["unreadable"] == 2
    assert metadata["count"] == 38
    assert any("2 unreadable" in text for text in ended.json["warnings"])
    assert any("fewer than 100" in text for text in ended.json["warnings"])
    assert "Warning: " in ended.stderr
    assert entry["trained"] is False and "untrained" in Path(entry["path"]).name


def test_calibration_array_of_another_kind(tmp_path: Path, output: Path) -> None:
    file = tmp_path / "pixels.npz"
    np.savez(file, np.zeros((4, 3, 32, 32)))
    message = run_cli(*INT8, "--calibration", file, "-o", output).error(5)
    assert "expected uint8" in message and "got float64" in message and "NCHW" in message
    assert not output.exists()


# Weights


def test_no_such_weights_file(tmp_path: Path, output: Path) -> None:
    message = run_cli(*SMALL, "--weights", tmp_path / "mine.h5", "-o", output).error(5)
    assert "mine.h5" in message
    assert "neither" in run_cli(*SMALL, "--weights", "imagnet", "-o", output).error(2)


def test_truncated_weights(tmp_path: Path, trained: Trained, output: Path) -> None:
    file = tmp_path / "half.h5"
    whole = trained.weights.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    message = run_cli(*SMALL, "--weights", file, "-o", output).error(5)
    assert str(file) in message and "damaged or truncated" in message
    assert not output.exists()


def test_file_without_weights(tmp_path: Path, output: Path) -> None:
    file = tmp_path / "page.h5"
    file.write_text("<html>404 not found</html>")
    message = run_cli(*SMALL, "--weights", file, "-o", output).error(5)
    assert str(file) in message and "HDF5" in message
    assert not output.exists()


def test_weights_of_another_width(trained: Trained, output: Path) -> None:
    ended = run_cli("export", "mobilenet", "--alpha", "0.5", "--input-size", "32", "--format",
                    "tflite", "--weights", trained.weights, "-o", output)  # fmt: skip
    message = ended.error(5)
    assert "conv1/kernel has the shape 3 x 3 x 3 x 8" in message and "3 x 3 x 3 x 16" in message
    assert "--alpha" in message
    assert not output.exists()


def test_weights_file_without_layers(tmp_path: Path, output: Path) -> None:
    import h5py

    file = tmp_path / "other.h5"
    with h5py.File(file, "w") as stream:
        stream["table"] = np.zeros(3)
    message = run_cli(*SMALL, "--weights", file, "-o", output).error(5)
    assert str(file) in message and "mobilenet" in message
    assert not output.exists()


def test_imagenet_weights_out_of_reach(tmp_path: Path, output: Path) -> None:
    """Which file, from where, to which place, and the ways out."""
    nowhere = "http://127.0.0.1:9"
    ended = run_cli("export", "mobilenet", "--alpha", "0.5", "--input-size", "160", "-o", output,
                    KERAS_HOME=str(tmp_path / "keras"), https_proxy=nowhere, HTTPS_PROXY=nowhere,
                    no_proxy="", NO_PROXY="")  # fmt: skip
    announced, _, rest = ended.stderr.partition("\n")
    assert announced.startswith("Fetching mobilenet_5_0_160_tf.h5 from https://")
    message = Ended(ended.code, ended.stdout, rest).error(5)
    assert "mobilenet_5_0_160_tf.h5" in message
    assert "https://storage.googleapis.com/" in message
    assert str(tmp_path / "keras" / "models") in message
    for way in ("--weights FILE", "KERAS_HOME", "EDGEZOO_MIRROR", "--weights random"):
        assert way in message
    assert not output.exists()
    left = [path for path in (tmp_path / "keras").rglob("*") if path.is_file()]
    assert left == [], "nothing half-fetched stays in Keras' cache"


# Places to write to


def _no_place(kind: str, tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_text("here already")
    return {"a file": file, "under a file": file / "made", "read-only": Path("/proc/made")}[kind]


@pytest.mark.parametrize("kind", ["a file", "under a file", "read-only"])
def test_output_folder_cannot_be_written(kind: str, tmp_path: Path) -> None:
    place = _no_place(kind, tmp_path)
    message = run_cli(*INT8, "-o", place).error(5)
    assert str(place) in message and "--output" in message
    assert (tmp_path / "file").read_text() == "here already"


def _limited(limit: int, *arguments: str | Path) -> Ended:
    """A command that cannot write files beyond a size, as where the disk is full."""
    ended = subprocess.run(
        [sys.executable, "-m", "edgezoo", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        # Nor could coverage.
        env=environment(PYTHONDONTWRITEBYTECODE="1", COVERAGE_PROCESS_START=""),
        timeout=PATIENCE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize(("limit", "extra"), [(200_000, ("--int8",)), (1_000_000, ())])
def test_full_disk(limit: int, extra: tuple[str, ...], output: Path) -> None:
    """Once at the stored images, once at the network's float form in a child process."""
    output.mkdir()
    (output / "mine.txt").write_text("keep")
    message = _limited(limit, *SMALL, "--weights", "random", *extra, "-o", output).error(5)
    assert "large" in message or "space" in message
    assert [path.name for path in output.iterdir()] == ["mine.txt"]


# Packages


def _without(packages: str, folder: Path, *arguments: str | Path) -> Ended:
    """A command on a machine where some packages are not installed."""
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return run_cli(*arguments, PYTHONPATH=f"{folder}:{ROOT}", EDGEZOO_HIDDEN_PACKAGES=packages)


@pytest.mark.parametrize(
    ("format", "package"),
    [("tflite", "tensorflow"), ("tflite", "litert_quantizer"), ("onnx", "tf2onnx"),
     ("onnx", "onnxruntime"), ("openvino", "nncf")],
)  # fmt: skip
def test_export_without_a_package(format: str, package: str, tmp_path: Path, output: Path) -> None:
    ended = _without(package, tmp_path, "export", "mobilenet", "--weights", "random", "--int8",
                     "--format", format, "-o", output)  # fmt: skip
    message = ended.error(4)
    assert package in message and format in message
    assert 'pip install "edgezoo[export]"' in message
    assert not output.exists()


@pytest.mark.parametrize(
    ("format", "packages", "extra"),
    [
        ("tflite", "ai_edge_litert,tflite_runtime,tensorflow", "tflite"),
        ("onnx", "onnxruntime", "onnx"),
        ("openvino", "openvino", "openvino"),
    ],
)
@pytest.mark.parametrize("command", ["classify", "inspect"])
def test_open_without_its_runtime(
    command: str, format: str, packages: str, extra: str, exported: Exported, tmp_path: Path
) -> None:
    images = [tmp_path / "a.png"] if command == "classify" else []
    for image in images:
        Image.new("RGB", (40, 40)).save(image)
    ended = _without(packages, tmp_path, command, exported.path(format, "int8"), *images)
    assert f'pip install "edgezoo[{extra}]"' in ended.error(4)


def test_classify_needs_one_runtime_alone(
    exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    """What a device has: numpy, Pillow, click and a TFLite runtime."""
    absent = "tensorflow,keras,onnx,onnxruntime,openvino,nncf,scipy,h5py,rich,requests," \
             "sklearn,tf2onnx,litert_quantizer,flatbuffers"  # fmt: skip
    image = next(iter(sorted(trained.test.rglob("*.png"))))
    ended = _without(absent, tmp_path, "classify", exported.path("tflite", "int8"), image,
                     "--json")  # fmt: skip
    assert ended.code == 0, ended.stderr
    (result,) = ended.json["results"]
    assert result["classes"][0]["index"] < 10
    plain = _without(absent, tmp_path, "list", "mobile")
    assert plain.code == 0 and "mobilenet" in plain.stdout


def test_verify_says_which_package_is_missing(
    exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    ended = _without("tensorflow,keras", tmp_path, "verify", exported.path("tflite", "float32"),
                     "--weights", trained.weights)  # fmt: skip
    assert 'pip install "edgezoo[export]"' in ended.error(4)


# Artifacts


@pytest.mark.parametrize("suffix", [".tflite", ".onnx", ".xml"])
@pytest.mark.parametrize("command", ["inspect", "classify"])
def test_damaged_artifact(command: str, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"photo{suffix}"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    file.with_suffix(".bin").write_bytes(bytes(100))
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    images = [tmp_path / "a.png"] if command == "classify" else []
    assert file.name in run_cli(command, file, *images).error(5)


def test_no_such_artifact(tmp_path: Path) -> None:
    assert "none.tflite" in run_cli("inspect", tmp_path / "none.tflite").error(5)


@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_file_of_another_tool(
    format: str, exported: Exported, trained: Trained, tmp_path: Path
) -> None:
    """Refused until its preprocessing is given; then it answers like our own."""
    own = exported.path(format, "float32")
    file = strip_contract(own, tmp_path)
    image = sorted(trained.test.rglob("*.png"))[0]
    message = run_cli("classify", file, image).error(5)
    assert "--preprocessing" in message
    assert "--preprocessing" in run_cli("classify", own, image, "--preprocessing", "tf").error(2)
    assert run_cli("inspect", file, "--json").json["contract"] is None


def test_damaged_image(exported: Exported, tmp_path: Path) -> None:
    image = tmp_path / "photo.jpg"
    image.write_bytes(b"\xff\xd8\xff\xe0 not an image")
    message = run_cli("classify", exported.path("onnx", "int8"), image).error(5)
    assert "photo.jpg" in message
    assert "nowhere.jpg" in run_cli(
        "classify", exported.path("onnx", "int8"), tmp_path / "nowhere.jpg"
    ).error(5)


def test_evaluate_without_labels(exported: Exported, tmp_path: Path) -> None:
    file = exported.path("tflite", "int8")
    assert "no folder" in run_cli("evaluate", file, "--images", tmp_path / "x").error(5)
    folder = _images(tmp_path / "flat", 3, 0)
    assert "--ground-truth" in run_cli("evaluate", file, "--images", folder).error(5)
    named = tmp_path / "named"
    named.mkdir()
    _images(named / "kittens", 2, 0)
    assert "kittens" in run_cli("evaluate", file, "--images", named).error(5)
