"""Which weights file is looked for, by Keras' own names, and what is refused beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgezoo.core import registry
from edgezoo.core.errors import DataError, RefusedError, UsageError
from edgezoo.core.spec import BuildArguments, WeightsFile
from edgezoo.networks import weights

MOBILENET = registry.model("mobilenet")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty KERAS_HOME; every attempt to fetch is noted instead."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path / "cache"))  # no first-seen hashes
    return tmp_path


@pytest.fixture
def asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    calls: list[tuple[str, Path]] = []

    def note(url: str, path: Path, md5: str | None, model: str) -> None:
        calls.append((url, path))
        raise DataError("offline")

    monkeypatch.setattr(weights, "_download", note)
    return calls


@pytest.mark.parametrize(
    ("alpha", "size", "name"),
    [
        (1.0, 224, "mobilenet_1_0_224_tf.h5"),
        (0.75, 192, "mobilenet_7_5_192_tf.h5"),
        (0.5, 160, "mobilenet_5_0_160_tf.h5"),
        (0.25, 128, "mobilenet_2_5_128_tf.h5"),
        (0.25, 96, "mobilenet_2_5_224_tf.h5"),  # Keras takes those of 224 at other sizes
        (0.5, 299, "mobilenet_5_0_224_tf.h5"),
    ],
)
def test_mobilenet_names(
    asked: list[tuple[str, Path]], home: Path, alpha: float, size: int, name: str
) -> None:
    with pytest.raises(DataError):
        weights.locate(MOBILENET, BuildArguments(size, alpha=alpha), "imagenet")
    ((url, path),) = asked
    assert path == home / "models" / name
    assert url.startswith("https://") and url.endswith(f"/{name}")


def test_width_without_weights(asked: list[tuple[str, Path]]) -> None:
    with pytest.raises(RefusedError, match=r"0\.6") as caught:
        weights.locate(MOBILENET, BuildArguments(224, alpha=0.6), "imagenet")
    assert "0.25, 0.5, 0.75, 1" in caught.value.hint
    assert asked == []


def test_vgg_weights_fit_one_size(asked: list[tuple[str, Path]]) -> None:
    with pytest.raises(RefusedError, match="224"):
        weights.locate(registry.model("vgg16"), BuildArguments(160), "imagenet")
    assert asked == []


def _hdf5(path: Path) -> Path:
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2, 3]
    return path


def test_cached_file_is_used(asked: list[tuple[str, Path]], home: Path) -> None:
    file = _hdf5(home / "models" / "mobilenet_5_0_160_tf.h5")
    found = weights.locate(MOBILENET, BuildArguments(160, alpha=0.5), "imagenet")
    assert (found.source, found.path, found.note) == ("imagenet", file, None)
    assert found.sha256 and asked == []


def test_note_at_other_sizes(home: Path) -> None:
    _hdf5(home / "models" / "mobilenet_5_0_224_tf.h5")
    note = weights.locate(MOBILENET, BuildArguments(96, alpha=0.5), "imagenet").note
    assert note and "96 px" in note and "224 px" in note


def test_cached_file_with_another_hash(home: Path) -> None:
    published = registry.model("densenet121").weights
    assert isinstance(published, WeightsFile)
    _hdf5(home / "models" / published.name)
    with pytest.raises(DataError, match="MD5"):
        weights.locate(registry.model("densenet121"), BuildArguments(224), "imagenet")


def test_half_a_cached_file(home: Path) -> None:
    file = _hdf5(home / "models" / "mobilenet_5_0_160_tf.h5")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match="damaged or cut short"):
        weights.locate(MOBILENET, BuildArguments(160, alpha=0.5), "imagenet")


def test_random_and_files(home: Path, tmp_path: Path) -> None:
    assert weights.locate(MOBILENET, BuildArguments(160, alpha=0.5), "random").source == "random"
    file = _hdf5(tmp_path / "mine.h5")
    found = weights.locate(MOBILENET, BuildArguments(160, alpha=0.5), str(file))
    assert (found.source, found.path) == ("file", file)
    with pytest.raises(UsageError):
        weights.locate(MOBILENET, BuildArguments(160, alpha=0.5), "imagenets")
    with pytest.raises(DataError):
        weights.locate(MOBILENET, BuildArguments(160, alpha=0.5), str(tmp_path / "none.h5"))
    with pytest.raises(DataError):
        weights.locate(MOBILENET, BuildArguments(160, alpha=0.5), str(tmp_path))


def test_without_a_top_the_smaller_file_is_fetched(asked: list[tuple[str, Path]]) -> None:
    with pytest.raises(DataError):
        weights.locate(MOBILENET, BuildArguments(160, include_top=False, alpha=0.5), "imagenet")
    assert [path.name for _, path in asked] == ["mobilenet_5_0_160_tf_no_top.h5"]


def test_a_cached_file_with_a_top_serves_without_one(home: Path) -> None:
    _hdf5(home / "models" / "mobilenet_5_0_160_tf.h5")
    headless = BuildArguments(160, include_top=False, alpha=0.5)
    assert weights.locate(MOBILENET, headless, "imagenet").file == "mobilenet_5_0_160_tf.h5"
