"""What a limited process prepared for a bundle is read as data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from edgezoo.bundling.make import BundledFile, BundleResult, place
from edgezoo.core.errors import DataError


def _result(output: Path, *files: tuple[str, bytes]) -> BundleResult:
    named = (BundledFile(n, len(data), hashlib.sha256(data).hexdigest()) for n, data in files)
    return BundleResult(output, sum(len(data) for _, data in files), (), tuple(named))


def test_only_the_named_files(tmp_path: Path) -> None:
    made, output = tmp_path / "made", tmp_path / "out"
    (made / "golden").mkdir(parents=True)
    (made / "golden" / "a").write_bytes(b"x")
    (made / "extra").write_bytes(b"not named")
    place(made, _result(output, ("golden/a", b"x")))
    assert [path for path in output.rglob("*") if path.is_file()] == [output / "golden" / "a"]


def _link(path: Path, secret: Path) -> None:
    path.symlink_to(secret)


def _hard_link(path: Path, secret: Path) -> None:
    path.hardlink_to(secret)


def _other(path: Path, secret: Path) -> None:
    path.write_bytes(b"other")


def _folder(path: Path, secret: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("harm", [_link, _hard_link, _other, _folder])
def test_something_else_in_its_place(harm: Callable[[Path, Path], None], tmp_path: Path) -> None:
    made, secret = tmp_path / "made", tmp_path / "secret"
    made.mkdir()
    secret.write_bytes(b"x")
    harm(made / "a", secret)
    with pytest.raises(DataError, match="another file than it named"):
        place(made, _result(tmp_path / "out", ("a", b"x")))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "in/../../secret", "link/secret"])
def test_names_that_lead_elsewhere(name: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "in").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"x")
    (made / "link").symlink_to(tmp_path)
    for output in (tmp_path / "out", tmp_path / "out.zip"):
        with pytest.raises(DataError, match="another file than it named"):
            place(made, _result(output, (name, b"x")))
        assert not output.exists()
