"""Addresses of devices, and names of files on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgezoo.core.errors import DataError, UsageError
from edgezoo.system.remote import Tree
from edgezoo.system.remote.copied_files import Names, package
from edgezoo.system.remote.device import Device, parse


@pytest.mark.parametrize(
    ("url", "device"),
    [
        ("ssh://pi@raspberrypi", Device("raspberrypi", "pi")),
        ("ssh://raspberrypi/", Device("raspberrypi")),
        ("ssh://pi@10.0.0.7:2222", Device("10.0.0.7", "pi", 2222)),
        ("ssh://pi@[fe80::1]:22", Device("fe80::1", "pi", 22)),
        ("ssh://pi@board/my%20v/bin/python", Device("board", "pi", None, "/my v/bin/python")),
    ],
)  # fmt: skip
def test_address(url: str, device: Device) -> None:
    assert parse(url) == device
    assert url.startswith(str(device))


@pytest.mark.parametrize(
    "url",
    ["raspberrypi", "pi@raspberrypi", "http://pi@board", "ssh://", "ssh://pi@board:port", "ssh://board:0",
     "ssh://-oProxyCommand=sh", "ssh://-oProxyCommand=sh@board", "ssh://pi:secret@board",
     "ssh://pi@board?x=1", "ssh://pi@board#x"],
)  # fmt: skip
def test_no_address(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(url)
    assert caught.value.hint
    assert "secret" not in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("m/net.xml", "m/net.bin", "m/other.txt", "photos/a/1.png", "photos/b/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_and_names(folder: Path) -> None:
    names = Names()
    there = names.outward(
        {"artifact": Path("m/net.xml"), "images": [Path("photos/a/1.png")], "all": Path("photos"),
         "some": Tree(folder / "photos", (folder / "photos/b/2.png",)), "top": 5, "none": None}
    )  # fmt: skip
    assert there == {
        "artifact": "device-0/net.xml", "images": ["device-1/1.png"], "all": "device-2/photos",
        "some": "device-3/photos", "top": 5, "none": None,
    }  # fmt: skip
    assert sorted(file.remote for file in names.files) == [
        "device-0/net.bin", "device-0/net.xml", "device-1/1.png", "device-2/photos/a/1.png",
        "device-2/photos/b/2.png", "device-3/photos/b/2.png",
    ]  # fmt: skip
    back = names.homeward(
        {"path": "device-0/net.xml", "text": "device-2/photos/a/1.png is broken.", "n": [0.5],
         "all": "device-3/photos"}
    )  # fmt: skip
    assert back == {"path": "m/net.xml", "text": "photos/a/1.png is broken.", "n": [0.5],
                    "all": str(folder / "photos")}  # fmt: skip


def test_folder_without_a_name(folder: Path) -> None:
    names = Names()
    there = names.outward(Path())
    assert there == f"device-0/{folder.name}"
    assert names.homeward(f"{there}/photos/a/1.png") == "./photos/a/1.png"


def test_missing_file(folder: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.png"):
        Names().outward(Path("nowhere.png"))


def test_package_is_whole() -> None:
    names = {file.remote for file in package()}
    for name in (
        "system/process.py",
        "runtimes/litert.py",
        "images/imagenet_classes.tsv",
        "cli/_main.py",
    ):
        assert f"edgezoo/{name}" in names
    assert not any("__pycache__" in name for name in names)
    # 2.1 MB of source; one file of data would show.
    assert sum(file.bytes for file in package()) < 2_500_000
