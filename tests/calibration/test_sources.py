"""Which images calibrate and which verify: repeatable, spread over classes, kept apart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgezoo.calibration import sources
from edgezoo.core.errors import DataError

SIZE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes of very different size, 120 images, each of its own colour."""
    root = tmp_path_factory.mktemp("classes")
    counts = [57, 21, 13, 9, 6, 5, 4, 2, 2, 1]
    number = 0
    for digit, count in enumerate(counts):
        (root / f"class{digit}").mkdir()
        for i in range(count):
            number += 1
            Image.new("RGB", (40, 40), (number * 2, 255 - number, digit)).save(
                root / f"class{digit}" / f"{i}.png"
            )
    return root


def _classes(images: sources.ImageSet) -> Counter[str]:
    return Counter(Path(name).parent.name for name in images.names)


def test_same_seed_same_choice(folder: Path) -> None:
    first, held = sources.choose(str(folder), SIZE, 20, 10, seed=3)
    again, held_again = sources.choose(str(folder), SIZE, 20, 10, seed=3)
    assert first.names == again.names and held.names == held_again.names
    np.testing.assert_array_equal(first.pixels, again.pixels)
    other, _ = sources.choose(str(folder), SIZE, 20, 10, seed=4)
    assert set(other.names) != set(first.names)


