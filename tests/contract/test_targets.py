"""One suite for every target: a new file in edgezoo/targets/ is tested on arrival."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgezoo.core import registry
from edgezoo.core.errors import DataError, RefusedError, UsageError
from edgezoo.core.protocols import ExportJob, Placement
from edgezoo.core.spec import INPUT_KINDS, IO_TYPES, PRECISIONS, BuildArguments
from edgezoo.pipeline.plan import Plan, resolve
from edgezoo.pipeline.request import ExportRequest
from tests.conftest import ROOT, Ended

TARGETS = registry.targets()
each_target = pytest.mark.parametrize("name", TARGETS)
OPTIONS = {
    "formats": [(name,) for name in registry.exporters()],
    "precisions": [(name,) for name in PRECISIONS],
    "io": list(IO_TYPES),
    "input_kind": list(INPUT_KINDS),
}


@each_target
def test_declares_itself(name: str) -> None:
    target = TARGETS[name]
    assert target.name == name == name.lower()
    assert len(target.about.split()) > 2
    assert target.formats and set(target.formats) <= set(registry.exporters())
    assert target.precisions and set(target.precisions) <= set(PRECISIONS)
    assert target.io and set(target.io) <= set(IO_TYPES)
    assert target.runtime is None or target.runtime in registry.runtimes()
    if target.extra:
        assert f"\n{target.extra} = [" in (ROOT / "pyproject.toml").read_text()


@each_target
def test_what_it_asks_for_can_be_exported(name: str) -> None:
    target = TARGETS[name]
    for format in target.formats:
        for precision in target.precisions:
            job = ExportJob(format, precision, target.input_kinds[0], target.io[0])
            for spec in registry.models().values():
                assert registry.exporter(format).refusal(spec, job) is None


def _plan(**options: object) -> Plan:
    small = BuildArguments(input_size=32, alpha=0.25)
    return resolve(ExportRequest("mobilenet", small, weights="random",
                                 **options))  # type: ignore[arg-type]  # fmt: skip


@each_target
def test_fills_in_what_was_left_open(name: str) -> None:
    target = TARGETS[name]
    ((exporter, job),) = _plan(target=name).jobs
    assert (exporter.name, job.precision, job.io) == (
        target.formats[0], target.precisions[0], target.io[0]
    )  # fmt: skip


@each_target
@pytest.mark.parametrize("option", OPTIONS)
def test_refuses_what_contradicts_it(name: str, option: str) -> None:
    """Nothing that was asked for is changed: it is done or refused."""
    target = TARGETS[name]
    taken = {"formats": target.formats, "precisions": target.precisions, "io": target.io,
             "input_kind": target.input_kinds}[option]  # fmt: skip
    for value in OPTIONS[option]:
        word = value[0] if isinstance(value, tuple) else value
        if word in taken:
            assert _plan(target=name, **{option: value}).jobs
        else:
            with pytest.raises(RefusedError, match="contradict each other"):
                _plan(target=name, **{option: value})


@each_target
def test_placing_something_else(name: str, tmp_path: Path) -> None:
    other = tmp_path / "other.tflite"
    other.write_bytes(b"no model at all")
    with pytest.raises(DataError, match=r"other\.tflite"):
        TARGETS[name].place(other)


def test_unknown_target(cli: Callable[..., Ended]) -> None:
    with pytest.raises(UsageError, match="Did you mean coral"):
        registry.target("corall")
    message = cli("export", "mobilenet", "--weights", "random", "--target", "ethos-u56-128").error(
        2
    )
    assert "ethos-u55-128" in message


def test_request_without_a_target_is_float32() -> None:
    assert {job.precision for _, job in _plan().jobs} == {"float32"}


def test_nothing_to_compile(cli: Callable[..., Ended], tmp_path: Path) -> None:
    """A microcontroller takes the file as it is."""
    made = cli("export", "mobilenet", "--alpha", "0.25", "--input-size", "32", "--weights",
               "random", "--target", "tflite-micro", "--calibration-count", "8", "--no-verify",
               "--json", "-o", tmp_path)  # fmt: skip
    (artifact,) = made.json["artifacts"]
    assert (artifact["precision"], artifact["input"]["dtype"]) == ("int8", "int8")
    message = cli("compile", artifact["path"], "--target", "tflite-micro").error(3)
    assert "has no compiler" in message
    placement = TARGETS["tflite-micro"].place(Path(artifact["path"]))
    assert isinstance(placement, Placement) and placement.cpu_ops == ()
