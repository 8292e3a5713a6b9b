"""Folders of images as people and other programs leave them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from edgezoo.calibration import sources
from edgezoo.core.artifact import InputContract, WeightsRecord
from edgezoo.core.errors import DataError, UsageError
from edgezoo.core.labels import read_labels
from edgezoo.finetuning import dataset
from edgezoo.images import folders
from edgezoo.images.class_names import ClassNames, LabelsFrom
from edgezoo.images.imagenet_classes import classes
from edgezoo.images.labelled import LabelledImages, find_labelled
from edgezoo.images.preprocessing import find_images, why_unreadable
from edgezoo.images.repeats import repeats
from tests.conftest import Ended, Exported, Trained

WNIDS = [wnid for wnid, _ in classes()]
IMAGENET = InputContract(
    "mobilenet", "float32", 32, "tf", WeightsRecord("random", ""), classes=1000,
    labels=tuple(name for _, name in classes()),
)  # fmt: skip
PETS = replace(IMAGENET, classes=3, labels=("big_cat", "dog", "Guinea pig"))


def _image(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), (shade, 0, 0)).save(path)
    return path


def _folders(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        _image(root / name / f"{number}.png", number)
    return root


def _found(place: Path, contract: InputContract = IMAGENET, **options: object) -> dict[str, int]:
    found = find_labelled(place, contract, **options)  # type: ignore[arg-type]
    return {image.name: label for image, label in zip(found.paths, found.labels, strict=True)}


def _left_out(place: Path) -> dict[str, str]:
    return {file.path: file.reason for file in folders.walk(place).left_out}


# What is there


def test_hidden_folders_are_not_entered(tmp_path: Path) -> None:
    _folders(tmp_path, WNIDS[0], ".ipynb_checkpoints", f"{WNIDS[0]}/.ipynb_checkpoints",
             "__MACOSX", f".cache/{WNIDS[1]}")  # fmt: skip
    assert _found(tmp_path) == {"0.png": 0}
    assert dataset.find(tmp_path, 1, 1).labels == (WNIDS[0],)


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    store, root = _folders(tmp_path / "store", "a", "b"), tmp_path / "root"
    root.mkdir()
    (root / WNIDS[0]).symlink_to(store / "a")
    (root / WNIDS[1]).symlink_to(store / "b")
    (root / "z_again").symlink_to(store / "a")
    (root / WNIDS[0] / "up").symlink_to(root)
    assert _found(root) == {"0.png": 0, "1.png": 1}
    assert _left_out(root)["z_again"] == "a link to a folder that was read already"
    (root / WNIDS[1] / "inside").mkdir()
    (root / "z").symlink_to(root / WNIDS[1] / "inside")
    assert _found(root) == {"0.png": 0, "1.png": 1}


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    _folders(tmp_path, WNIDS[0])
    os.mkfifo(tmp_path / WNIDS[0] / "pipe.jpg")
    (tmp_path / WNIDS[0] / "lost.jpg").symlink_to(tmp_path / "nothing.jpg")
    (tmp_path / WNIDS[0] / "sky.nef").write_bytes(b"x")
    (tmp_path / WNIDS[1]).mkdir()
    assert _left_out(tmp_path) == {
        f"{WNIDS[0]}/pipe.jpg": "a pipe, not a file",
        f"{WNIDS[0]}/lost.jpg": "a link to nothing",
        f"{WNIDS[0]}/sky.nef": ".nef is not read",
        WNIDS[1]: "a folder without images",
    }
    assert [path.name for path in find_images(tmp_path)] == ["0.png"]


def test_flat_folders_have_no_empty_classes(tmp_path: Path) -> None:
    _image(tmp_path / "a.png")
    (tmp_path / "notes").mkdir()
    assert folders.walk(tmp_path).left_out == ()


def test_reasons_not_to_read(tmp_path: Path) -> None:
    whole = _image(tmp_path / "whole.png").read_bytes()
    contents = {
        "cut.png": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "page.jpg": b"<!DOCTYPE html><title>404</title>",
        "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:5a\nsize 4\n",
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "other.jpg": b"MZ" + bytes(64),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    found = why_unreadable([tmp_path / name for name in contents], tmp_path, 32)
    reasons = {file.path: file.reason for file in found}
    assert reasons["empty.jpg"] == "it is empty"
    assert "page of text" in reasons["page.jpg"] and "git lfs pull" in reasons["pointer.jpg"]
    assert "none of AVIF, BMP" in reasons["other.jpg"]
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        assert "pip install pillow-heif" in reasons["phone.heic"]
    many = [folders.LeftOut(str(number), "x") for number in range(12)]
    assert folders.named(many).endswith("9 (x) and 2 more")
    assert folders.named(many, all_of_them=True).endswith("11 (x)")


def test_content_counts_and_not_the_ending(tmp_path: Path) -> None:
    _image(tmp_path / WNIDS[0] / "a.png").rename(tmp_path / WNIDS[0] / "a.heic")
    (path,) = find_images(tmp_path)
    assert why_unreadable([path], tmp_path, 32)[0].reason == "could not be read before"


# Parts of a data set


@pytest.mark.parametrize(
    "names",
    [
        ("train/{}", "val/{}"),
        ("Train/{}", "validation/{}", "test/{}"),
        ("set/train/{}", "set/test/{}"),
        ("{}/train", "{}/val"),
        ("train/{}/images", "val/images"),
    ],
)
def test_parts_are_not_mixed(tmp_path: Path, names: tuple[str, ...]) -> None:
    _folders(tmp_path, *(name.format(WNIDS[3]) for name in names))
    with pytest.raises(UsageError, match="parts of a data set"):
        find_labelled(tmp_path, IMAGENET)
    with pytest.raises(UsageError, match="not mixed"):
        sources.choose(str(tmp_path), 32, 2, 2, 0)
    with pytest.raises(UsageError, match="1 image"):
        dataset.find(tmp_path, 1, 1)


def test_one_part_is_chosen(tmp_path: Path) -> None:
    _folders(tmp_path, f"train/{WNIDS[3]}", f"Val/{WNIDS[4]}")
    assert _found(folders.part_of(tmp_path, "val")) == {"1.png": 4}
    assert folders.part_of(tmp_path, None) == tmp_path
    assert sources.part_of("synthetic", None) == "synthetic"
    with pytest.raises(UsageError, match="Its folders: Val, train"):
        folders.part_of(tmp_path, "test")
    with pytest.raises(UsageError) as caught:
        dataset.find(tmp_path, 1, 1)
    assert f"--data {tmp_path}/train --held-out {tmp_path}/Val" in caught.value.hint


def test_classes_that_are_called_so(tmp_path: Path) -> None:
    """A train is a vehicle, and a model may know a test and a train."""
    _folders(tmp_path, "train", "car")
    assert dataset.find(tmp_path, 1).labels == ("car", "train")
    _folders(tmp_path / "both", "train", "test")
    contract = replace(PETS, classes=2, labels=("train", "test"))
    assert _found(tmp_path / "both", contract) == {"0.png": 0, "1.png": 1}


def test_parts_in_a_file(tmp_path: Path) -> None:
    image = _image(tmp_path / "a.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for part in ("train", "val"):
            file.writestr(f"{part}/{WNIDS[0]}/a.png", image)
    with pytest.raises(UsageError) as caught:
        find_labelled(tmp_path / "all.zip", IMAGENET)
    assert "unpack" in caught.value.hint


# Which class


@pytest.mark.parametrize(
    ("folder", "contract", "label"),
    [
        (WNIDS[7], IMAGENET, 7), (f"{WNIDS[7]}/images", IMAGENET, 7),
        (f"{WNIDS[7]}/2021/april", IMAGENET, 7), (f"{WNIDS[7]}-cock", IMAGENET, 7),
        ("great white shark", IMAGENET, 2), ("Great-White-Shark", IMAGENET, 2),
        ("tench, Tinca tinca", IMAGENET, 0), ("Big Cat", PETS, 0), ("guinea_pig", PETS, 2),
        ("images/dog", PETS, 1), ("2", PETS, 2), ("0002/images", PETS, 2),
    ],
)  # fmt: skip
def test_names_of_folders(tmp_path: Path, folder: str, contract: InputContract, label: int) -> None:
    assert list(_found(_folders(tmp_path, folder), contract).values()) == [label]


def test_label_before_number(tmp_path: Path) -> None:
    contract = replace(PETS, classes=2, labels=("1", "0"))
    assert list(_found(_folders(tmp_path, "0", "1"), contract).values()) == [1, 0]


def test_numbers_are_told_and_from_1_refused(tmp_path: Path) -> None:
    found = find_labelled(_folders(tmp_path / "a", "0", "2"), PETS)
    assert "read as the model's outputs" in found.remarks[0]
    for names in (("1", "2", "3"), ("2", "3")):
        with pytest.raises(DataError, match=r"from 1|count from"):
            find_labelled(_folders(tmp_path / "".join(names), *names), PETS)


@pytest.mark.parametrize(
    ("how", "names", "wanted"),
    [
        ("folders", ("c", "a", "b"), [0, 1, 2]), ("folders", ("1", "10", "2"), [0, 1, 2]),
        ("index", ("2", "0"), [0, 2]), ("folders", ("a", "b"), "2 folders of classes"),
        ("index", ("dog",), "its number"), ("wnid", ("dog",), "its wnid"),
    ],
)  # fmt: skip
def test_labels_from(
    tmp_path: Path, how: LabelsFrom, names: tuple[str, ...], wanted: list[int] | str
) -> None:
    _folders(tmp_path, *names)
    if isinstance(wanted, str):
        with pytest.raises(DataError) as caught:
            find_labelled(tmp_path, PETS, labels_from=how)
        assert wanted in f"{caught.value.message} {caught.value.hint}"
        return
    assert list(find_labelled(tmp_path, PETS, labels_from=how).labels) == wanted


def test_labels_from_a_folder_and_a_list(tmp_path: Path) -> None:
    _folders(tmp_path / "a", "dog")
    (tmp_path / "list.txt").write_text("0 dog\n")
    with pytest.raises(UsageError, match="reads classes from folders"):
        find_labelled(tmp_path / "a", PETS, tmp_path / "list.txt", "index")


def test_same_class_in_two_places(tmp_path: Path) -> None:
    found = find_labelled(_folders(tmp_path, "a/dog", "b/dog", "a/big_cat"), PETS)
    assert sorted(found.labels) == [0, 1, 1]
    assert found.remarks == ("The images of a/dog, b/dog count as one class.",)


def test_strays_are_left_out_and_named(tmp_path: Path) -> None:
    for number in range(12):
        _image(tmp_path / "dog" / f"{number}.png")
    _image(tmp_path / "preview.png")
    found: LabelledImages = find_labelled(tmp_path, PETS)
    assert len(found.paths) == 12 and found.labels == (1,) * 12
    assert [str(file) for file in found.left_out] == ["preview.png (in no class folder)"]
    _image(tmp_path / "preview2.png")
    with pytest.raises(DataError, match=r"2 of 14 .* in no class folder: preview.png"):
        find_labelled(tmp_path, PETS)


def test_tiny_imagenet(tmp_path: Path) -> None:
    _folders(tmp_path / "train", f"{WNIDS[5]}/images", f"{WNIDS[6]}/images")
    assert _found(tmp_path / "train") == {"0.png": 5, "1.png": 6}
    _image(tmp_path / "val/images/val_0.png")
    (tmp_path / "val/val_annotations.txt").write_text(f"val_0.png\t{WNIDS[5]}\t0\t0\t31\t31\n")
    assert _found(tmp_path / "val") == {"val_0.png": 5} == _found(tmp_path / "val/images")


@pytest.mark.parametrize(
    "name", [f"ILSVRC2012_val_00000001_{WNIDS[9]}", f"{WNIDS[9]}_10026", f"{WNIDS[9]}"]
)
def test_wnid_in_the_name_of_a_file(tmp_path: Path, name: str) -> None:
    _image(tmp_path / f"{name}.png")
    assert _found(tmp_path) == {f"{name}.png": 9}
    _image(tmp_path / "plain.png")
    with pytest.raises(DataError, match="does not contain the classes"):
        find_labelled(tmp_path, IMAGENET)


def test_list_that_counts_from_1(tmp_path: Path) -> None:
    for number in range(3):
        _image(tmp_path / "flat" / f"{number}.png")
    listed = tmp_path / "list.txt"
    listed.write_text("0 1\n1 2\n2 3\n")
    found = find_labelled(tmp_path / "flat", PETS, listed)
    assert found.labels == (0, 1, 2) and "from 1 to 3" in found.remarks[0]
    for text, numbered in (("0 1\n1 2\n2 1\n", True), ("0 0\n1 1\n2 2\n", False)):
        listed.write_text(text)
        assert find_labelled(tmp_path / "flat", PETS, listed).numbered is numbered
    listed.write_text("0 dog\n1 guinea pig\n2 big cat\n", encoding="utf-8-sig")
    assert find_labelled(tmp_path / "flat", PETS, listed).labels == (1, 2, 0)


def test_numbers_from_1_are_noticed_by_the_accuracy(
    exported: Exported, trained: Trained, tmp_path: Path, cli: Callable[..., Ended]
) -> None:
    (tmp_path / "flat").mkdir()
    lines = []
    for path in sorted(trained.test.rglob("*.png"))[::4]:
        label = WNIDS.index(path.parent.name)
        (tmp_path / "flat" / f"{label}_{path.name}").write_bytes(path.read_bytes())
        lines.append(f"{label}_{path.name} {label + 1}\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    ended = cli("evaluate", exported.path("tflite", "float32"), "--images", tmp_path / "flat",
                "--ground-truth", tmp_path / "list.txt", "--no-resume", "--json")  # fmt: skip
    assert ended.json["results"][0]["top1"] > 0.8
    assert "seem to count from 1" in ended.json["warnings"][0] in ended.stderr


def test_repeats(tmp_path: Path) -> None:
    images = [_image(tmp_path / f"{i}.png", shade) for i, shade in enumerate((1, 2, 1, 1))]
    assert repeats(images) == 2


# Labels


@pytest.mark.parametrize(
    ("text", "encoding", "labels"),
    [
        ("zero\none\n", "utf-8-sig", ("zero", "one")), ("zero\none\n", "utf-16", ("zero", "one")),
        ("0 zero\n1 one\n", "utf-8", ("zero", "one")), ("0: a b\n1: c\n", "utf-8", ("a b", "c")),
        ("0,a\n1,b\n", "utf-8-sig", ("a", "b")), ("1 person\n2 persons\n", "utf-8",
        ("1 person", "2 persons")), ("0 zero\none\n", "utf-8", ("0 zero", "one")),
        ("0\n1\n", "utf-8", ("0", "1")), ("0 a\n2 b\n", "utf-8", ("0 a", "2 b")),
    ],
)  # fmt: skip
def test_labels_files(tmp_path: Path, text: str, encoding: str, labels: tuple[str, ...]) -> None:
    (tmp_path / "labels.txt").write_text(text, encoding=encoding)
    assert read_labels(tmp_path / "labels.txt") == labels


def test_names_of_two_classes_are_none() -> None:
    names = ClassNames(replace(PETS, labels=("a b", "a_b", "c")))
    assert (names.find("a b"), names.find("A-B"), names.find("C")) == (0, None, 2)