def test_choice_ignores_where_the_folder_is(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.symlink_to(folder)
    here, there = (sources.choose(str(place), SIZE, 20, 5, 0)[0] for place in (folder, moved))
    assert sources.metadata(here, SIZE) == sources.metadata(there, SIZE)


@pytest.mark.parametrize("count", [10, 11, 20])
def test_spread_over_classes(folder: Path, count: int) -> None:
    chosen, _ = sources.choose(str(folder), SIZE, count, 5, seed=1)
    assert len(_classes(chosen)) == 10, "the smallest class is there too"
    assert max(_classes(chosen).values()) <= 3
    assert chosen.classes == 10
    assert chosen.pixels.shape == (count, SIZE, SIZE, 3) and chosen.pixels.dtype == np.uint8


def test_held_out_images_are_others(folder: Path) -> None:
    chosen, held = sources.choose(str(folder), SIZE, 60, 30, seed=0)
    assert (len(chosen.names), len(held.names)) == (60, 30)
    assert not set(chosen.names) & set(held.names)
    assert len(held.pixels) == 30
    colours = {tuple(p[16, 16]) for p in chosen.pixels} & {tuple(p[16, 16]) for p in held.pixels}
    assert not colours


def test_too_few_to_hold_some_out(folder: Path) -> None:
    chosen, held = sources.choose(str(folder), SIZE, 500, 16, seed=0)
    assert len(chosen.names) == 120
    assert len(held.names) == len(held.pixels) == 16
    assert chosen.note and "calibrated on" in chosen.note


@pytest.mark.parametrize(
    ("count", "verify_count", "held_out", "words"),
    [
        (119, 64, 1, "verified on 1 and on images that it was calibrated on"),
        (105, 64, 15, "verified on 15 and on images that it was calibrated on"),
        (100, 64, 20, "verified on 20, not on 64"),
        (117, 2, 2, None),
        (56, 64, 64, None),
    ],
)
def test_an_agreement_on_one_image_says_nothing(
    folder: Path, count: int, verify_count: int, held_out: int, words: str | None
) -> None:
    chosen, held = sources.choose(str(folder), SIZE, count, verify_count, seed=0)
    assert len(chosen.names) == count and chosen.note == words
    assert len(set(held.names)) == len(held.pixels) == len(held.prints)
    assert len(set(held.names) - set(chosen.names)) == held_out
    assert len(held.names) == (20 if held_out == 20 else verify_count)


def test_arrays_too_tell_what_verifies(tmp_path: Path) -> None:
    file = tmp_path / "pixels.npy"
    np.save(file, PIXELS)
    chosen, held = sources.choose(str(file), SIZE, 8, 5, seed=0)
    assert chosen.note == "verified on 1 and on images that it was calibrated on"
    assert len(set(held.names)) == 5 and len(set(held.names) - set(chosen.names)) == 1


def test_metadata(folder: Path, tmp_path: Path) -> None:
    chosen, _ = sources.choose(str(folder), SIZE, 20, 5, seed=7)
    stored = sources.store(chosen, SIZE, tmp_path, "calibration")
    assert stored.count == 20
    facts = stored.metadata
    assert (facts.source, facts.count, facts.seed) == ("folder", 20, 7)
    assert facts.list_sha256 == sources.list_hash(chosen.names)
    opened = sources.open_images(stored.path)
    assert opened.metadata == facts
    np.testing.assert_array_equal(np.stack(list(opened.pixels())), chosen.pixels)


def test_unreadable_images(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "mixed"
    root.mkdir()
    for i in range(38):
        Image.new("RGB", (40, 40), (i, i, i)).save(root / f"{i:02}.png")
    for i in range(2):
        (root / f"bad{i}.jpg").write_bytes(b"not an image")
    chosen, _ = sources.choose(str(root), SIZE, 100, 5, seed=0)
    assert (len(chosen.names), chosen.unreadable, chosen.classes) == (38, 2, None)
    for i in range(2, 10):
        (root / f"bad{i}.jpg").write_bytes(b"not an image")
    with pytest.raises(DataError, match="10 of 48"):
        sources.choose(str(root), SIZE, 100, 5, seed=0)


def test_synthetic_images_that_verify_are_others() -> None:
    chosen, held = sources.choose("synthetic", SIZE, 6, 4, seed=0)
    assert chosen.source == held.source == "synthetic"
    assert (len(chosen.pixels), len(held.pixels)) == (6, 4)
    assert not {p.tobytes() for p in chosen.pixels} & {p.tobytes() for p in held.pixels}


# Arrays

PIXELS = np.random.default_rng(0).integers(0, 256, (9, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["pixels.npz", "pixels.npy"])
def test_array_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    (np.savez if name.endswith("z") else np.save)(file, PIXELS)
    chosen, held = sources.choose(str(file), SIZE, 6, 3, seed=0)
    assert chosen.source == "npz" and len(chosen.pixels) == 6
    known = {p.tobytes() for p in PIXELS}
    used, kept = ({p.tobytes() for p in images.pixels} for images in (chosen, held))
    assert used < known and kept < known and not used & kept


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (PIXELS.astype(np.float64), ("got float64",)),
        (PIXELS.astype(np.float32) / 255, ("got float32",)),
        (np.moveaxis(PIXELS, -1, 1), ("(9, 3, 32, 32)", "NCHW")),
        (PIXELS[:, :30], ("(9, 30, 32, 3)",)),
        (PIXELS[..., :1], ("(9, 32, 32, 1)",)),
        (PIXELS[0], ("(32, 32, 3)",)),
        (PIXELS[:0], ("no image",)),
        ((PIXELS > 128).astype(np.uint8), ("0 to 1",)),
    ],
)
def test_array_that_does_not_fit(tmp_path: Path, array: np.ndarray, words: tuple[str, ...]) -> None:
    file = tmp_path / "pixels.npz"
    np.savez(file, array)
    with pytest.raises(DataError) as caught:
        sources.choose(str(file), SIZE, 6, 3, seed=0)
    message = caught.value.message
    assert "expected uint8 RGB pixels 0 to 255, shape (n, 32, 32, 3)" in message
    assert str(file) in message and "\n" not in message
    for word in words:
        assert word in message


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    """Unpickling runs code."""

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    file = tmp_path / "pixels.npz"
    np.savez(file, np.array([Trap()], object))
    with pytest.raises(DataError) as caught:
        sources.choose(str(file), SIZE, 6, 3, seed=0)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


# numpy leaves a zip file that it cannot read to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_array_files_that_are_none(tmp_path: Path) -> None:
    several = tmp_path / "several.npz"
    np.savez(several, a=PIXELS, b=PIXELS)
    with pytest.raises(DataError, match="2 arrays"):
        sources.choose(str(several), SIZE, 6, 3, 0)
    named = tmp_path / "named.npz"
    np.savez(named, images=PIXELS, labels=np.zeros(9))
    assert len(sources.choose(str(named), SIZE, 6, 3, 0)[0].pixels) == 6
    cut = tmp_path / "cut.npz"
    cut.write_bytes(named.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"cut\.npz"):
        sources.choose(str(cut), SIZE, 6, 3, 0)
    text = tmp_path / "list.txt"
    text.write_text("a.png")
    with pytest.raises(DataError, match="neither a folder nor"):
        sources.choose(str(text), SIZE, 6, 3, 0)
