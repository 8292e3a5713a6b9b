"""Damaged weights are found out, by what is known of them, before anything uses them."""

from __future__ import annotations

import hashlib
import random
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgezoo.core import registry
from edgezoo.core.errors import DataError
from edgezoo.core.spec import BuildArguments, ModelSpec, WeightsFile
from edgezoo.networks import weights
from edgezoo.system import downloads
from edgezoo.system.downloads import Timeouts, seen
from tests.support.file_server import HTML, Fault, FileServer

MODEL = registry.model("resnet50")
ARGUMENTS = BuildArguments(MODEL.default_input_size)
ROUNDS = 100

# How much is known of a file beforehand, and what cannot be found out with so little: bits that
# flip in an array of numbers leave a whole HDF5 file.
KNOWN = {
    "published": (),
    "first seen": (),
    "sent along": (),
    "nothing": ("flipped", "zeroed", "lengthened", "exchanged"),
}


def _hdf5(path: Path, seed: int) -> bytes:
    import h5py
    import numpy as np

    with h5py.File(path, "w") as file:
        file["kernel"] = np.random.default_rng(seed).normal(size=(40, 40)).astype(np.float32)
    return path.read_bytes()


def _flip(data: bytes, chance: random.Random) -> bytes:
    altered = bytearray(data)
    for place in chance.sample(range(len(data)), chance.randint(1, 4)):
        altered[place] ^= 1 << chance.randrange(8)
    return bytes(altered)


def _zero(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) // 2)
    middle = data[start : start + 512]
    return data[:start] + (bytes(512) if any(middle) else b"x" * 512) + data[start + 512 :]


def _damage(
    kind: str, data: bytes, other: bytes, chance: random.Random
) -> Callable[[bytes], bytes] | int:
    """What is served instead of the data; a number of bytes after which the connection closes."""
    place = chance.randrange(1, len(data))
    made: dict[str, bytes | int] = {
        "cut": place,
        "shortened": data[:place],
        "empty": b"",
        "web page": HTML,
        "error text": b'{"error": "quota exceeded"}',
        "flipped": _flip(data, chance),
        "zeroed": _zero(data, chance),
        "lengthened": data + chance.randbytes(place),
        "exchanged": other,
    }
    served = made[kind]
    return served if isinstance(served, int) else lambda _: served


def _spec(site: FileServer, name: str, md5: str | None) -> ModelSpec:
    return replace(MODEL, weights=WeightsFile(name, f"{site.address}/{name}", md5))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = Timeouts(timeout_s=10, attempts=2, pause_s=0)
    monkeypatch.setattr(downloads.Timeouts, "from_environment", lambda: timeout)


def _message(spec: ModelSpec) -> str:
    """Of the error that comes instead of the weights; empty where the weights come."""
    try:
        weights.locate(spec, ARGUMENTS, "imagenet")
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.usefixtures("quick")
def test_every_damage_is_found(
    site: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred downloads that go wrong at random; after each the sound file still comes."""
    data, other = (_hdf5(tmp_path / "made.h5", seed) for seed in (1, 2))
    md5 = hashlib.md5(data)
    chance = random.Random(20)
    kinds = ("cut", "shortened", "empty", "web page", "error text",
             "flipped", "zeroed", "lengthened", "exchanged")  # fmt: skip
    undetected = []
    for number in range(ROUNDS):
        known = chance.choice(list(KNOWN))
        kind = chance.choice([kind for kind in kinds if kind not in KNOWN[known]])
        name = f"{number}.h5"
        headers: dict[str, str | None] = (
            {"x-goog-hash": f"md5={b64encode(md5.digest()).decode()}"}
            if known == "sent along"
            else {}
        )
        site.files[f"/{name}"] = data
        if chance.random() < 0.5:
            site.tags[f"/{name}"] = '"some"'
        if known == "first seen":
            seen.remember(f"{site.address}/{name}", hashlib.sha256(data).hexdigest())
        damage = _damage(kind, data, other, chance)
        site.for_good = (
            Fault(cut=damage, whole=True, headers=headers)
            if isinstance(damage, int)
            else Fault(alter=damage, headers=headers)
        )
        spec = _spec(site, name, md5.hexdigest() if known == "published" else None)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / name))
        message = _message(spec)
        if name not in message or "--weights FILE" not in message:
            undetected.append((number, known, kind, message))
        assert not (tmp_path / name / "models" / name).exists()
        site.forget()
        found = weights.locate(spec, ARGUMENTS, "imagenet")
        assert found.path is not None and found.path.read_bytes() == data
        assert [path.name for path in found.path.parent.iterdir()] == [name]
    assert undetected == []


@pytest.mark.usefixtures("quick")
def test_weights_that_changed_after_they_came(
    site: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a published hash, the first one is remembered at each use."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    site.files["/a.h5"] = _hdf5(tmp_path / "made.h5", 1)
    spec = _spec(site, "a.h5", None)
    path = weights.locate(spec, ARGUMENTS, "imagenet").path
    assert path is not None
    path.write_bytes(_hdf5(tmp_path / "made.h5", 2))
    with pytest.raises(DataError, match="not the file first downloaded") as caught:
        weights.locate(spec, ARGUMENTS, "imagenet")
    assert str(path) in caught.value.message and "--weights FILE" in caught.value.hint


@pytest.mark.usefixtures("quick")
def test_web_page_instead_of_weights(
    site: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    site.files["/a.h5"] = b"\n  <HTML><head></head></HTML>"
    with pytest.raises(DataError, match="web page"):
        weights.locate(_spec(site, "a.h5", None), ARGUMENTS, "imagenet")
