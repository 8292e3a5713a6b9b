"""Samples come by their list, on their terms, and are the images of the list."""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgezoo.calibration import sources
from edgezoo.core.errors import DataError, RefusedError, UsageError
from edgezoo.images import finding, imagenet_classes, samples
from edgezoo.images.samples import fetch_samples, likeness
from edgezoo.images.samples.fetch_samples import FetchedSamples
from edgezoo.images.samples.listing import COLLECTION, Collection
from edgezoo.system.downloads import Timeouts, seen
from tests.conftest import SHARED, Ended, run_cli
from tests.support import needs
from tests.support.file_server import HTML, Fault, FileServer
from tests.support.processes import PATIENCE

QUICK = Timeouts(timeout_s=PATIENCE, attempts=2, pause_s=0)
COUNT = 12


def _image(seed: int) -> Image.Image:
    """Soft blotches, as different as photographs are."""
    chance = np.random.default_rng(seed)
    blotches = chance.integers(0, 256, (7, 9, 3), np.uint8)
    width, height = 240 + seed, 200
    return Image.fromarray(blotches).resize((width, height), Image.Resampling.BICUBIC)


def _jpeg(image: Image.Image, quality: int = 90) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


@pytest.fixture
def collection(site: FileServer, tmp_path: Path) -> Collection:
    """A list of images, and the server that has them."""
    rows = []
    for number, (wnid, word) in enumerate(imagenet_classes.classes()[:COUNT]):
        image = _image(number)
        name = f"{wnid}_{word}.JPEG"
        site.files[f"/{name}"] = _jpeg(image)
        rows.append(f"{name}\t{image.width}\t{image.height}\t{likeness.of_image(image)}")
    path = tmp_path / "list.tsv"
    path.write_text("\n".join(rows) + "\n")
    nowhere = str(tmp_path / "repository")
    return Collection("drawn", nowhere, "0" * 40, f"{site.address}/", "Do no harm.", path)


def _fetch(collection: Collection) -> FetchedSamples:
    return samples.fetch(True, collection=collection, timeout=QUICK)


def _places(collection: Collection) -> list[Path]:
    return sorted(fetch_samples.home(collection).rglob("*.JPEG"))


def test_terms_come_first(collection: Collection, site: FileServer) -> None:
    with pytest.raises(UsageError, match="terms"):
        samples.fetch(collection=collection)
    assert site.asked == [] and not fetch_samples.home(collection).exists()
    _fetch(collection)
    assert samples.fetch(collection=collection).fetched == 0, "accepted once"
    harder = replace(collection, terms="Do less harm.")
    with pytest.raises(UsageError, match="terms"):
        samples.fetch(collection=harder)


def test_a_folder_a_class(collection: Collection) -> None:
    told: list[int] = []
    facts = samples.fetch(True, collection=collection, timeout=QUICK, progress=told.append)
    assert (facts.fetched, facts.here, facts.altered, sum(told)) == (12, 12, (), 12)
    assert [path.parent.name for path in _places(collection)] == [
        wnid for wnid, _ in imagenet_classes.classes()[:COUNT]
    ]
    assert samples.folder(collection) == fetch_samples.home(collection)


def test_goes_on_and_mends(collection: Collection, site: FileServer) -> None:
    """What is missing or altered comes again, and nothing else."""
    _fetch(collection)
    lost, altered = _places(collection)[3:5]
    lost.unlink()
    altered.write_bytes(altered.read_bytes() + b"x")
    assert samples.look(collection).altered == (altered.name,)
    with pytest.raises(DataError, match="Only 11 of the 12 sample images are here"):
        samples.folder(collection)
    site.forget()
    assert _fetch(collection).fetched == 2
    assert {path for path, _ in site.asked} == {f"/{lost.name}", f"/{altered.name}"}
    assert samples.look(collection).altered == ()


