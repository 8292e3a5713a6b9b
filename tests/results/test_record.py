"""Records: what is written is read again, also that of schema 1; the wrong field is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core import typed_json
from edgezoo.core.errors import DataError
from edgezoo.results.record import Accuracy, Measured
from edgezoo.results.store import open_store, read_record
from tests.support.fake_records import changed, failed, measured, record, write_store


def _write(folder: Path, facts: Any) -> Path:
    path = folder / "record.json"
    path.write_text(json.dumps(facts))
    return path


@pytest.mark.parametrize("made", [record(), record(hits=None), record(kind="estimate"), failed()])
def test_what_is_written_is_read_again(made: Any, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [made])
    (path,) = (store / "records").iterdir()
    read = read_record(path)
    assert changed(changed(read, "store", None), "key", "") == made
    assert "store" not in json.loads(path.read_text())


def _old(made: Measured) -> dict[str, Any]:
    """The same record as schema 1 had it, with shares."""
    facts: dict[str, Any] = typed_json.encode(made)
    facts |= {"schema": 1}
    accuracy = facts["accuracy"]
    points, interval = accuracy.pop("drop_points"), accuracy.pop("drop_points_ci95")
    accuracy["drop"] = None if points is None else points / 100
    accuracy["drop_ci95"] = None if interval is None else [end / 100 for end in interval]
    accuracy["outcomes_sha256"] = None
    return facts


def test_records_of_schema_1_are_read_in_points(tmp_path: Path) -> None:
    read = read_record(_write(tmp_path, _old(_paired())))
    assert isinstance(read, Measured) and read.accuracy and read.schema == 2
    assert read.accuracy.drop_points == pytest.approx(1.5)
    assert read.accuracy.drop_points_ci95 == pytest.approx((-0.5, 3.5))
    without = read_record(_write(tmp_path, _old(measured())))
    assert isinstance(without, Measured) and without.accuracy
    assert without.accuracy.drop_points is None


def _paired() -> Measured:
    """A record with a drop of its own."""
    facts = typed_json.encode(measured().accuracy)
    facts |= {"drop_points": 1.5, "drop_points_ci95": [-0.5, 3.5]}
    made = changed(measured(), "accuracy", typed_json.decode(Accuracy, facts))
    assert isinstance(made, Measured)
    return made


def test_files_of_records_that_did_not_name_them(tmp_path: Path) -> None:
    for path, file in (("a.tflite", "a.tflite"), ("artifacts/a.tflite", None)):
        facts = _old(changed(measured(), "artifact.path", path))
        del facts["file"]
        assert read_record(_write(tmp_path, facts)).file == file


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("latency.latency_ms.median", -1.0, "its latency.latency_ms.median: -1.0."),
        ("latency.latency_ms.median", None, "its latency.latency_ms.median: None."),
        ("latency.blocks_ms", [[1.0, "x"]], "its latency.blocks_ms[0][1]: 'x'."),
        ("trust.level", "great", "its trust.level: 'great'."),
        ("variant.threads", True, "its variant.threads: True."),
        ("accuracy.drop_points", 1.0, "its accuracy: a drop goes with its interval."),
        ("environment.machine", ..., "its environment.machine is missing."),
    ],
)
def test_the_wrong_field_is_named(path: str, value: Any, told: str, tmp_path: Path) -> None:
    facts: Any = typed_json.encode(measured())
    *names, last = path.split(".")
    holder = facts
    for name in names:
        holder = holder[name]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    with pytest.raises(DataError) as caught:
        read_record(_write(tmp_path, facts))
    assert caught.value.message.endswith(f"record.json is damaged: {told}")


def test_a_store_of_schema_1_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"kind": "edgezoo-results", "schema": 1}')
    with open_store(tmp_path) as store:
        store.keep("a", _paired().accuracy)
        store.keep("b", _old(_paired())["accuracy"])
        first, second = store.note(Accuracy, "a"), store.note(Accuracy, "b")
        assert first and second and second.drop_points == pytest.approx(first.drop_points)
        assert store.note(Accuracy, "missing") is None
    assert json.loads((tmp_path / "store.json").read_text())["schema"] == 2
