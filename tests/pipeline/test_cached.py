"""An export that was done before is answered with the same bytes, and only that one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgezoo.core.spec import BuildArguments
from edgezoo.images import samples
from edgezoo.pipeline import provenance
from edgezoo.pipeline.export_result import ExportResult
from edgezoo.pipeline.plan import resolve
from edgezoo.pipeline.request import ExportRequest
from edgezoo.pipeline.run import run
from edgezoo.system import process
from tests.support import fake_export


@pytest.fixture(autouse=True)
def _cache(fakes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEZOO_CACHE_LIMIT", "1MB")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _export(folder: Path, seed: int = 1, **more: Any) -> ExportResult:
    return run(fake_export.request(folder, seed, **more))


def test_the_same_bytes_without_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _export(tmp_path / "first")
    monkeypatch.setattr(process.Launcher, "run", None)
    second = _export(tmp_path / "second")
    assert (first.cached, second.cached) == (False, True)
    assert _bytes(tmp_path / "first") == _bytes(tmp_path / "second"), "the manifest too"
    there, here = (json.dumps(result.to_json()) for result in (first, second))
    assert json.loads(there.replace("/first/", "/second/").replace('"cached": false',
                      '"cached": true')) == json.loads(here)  # fmt: skip


def test_not_where_it_is_not_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _export(tmp_path / "a")
    assert not _export(tmp_path / "a", cache=False).cached
    monkeypatch.setenv("EDGEZOO_CACHE_LIMIT", "0")
    assert not _export(tmp_path / "a").cached


def test_damaged_entry_is_made_anew(tmp_path: Path) -> None:
    _export(tmp_path / "a")
    (victim,) = (tmp_path / "cache" / "exports").glob("*/files/*float16.weights")
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    assert not _export(tmp_path / "b").cached
    assert _bytes(tmp_path / "a").keys() == _bytes(tmp_path / "b").keys()
    assert fake_export.complete(tmp_path / "b", 1) == []
    assert _export(tmp_path / "c").cached


# What the key holds


def _key(request: ExportRequest) -> str:
    return provenance.request_key(resolve(request))


@pytest.fixture
def request_(tmp_path: Path) -> ExportRequest:
    """One that names images."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(6):
        Image.fromarray(np.full((8, 8, 3), number * 20, np.uint8)).save(pictures / f"{number}.png")
    made = fake_export.request(tmp_path / "made", 1)
    return replace(made, calibration=str(pictures), verify=True)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"precisions": ("float32",)},
        {"verify": False},
        {"verify_count": 3},
        {"min_agreement": 0.5},
        {"arguments": BuildArguments(alpha=0.5, input_size=32)},
        {"arguments": BuildArguments(alpha=0.25, input_size=40)},
        {"input_kind": "normalized"},
        {"calibration": "synthetic"},
    ],
    ids=str,
)
def test_another_request_has_another_key(change: dict[str, Any], request_: ExportRequest) -> None:
    assert _key(replace(request_, **change)) != _key(request_)


def test_place_and_date_are_no_part_of_it(request_: ExportRequest, tmp_path: Path) -> None:
    key = _key(request_)
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "pictures").rename(tmp_path / "elsewhere" / "pictures")
    for picture in moved.iterdir():
        picture.touch()
    changed = replace(request_, output=tmp_path / "there", cache=False, calibration=str(moved))
    assert _key(changed) == key


def test_contents_of_images_are(request_: ExportRequest, tmp_path: Path) -> None:
    key, victim = _key(request_), tmp_path / "pictures" / "0.png"
    changed = bytearray(victim.read_bytes())
    changed[-20] ^= 1
    victim.write_bytes(changed)
    wide = replace(request_, verify_count=6)
    assert _key(wide) != key
    before = _key(wide)
    changed[-20] ^= 1
    victim.write_bytes(changed)
    assert _key(wide) != before


def test_samples_are_found_where_they_were_fetched(
    request_: ExportRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`samples` is a word, no folder here; what it stands for counts as a folder's images do."""
    monkeypatch.setattr(samples, "folder", lambda: tmp_path / "pictures")
    asked = replace(request_, calibration=samples.WORD, verify=False)
    key = _key(asked)
    assert not run(asked).cached and run(asked).cached
    victim = tmp_path / "pictures" / "0.png"
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(victim)
    assert _key(replace(asked, verify_count=6)) != key


@pytest.fixture
def guarded(request_: ExportRequest, tmp_path: Path) -> ExportRequest:
    """One that measures a drop on flat images, whose classes a list beside them tells."""
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "a.png").write_bytes((tmp_path / "pictures" / "0.png").read_bytes())
    (tmp_path / "val.txt").write_text("a.png 3")
    return replace(request_, images=tmp_path / "val", max_drop_points=1.0)


def test_classes_that_are_found_by_themselves_are(guarded: ExportRequest, tmp_path: Path) -> None:
    """A corrected list, or another order of the kit's classes, gives other evidence."""
    before = provenance._labelled(guarded)
    (tmp_path / "val.txt").write_text("a.png 4")
    after = provenance._labelled(guarded)
    assert after != before
    (tmp_path / "meta.mat").write_bytes(b"order")
    assert provenance._labelled(guarded) == after, "names and classes need no order"
    (tmp_path / "val.txt").write_text("4")
    after = provenance._labelled(guarded)
    (tmp_path / "meta.mat").write_bytes(b"another order")
    assert provenance._labelled(guarded) != after
    given = replace(guarded, ground_truth=tmp_path / "val.txt")
    assert provenance._labelled(given) == provenance._labelled(guarded)


def test_code_and_packages_are(request_: ExportRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    key, maker = _key(request_), provenance.maker()
    for other in (
        replace(maker, edgezoo=replace(maker.edgezoo, code_sha256="other")),
        replace(maker, packages={**maker.packages, "numpy": "other"}),
        replace(maker, platform=replace(maker.platform, python="other")),
    ):
        monkeypatch.setattr(provenance, "maker", lambda other=other: other)
        assert _key(request_) != key
    commit = replace(maker, edgezoo=replace(maker.edgezoo, commit="other"))
    monkeypatch.setattr(provenance, "maker", lambda: commit)
    assert _key(request_) == key, "the same code of another commit"


def test_unreadable_images_are_not_kept(request_: ExportRequest, tmp_path: Path) -> None:
    """The key knows those that would be chosen were all readable."""
    for number in range(6, 40):
        (tmp_path / "pictures" / f"{number}.png").write_bytes(
            (tmp_path / "pictures" / "1.png").read_bytes()
        )
    request = replace(request_, verify=False, verify_count=30)
    assert not run(request).cached and run(request).cached
    (tmp_path / "pictures" / "3.png").write_text("no picture")
    assert not run(request).cached and not run(request).cached
