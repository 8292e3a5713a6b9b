"""One suite for every runtime: a new file in runtimes/ is tested on arrival.

Each runtime is tried once in a process of its own (tests/support/probe_runtime.py), so that a
damaged file that crashes native code fails a test instead of ending all of them.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core import registry
from tests.conftest import FORMATS, SUPPORT, Exported, Trained, environment, made_once
from tests.support.foreign import strip_contract
from tests.support.processes import PATIENCE

RUNTIMES = registry.runtimes()
DAMAGES = (
    "empty",
    "random",
    "cut 10 %",
    "cut 50 %",
    "cut 90 %",
    "overwritten",
    "of another format",
)

pytestmark = pytest.mark.parametrize("name", RUNTIMES)


def _damaged(path: Path, other: Path, folder: Path) -> dict[str, str]:
    """Spoilt copies of a file, by the words of DAMAGES."""
    whole = path.read_bytes()
    spoilt = bytearray(whole)
    spoilt[16:] = random.Random(1).randbytes(len(whole) // 2)
    contents = (
        b"",
        random.Random(0).randbytes(5000),
        whole[: len(whole) // 10],
        whole[: len(whole) // 2],
        whole[: len(whole) * 9 // 10],
        bytes(spoilt),
        other.read_bytes(),
    )
    made = {}
    for number, (case, content) in enumerate(zip(DAMAGES, contents, strict=True)):
        made[case] = folder / f"{number}{path.suffix}"
        made[case].write_bytes(content)
        if path.with_suffix(".bin").exists() and path.suffix == ".xml":
            shutil.copy(path.with_suffix(".bin"), made[case].with_suffix(".bin"))
    return {case: str(file) for case, file in made.items()}


@pytest.fixture
def facts(name: str, exported: Exported, trained: Trained, common: Path) -> dict[str, Any]:
    """What the probe says of a runtime."""

    def make(folder: Path) -> None:
        format = RUNTIMES[name].format
        path = exported.path(format, "int8") if format in FORMATS else trained.keras
        other = exported.path("onnx" if format != "onnx" else "tflite", "int8")
        request = {
            "file": str(path),
            "foreign": str(strip_contract(path, folder)),
            "damaged": _damaged(path, other, folder),
        }
        (folder / "request.json").write_text(json.dumps(request))
        ended = subprocess.run(
            [sys.executable, str(SUPPORT / "probe_runtime.py"), name, str(folder / "request.json")],
            capture_output=True,
            text=True,
            errors="replace",
            env=environment(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow"),
            timeout=3 * PATIENCE,
            check=False,
        )
        (folder / "probe.log").write_text(ended.stderr)
        ended.check_returncode()
        (folder / "facts.json").write_text(ended.stdout)

    folder = made_once(common / f"probe-{name}", make)
    loaded: dict[str, Any] = json.loads((folder / "facts.json").read_text())
    return loaded


def test_declares_itself(name: str) -> None:
    runtime = RUNTIMES[name]
    assert runtime.name == name
    assert all(s.startswith(".") and s == s.lower() for s in runtime.suffixes)
    for suffix in runtime.suffixes:
        assert registry.runtime_for(Path(f"X{suffix.upper()}")) is runtime
    if not runtime.suffixes:  # a second runtime of a format, asked for by name
        usual = [r for r in RUNTIMES.values() if r.format == runtime.format and r.suffixes]
        path = Path(f"X{usual[0].suffixes[0]}")
        assert registry.runtime_for(path, name) is runtime
    extras = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f"\n{runtime.extra} = [" in extras


def test_is_there(name: str, facts: dict[str, Any]) -> None:
    assert facts["version"].split()[-1][0].isdigit()
    assert {"cpu"} <= {*facts["devices"]} <= {*RUNTIMES[name].supported_devices}


def test_opens_its_format(name: str, facts: dict[str, Any]) -> None:
    whole = facts["whole"]
    assert whole["refusal_cpu"] is None
    assert whole["input"][0][1:] == [32, 32, 3]
    assert whole["input"][1] == ("float32" if name == "keras" else "uint8")
    assert whole["output"][0] == [1, 1000]
    assert sum(whole["ops"].values()) > 20


def test_lists_all_its_files(name: str, facts: dict[str, Any]) -> None:
    assert all(Path(path).is_file() for path in facts["whole"]["files"])


def test_reads_its_contract(name: str, facts: dict[str, Any]) -> None:
    contract = facts["whole"]["contract"]
    assert (contract is None) == (name == "keras")
    if contract is not None:
        assert (contract["schema"], contract["model"]) == (1, "mobilenet")


def test_foreign_file_has_no_contract(name: str, facts: dict[str, Any]) -> None:
    assert facts["foreign"] == {"value": None}


def test_batch_gives_what_single_images_give(name: str, facts: dict[str, Any]) -> None:
    whole = facts["whole"]
    assert whole["batch"] == [[5, 1000], whole["output"][1]]
    assert whole["same_as_single"]
    assert whole["same_again"]
    assert whole["kept"], "five pictures gave one answer: a result was overwritten"
    assert whole["prepared"], "what a stopwatch times gives the same answer every time"
    assert whole["none"] == [0, 1000]


def test_threads_change_nothing_that_matters(name: str, facts: dict[str, Any]) -> None:
    assert facts["whole"]["threads"] <= (1e-5 if facts["whole"]["output"][1] == "float32" else 1)


@pytest.mark.parametrize("case", ["dtype", "size", "layout", "unbatched"])
def test_refuses_another_input(name: str, facts: dict[str, Any], case: str) -> None:
    got = facts["whole"]["bad"][case]
    assert got["error"] == "DataError", got
    assert "takes" in got["message"] and "got" in got["message"]
    assert "32, 32, 3" in got["message"]


def test_refuses_a_device_that_is_not_there(name: str, facts: dict[str, Any]) -> None:
    """Never a silent run on the CPU."""
    whole = facts["whole"]
    assert "tpu9" in whole["refusal_tpu"] and "cpu" in whole["refusal_tpu"]
    assert whole["open_tpu"]["error"] == "MissingError"
    assert "tpu9" in whole["open_tpu"]["message"]


def test_closes_more_than_once(name: str, facts: dict[str, Any]) -> None:
    assert facts["whole"]["closed_twice"] == {"value": None}


@pytest.mark.parametrize("case", DAMAGES)
@pytest.mark.parametrize("step", ["load", "describe", "open"])
def test_damaged_file(name: str, facts: dict[str, Any], case: str, step: str) -> None:
    """A sentence that names the file; no crash, no other exception, no success."""
    got = facts["damaged"][case][step]
    assert got.get("error") == "DataError", got
    assert str(DAMAGES.index(case)) in got["message"]
    assert "\n" not in got["message"]
    assert "Traceback" not in got["message"]


def test_native_libraries_stay_quiet(name: str, facts: dict[str, Any], common: Path) -> None:
    """What a runtime's library prints at a damaged file would drown EdgeZoo's one sentence."""
    lines = (common / f"probe-{name}" / "probe.log").read_text(errors="replace").splitlines()
    assert [line for line in lines if not line.startswith("probe: ")] == []
