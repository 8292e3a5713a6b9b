"""Model card and bill of materials: all that the manifest says, and nothing that runs."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from edgezoo.reporting import card, sbom
from tests.conftest import Exported, run_cli


@pytest.fixture
def manifest(exported: Exported) -> dict[str, Any]:
    return copy.deepcopy(exported.manifest)


def test_card_says_what_the_manifest_says(manifest: dict[str, Any]) -> None:
    text = card.to_markdown(manifest)
    assert text.startswith("# mobilenet 0.25 at 32 px\n\nAn image classifier of 1000 classes")
    for entry in manifest["artifacts"]:
        for file in entry["files"]:
            assert f"| {file['path']} | {entry['format']} |" in text.replace("\\", "")
            assert file["sha256"] in text
    assert manifest["weights"]["sha256"] in text
    assert manifest["edgezoo"]["code_sha256"] in text
    (metadata,) = {
        e["contract"]["calibration"]["list_sha256"]
        for e in manifest["artifacts"]
        if e["contract"]["calibration"]
    }
    assert metadata in text
    for line in text.splitlines():
        assert not line.startswith("|") or line.count("|") - line.count("\\|") >= 3


def test_card_of_random_weights_says_so(manifest: dict[str, Any]) -> None:
    manifest["trained"] = False
    text = card.to_markdown(manifest)
    assert "An untrained image classifier" in text and "answers mean nothing" in text


def test_names_of_strangers_stay_text(manifest: dict[str, Any]) -> None:
    manifest["model"] = manifest["command"] = "<script>x</script>|[a](javascript:b)`c`\n# d"
    text = card.to_markdown(manifest)
    assert "<script" not in text and "\n# d" not in text
    assert not re.search(r"(?<!\\)\[a(?<!\\)\]\(", text)


def test_bill_is_cyclonedx(manifest: dict[str, Any]) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    text = sbom.to_cyclonedx(manifest, "m")
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == sbom.to_cyclonedx(manifest, "m"), "no date, no random number"
    bill = json.loads(text)
    parts = {part["bom-ref"]: part for part in bill["components"]}
    assert parts["weights"]["hashes"] == [
        {"alg": "SHA-256", "content": manifest["weights"]["sha256"]}
    ]
    files = [file for entry in manifest["artifacts"] for file in entry["files"]]
    for file in files:
        (digest,) = parts[f"file:{file['path']}"]["hashes"]
        assert digest["content"] == file["sha256"]
    assert parts[f"pkg:pypi/numpy@{manifest['versions']['numpy']}"]["scope"] == "excluded"
    assert len(parts) == 1 + len(files) + len(manifest["versions"])


def test_bill_of_random_weights(manifest: dict[str, Any]) -> None:
    """Neither a file nor a licence."""
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    manifest["weights"] = {**manifest["weights"], "source": "random", "file": None}
    text = sbom.to_cyclonedx(manifest, "m")
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_command(exported: Exported, tmp_path: Path) -> None:
    (manifest,) = exported.folder.glob("*.manifest.json")
    ended = run_cli("report", manifest, "--as", "card,sbom", "-o", tmp_path, "--json")
    made = [Path(path) for path in ended.json["reports"]]
    assert [path.name for path in made] == [
        "mobilenet_0.25_32.card.md",
        "mobilenet_0.25_32.cdx.json",
    ]
    assert all(path.stat().st_size > 2000 for path in made)
    assert "Did you mean card" in run_cli("report", manifest, "--as", "crad").error(2)
    told = json.loads(manifest.read_text())
    lacking = tmp_path / f"lacking{manifest.name}"
    lacking.write_text(json.dumps({"schema": 1, "artifacts": []}))
    assert "it lacks" in run_cli("report", lacking).error(5)
    told["artifacts"][0]["files"][0]["sha256"] = "0" * 64
    wrong = tmp_path / manifest.name
    wrong.write_text(json.dumps(told))
    assert "does not describe what is there" in run_cli("report", wrong).error(5)