def test_pictures_that_came_in_another_way(collection: Collection, site: FileServer) -> None:
    """Copied from another machine, they are looked at and taken; strangers are not."""
    _fetch(collection)
    right, wrong = _places(collection)[:2]
    seen.record_path().unlink()
    wrong.write_bytes(right.read_bytes())
    site.forget()
    assert _fetch(collection).fetched == 1
    assert [path for path, _ in site.asked] == [f"/{wrong.name}"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(alter=lambda data: data[: len(data) // 2]), "not a complete image"),
        (Fault(alter=lambda data: HTML), "web page"),
        (Fault(alter=lambda data: _jpeg(_image(0).resize((1, 200)))), "1 x 200 pixels"),
        (Fault(alter=lambda data: _jpeg(_image(99).crop((0, 0, 240, 200)))), "something else"),
        (Fault(alter=lambda data: b"GIF89a" + data), "not a complete image"),
        (Fault(status=404), "returns 404"),
    ],
)
def test_another_image(collection: Collection, site: FileServer, fault: Fault, words: str) -> None:
    """The first of the list goes wrong; the others that were on their way stay."""
    name = f"{'_'.join(imagenet_classes.classes()[0])}.JPEG"
    site.faults[f"/{name}"].extend([fault] * 2)
    with pytest.raises(DataError, match=words) as caught:
        _fetch(collection)
    assert name in caught.value.message and "go on" in caught.value.hint
    assert name not in {path.name for path in _places(collection)}
    site.forget()
    assert _fetch(collection).here == COUNT


def test_calibration_on_samples(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(samples, "folder", lambda: fetch_samples.folder(collection))
    with pytest.raises(DataError, match="edgezoo samples fetch"):
        sources.check_source("samples")
    _fetch(collection)
    sources.check_source("samples")
    chosen, held_out = sources.choose("samples", 32, 8, 4, 0)
    assert (chosen.source, held_out.source, len(chosen.names)) == ("samples", "samples", 8)
    metadata = sources.metadata(chosen, 32)
    assert metadata.source == "samples"
    assert metadata.fingerprints is not None and metadata.fingerprints.of == "file"


def test_accuracy_on_samples_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError, match="training images"):
        finding.image_files(Path("samples"))
    (tmp_path / "samples").mkdir()
    assert finding.image_files(Path("samples")) == [], "a folder of that name is a folder"


# Hashes of the commit


@pytest.fixture
def published(collection: Collection, site: FileServer, tmp_path: Path) -> Collection:
    """The collection with a real repository behind it, as a code host serves one."""
    needs.require("git")
    repository = tmp_path / "repository"
    repository.mkdir()
    for path, data in site.files.items():
        (repository / path.lstrip("/")).write_bytes(data)
    told = ["-c", "user.name=a", "-c", "user.email=a@example.invalid", "-c", "commit.gpgsign=false"]
    for line in (["init", "--quiet"], ["add", "."], [*told, "commit", "--quiet", "-m", "Images"],
                 ["config", "uploadpack.allowFilter", "true"],
                 ["config", "uploadpack.allowAnySHA1InWant", "true"]):  # fmt: skip
        subprocess.run(["git", "-C", str(repository), *line], check=True)
    commit = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD"], check=True,
                            capture_output=True, text=True).stdout.strip()  # fmt: skip
    return replace(collection, repository=f"file://{repository}", commit=commit)


def test_a_commit_pins_every_byte(published: Collection, site: FileServer) -> None:
    """What still looks like the image is found out, also at its first coming."""
    name = published.samples()[0].name
    lighter = _jpeg(_image(0), 89)
    site.faults[f"/{name}"].extend([Fault(alter=lambda data: lighter)] * 2)
    with pytest.raises(DataError, match=r"not the file of the commit"):
        _fetch(published)
    facts = _fetch(published)
    assert (facts.here, facts.checked_by, facts.because) == (COUNT, "commit", None)


