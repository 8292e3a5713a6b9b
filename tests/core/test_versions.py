"""What results depend on follows from the plug-ins: there is no list of packages to edit."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgezoo.core import registry, versions
from edgezoo.core.errors import UsageError


def test_contracts_keep_the_order_of_their_versions() -> None:
    """The bytes of exported files depend on it."""
    names = list(versions.artifact_versions())
    assert names[0] in ("tensorflow", "tensorflow-cpu")
    assert names[1:] == [
        "keras",
        "ai-edge-litert",
        "litert-quantizer",
        "tf2onnx",
        "onnx",
        "onnxruntime",
        "openvino",
        "nncf",
        "numpy",
        "pillow",
        "edgezoo",
    ]


def test_a_new_exporters_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pytest" not in versions.artifact_versions()
    toy = SimpleNamespace(packages=("pytest", "no_such_package"))
    monkeypatch.setitem(registry.exporters(), "toy", toy)
    assert versions.artifact_versions()["pytest"] == pytest.__version__


def test_dependencies_are_those_of_the_plugin() -> None:
    """With what its packages require, but not what other plug-ins load."""
    found = versions.dependencies(registry.runtimes()["onnxruntime"])
    assert {"onnxruntime", "flatbuffers", "numpy", "pillow"} <= found.packages.keys()
    assert not {"openvino", "tensorflow-cpu", "keras", "nncf"} & found.packages.keys()
    assert len(found.code_sha256) == 64
    without = versions.dependencies()
    assert without.packages.keys() < found.packages.keys()
    assert without.code_sha256 == found.code_sha256


def test_a_package_by_another_name_than_its_distribution() -> None:
    assert "pillow" in versions.dependencies().packages, "imported as PIL"


def test_devices_are_those_of_the_runtimes() -> None:
    registry.require_device("coral")
    with pytest.raises(UsageError, match="There is no device 'crl'") as caught:
        registry.require_device("crl")
    assert "coral" in caught.value.hint
