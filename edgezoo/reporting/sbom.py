"""The bill of materials of a manifest, as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json).

It has neither a date nor a random number: the same manifest results in the same bytes.
"""

from __future__ import annotations

import json
import uuid
from urllib.parse import quote

from edgezoo.results.manifest import Facts

_MODEL, _WEIGHTS = "model", "weights"


def to_cyclonedx(manifest: Facts, name: str) -> str:
    """Return the bill of materials of a manifest of `edgezoo.results.manifest.read`.

    The files and the weights are components that are shipped; the packages that made them have
    the scope "excluded", CycloneDX's word for what is not needed at run time. `name` is that of the
    model: what the names of its files start with.
    """
    files = [_file(entry, file) for entry in manifest["artifacts"] for file in entry["files"]]
    packages = [_package(*item) for item in sorted(manifest["versions"].items())]
    parts = [_WEIGHTS, *(file["bom-ref"] for file in files)]
    seed = json.dumps(manifest, sort_keys=True)
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, seed)}",
        "version": 1,
        "metadata": {
            "tools": {"components": [_edgezoo(manifest.get("edgezoo", {}))]},
            "component": _model(manifest, name),
        },
        "components": [_weights(manifest["weights"]), *files, *packages],
        "dependencies": [{"ref": _MODEL, "dependsOn": parts}],
    }
    return json.dumps(bill, indent=1) + "\n"


def _properties(**facts: str | None) -> list[Facts]:
    return [{"name": f"edgezoo:{key}", "value": value} for key, value in facts.items() if value]


def _hashes(digest: str | None) -> list[Facts]:
    return [{"alg": "SHA-256", "content": digest}] if digest else []


def _edgezoo(own: Facts) -> Facts:
    version, hashes = own.get("version") or "unknown", _hashes(own.get("code_sha256"))
    return {"type": "application", "name": "edgezoo", "version": version, "hashes": hashes}


def _component(kind: str, reference: str, name: str, **facts: object) -> Facts:
    return {"type": kind, "bom-ref": reference, "name": name, **facts}


def _model(manifest: Facts, name: str) -> Facts:
    own, place = manifest.get("edgezoo", {}), manifest.get("platform", {})
    command, commit = manifest.get("command"), own.get("commit")
    properties = _properties(command=command, commit=commit, python=place.get("python"))
    return _component("machine-learning-model", _MODEL, name, properties=properties)


def _weights(weights: Facts) -> Facts:
    licence = weights.get("licence")
    return _component(
        "data",
        _WEIGHTS,
        weights.get("file") or f"{weights['source']} weights",
        hashes=_hashes(weights.get("sha256")),
        licenses=[{"license": {"name": licence}}] if licence else [],
        properties=_properties(source=weights["source"], origin=weights.get("origin")),
    )


def _file(entry: Facts, file: Facts) -> Facts:
    path, hashes = file["path"], _hashes(file["sha256"])
    properties = _properties(format=entry["format"], precision=entry["precision"])
    return _component("file", f"file:{path}", path, hashes=hashes, properties=properties)


def _package(name: str, version: str) -> Facts:
    purl = f"pkg:pypi/{quote(name.lower(), safe='')}@{quote(version, safe='')}"
    return _component("library", purl, name, version=version, scope="excluded", purl=purl)