def test_without_the_commit_it_is_said_so(
    collection: Collection, published: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = _fetch(replace(published, commit="0" * 40))
    assert facts.checked_by == "likeness" and "git reports" in str(facts.because)
    monkeypatch.setenv("PATH", "")
    facts = _fetch(replace(collection, name="again"))
    assert facts.checked_by == "likeness" and facts.because == "git is not installed"


# The list in the project


def test_list_has_a_picture_for_each_class() -> None:
    listed = COLLECTION.samples()
    assert [sample.wnid for sample in listed] == [wnid for wnid, _ in imagenet_classes.classes()]
    assert all(len(sample.likeness) == 64 and sample.width > 40 for sample in listed)


def test_no_two_pictures_of_the_list_look_alike() -> None:
    words = np.array([list(bytes.fromhex(s.likeness)) for s in COLLECTION.samples()], np.uint8)
    nearest = min(
        int(np.bitwise_count(words[i + 1 :] ^ words[i]).sum(1).min()) for i in range(len(words) - 1)
    )
    assert nearest >= 1.5 * likeness.TOLERANCE


@pytest.mark.imagenet
def test_pictures_of_the_list_are_known(site: FileServer, tmp_path: Path) -> None:
    """Fifty of them, scaled and encoded anew, from a real server; and two that were exchanged."""
    rows = []
    for sample in COLLECTION.samples()[::20]:
        (path,) = (SHARED / "imagenet" / "calibration" / sample.wnid).iterdir()
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        image = image.resize((image.width * 2 // 3, image.height * 2 // 3))
        site.files[f"/{sample.name}"] = _jpeg(image, 80)
        rows.append((sample.name, *image.size, sample.likeness))
    path = tmp_path / "list.tsv"
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    nowhere = str(tmp_path / "repository")
    collection = Collection("copies", nowhere, "0" * 40, f"{site.address}/", "", path)
    assert _fetch(collection).here == 50
    rows[7] = (*rows[7][:3], rows[8][3])
    path.with_name("other.tsv").write_text("".join("\t".join(map(str, r)) + "\n" for r in rows))
    mixed = replace(collection, name="mixed", path=path.with_name("other.tsv"))
    with pytest.raises(DataError, match=f"something else.*{rows[7][0]}"):
        _fetch(mixed)


# The command


def _cli(*words: str, cache: Path) -> Ended:
    return run_cli("samples", *words, EDGEZOO_CACHE=str(cache))


def test_fetch_shows_the_terms_and_wants_an_answer(tmp_path: Path) -> None:
    ended = _cli("fetch", cache=tmp_path)
    assert ended.code == 2
    assert "non-commercial research" in ended.stderr
    assert ended.stderr.strip().endswith("edgezoo samples fetch --accept-terms")
    assert list(tmp_path.iterdir()) == []


def test_fetch_from_a_mirror(site: FileServer, tmp_path: Path) -> None:
    """The published addresses are asked for below it; here it has none of the images."""
    mirror = f"{site.address}/mirror"
    ended = run_cli("samples", "fetch", "--accept-terms", "--json", EDGEZOO_CACHE=str(tmp_path),
                    EDGEZOO_MIRROR=mirror)  # fmt: skip
    assert ended.code == 5
    message = json.loads(ended.stdout)["error"]["message"]
    assert f"{mirror}/raw.githubusercontent.com/EliSchwartz/imagenet-sample-images/bc69" in message
    assert {path.rpartition("/")[2] for path, _ in site.asked} <= {
        sample.name for sample in COLLECTION.samples()
    }


def test_calibration_without_samples(tmp_path: Path, output: Path) -> None:
    ended = run_cli("export", "mobilenet", "--weights", "random", "--int8", "--calibration",
                    "samples", "-o", output, EDGEZOO_CACHE=str(tmp_path))  # fmt: skip
    assert "edgezoo samples fetch" in ended.error(5)
