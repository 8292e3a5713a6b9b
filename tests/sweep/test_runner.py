"""A sweep ends with the same records, however often it was cut off."""

from __future__ import annotations

import errno
import json
import multiprocessing
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgezoo.core import registry, typed_json
from edgezoo.core.errors import DataError, UsageError
from edgezoo.results.store import open_store, read_records
from edgezoo.sweep.keys import images_hash
from edgezoo.sweep.runner import run
from edgezoo.sweep.steps import Steps
from tests.conftest import Trained, environment
from tests.evaluation.test_accuracy import write_kit
from tests.support import fake_sweep
from tests.support.processes import Changes, until

FAKE = Steps(fake_sweep.export, fake_sweep.evaluate, fake_sweep.measure)
MOMENTS = 20


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "images" / "n01440764").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "n01440764" / "a.png")
    return tmp_path / "store"


def _start(store: Path, *options: Any) -> Any:
    """A process that sweeps, forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.fake_sweep"])
    child = context.Process(target=_sweep_and_die, args=(store, *options))
    child.start()
    return child


def _sweep_and_die(store: Path, at: int | None, count: Path | None = None) -> None:
    """End by SIGKILL before a change; `count` is a file for how many there were."""
    changes = Changes(at)
    fake_sweep.main(store)
    if count:
        count.write_text(str(changes.count))


def _records(store: Path) -> dict[str, Any]:
    """All records but for what differs from run to run."""
    records, damaged = read_records(store)
    assert damaged == []
    found = [typed_json.encode(record) for record in records]
    for record in found:
        del record["created"], record["store"]
        record.get("session", {}).pop("id", None)
    return {f"{record['key']} {record['variant']}": record for record in found}


def _sweep(store: Path, **options: Any) -> Any:
    request = fake_sweep.request(store, store.parent / "images")
    return run(request, steps=FAKE, **options)


def _calls(store: Path) -> list[str]:
    return store.with_suffix(".log").read_text().splitlines()


def test_every_variant_has_its_record(store: Path) -> None:
    outcome = _sweep(store)
    records = _records(store)
    assert len(records) == len(outcome.records) == 24 and outcome.done_before == 0
    failed = {r["error"]["step"]: r for r in records.values() if r["status"] == "failed"}
    assert set(failed) == {"export", "measure"}
    assert "SIGABRT" in failed["export"]["error"]["message"]
    assert failed["export"]["variant"]["alpha"] == 0.5
    good = [r for r in records.values() if r["status"] == "measured"]
    assert len(good) == 22
    for record in good:
        assert record["accuracy"]["reference"].startswith("mobilenet_")
        assert "float32" in record["accuracy"]["reference"]
        assert record["latency"]["blocks_ms"] == [[1.0, 2.0]] * 2
        assert (store / record["artifact"]["path"]).is_file()


def test_nothing_is_done_twice(store: Path) -> None:
    _sweep(store)
    calls = _calls(store)
    # The one file that fails makes its network be exported one by one; all else is done once.
    measured = [line for line in calls if line.startswith("measure")]
    assert len(measured) == len(set(measured)) == 23
    outcome = _sweep(store)
    assert outcome.done_before == 24 and _calls(store) == calls


def test_failed_ones_are_tried_again_when_asked(store: Path) -> None:
    _sweep(store)
    calls = len(_calls(store))
    _sweep(store, retry_failed=True)
    again = _calls(store)[calls:]
    assert [line.split()[0] for line in again] == ["measure", "export"]
    assert len(_records(store)) == 24


def test_a_changed_file_or_calibration_is_made_anew(store: Path) -> None:
    _sweep(store)
    calls = len(_calls(store))
    changed = next(iter((store / "artifacts").glob("*0.25_32_float32_tflite*.tflite")))
    changed.write_bytes(b"\x12\x07damaged")
    for path in (store / "records").glob("*0.25_32_float32_tflite*"):
        path.unlink()
    _sweep(store)
    assert _calls(store)[calls] == "export mobilenet_0.25_32_float32_tflite__t0"
    assert len(_records(store)) == 24
    calls = len(_calls(store))
    Image.new("RGB", (8, 8)).save(store.parent / "images" / "n01440764" / "b.png")
    _sweep(store)
    again = _calls(store)[calls:]
    assert not [line for line in again if line.startswith("export") and "int8_onnx" not in line]
    assert sum(line.startswith("evaluate") for line in again) == 23, "other images, other accuracy"
    assert len(list((store / "records").iterdir())) > 24, "records of the other images stay"


def _hashes(store: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (store / "artifacts").iterdir()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"calibration_count": 32}, "--calibration-count was 200 and is 32"),
        ({"seed": 7}, "--seed was 0 and is 7"),
        ({"calibration": "images"}, "--calibration was different"),
    ],
)
def test_files_that_records_tell_of_are_not_overwritten(
    store: Path, change: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are named by what they are, not by how they were calibrated."""
    monkeypatch.chdir(store.parent)
    _sweep(store)
    files, calls, found = _hashes(store), _calls(store), _records(store)
    request = replace(fake_sweep.request(store, store.parent / "images"), **change)
    with pytest.raises(UsageError, match=words) as caught:
        run(request, steps=FAKE)
    assert str(store) in caught.value.message and "--output" in caught.value.hint
    assert (_hashes(store), _calls(store), _records(store)) == (files, calls, found)
    shutil.rmtree(store / "artifacts")
    assert len(run(request, steps=FAKE).records) == 24, "nothing is lost then"


def test_trained_and_untrained_files_lie_side_by_side(store: Path, trained: Trained) -> None:
    """Their names differ on disk, so neither sweep stands in the other's way."""
    request = replace(fake_sweep.request(store, store.parent / "images"), alpha=(0.25,),
                      input_size=(32,))  # fmt: skip
    run(request, steps=FAKE)
    both = replace(request, weights=str(trained.weights))
    assert {record.status for record in run(both, steps=FAKE).records} == {"measured"}
    with pytest.raises(UsageError, match="--seed was 0 and is 1"):
        run(replace(both, seed=1), steps=FAKE)
    assert run(request, steps=FAKE).done_before == 6


def test_other_sweeps_of_an_older_store(store: Path) -> None:
    """Its notes do not say what files were made from; what it has records of is done."""
    _sweep(store)
    for path in (store / "notes").glob("file-*.json"):
        facts = json.loads(path.read_text())
        del facts["made_from"]
        path.write_text(json.dumps(facts))
    assert _sweep(store).done_before == 24
    request = replace(fake_sweep.request(store, store.parent / "images"), seed=7)
    with pytest.raises(UsageError, match="other settings"):
        run(request, steps=FAKE)
    floats = replace(fake_sweep.request(store, store.parent / "images"), calibration_count=9,
                     precision=("float32",), threads=("2",))  # fmt: skip
    assert {r.status for r in run(floats, steps=FAKE).records} == {"measured", "failed"}


def test_a_lost_file_of_weights_is_made_anew(store: Path) -> None:
    """An OpenVINO artifact is two files; the sweep goes on whichever is lost."""
    _sweep(store)
    calls, whole = len(_calls(store)), _records(store)
    (store / "artifacts" / "mobilenet_0.25_32_float32_openvino__t0.bin").unlink()
    for path in (store / "records").glob("*0.25_32_float32_openvino*"):
        path.unlink()
    _sweep(store)
    assert "export mobilenet_0.25_32_float32_openvino__t0" in _calls(store)[calls:]
    assert _records(store) == whole


def test_half_written_record_is_made_anew(store: Path) -> None:
    _sweep(store)
    whole = _records(store)
    victim = sorted((store / "records").iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:100])
    _, damaged = read_records(store)
    assert len(damaged) == 1 and victim.name in damaged[0]
    _sweep(store)
    assert _records(store) == whole


def test_another_list_of_classes_is_noticed(store: Path) -> None:
    """Whether it was named, or found beside the images; with the order that it counts in."""
    images = store.parent / "images"
    Image.new("RGB", (8, 8)).save(images / "ILSVRC2012_val_00000001.png")
    request, (folder, beside) = (
        fake_sweep.request(store, images),
        (images, store.parent / "val.txt"),
    )
    hashes = {images_hash(request)}
    beside.write_text("ILSVRC2012_val_00000001.png 4\n")
    hashes |= {images_hash(request)}
    assert images_hash(replace(request, ground_truth=beside)) in hashes
    beside.write_text("ILSVRC2012_val_00000001.png 5\n")
    hashes |= {images_hash(request)}
    beside.unlink()
    write_kit(folder, "1\n")
    hashes |= {images_hash(request)}
    write_kit(folder, "1\n", (80, 70))
    assert len(hashes | {images_hash(request)}) == 5
    assert len({record.accuracy.images_hash for record in _scored(store)}) == 1
    beside.write_text("a 6\n")
    (folder / "ILSVRC2012_validation_ground_truth.txt").unlink()
    assert len({record.accuracy.images_hash for record in _scored(store)}) == 2


def _scored(store: Path) -> list[Any]:
    _sweep(store)
    return [record for record in read_records(store)[0] if record.status == "measured"]


def test_missing_images_stop_a_resumed_sweep(store: Path) -> None:
    _sweep(store)
    (store.parent / "images").rename(store.parent / "elsewhere")
    with pytest.raises(DataError, match="images"):
        _sweep(store)
    assert len(_records(store)) == 24


def test_newer_store_is_refused(store: Path) -> None:
    store.mkdir()
    (store / "store.json").write_text(json.dumps({"kind": "edgezoo-results", "schema": 3}))
    with pytest.raises(DataError, match="schema 3") as caught:
        _sweep(store)
    assert "Upgrade" in caught.value.hint
    assert not (store / "records").exists()


def test_newer_record_is_not_overwritten(store: Path) -> None:
    _sweep(store)
    victim = sorted((store / "records").iterdir())[3]
    text = json.dumps({**json.loads(victim.read_text()), "schema": 3})
    victim.write_text(text)
    with pytest.raises(DataError, match="schema 3") as caught:
        _sweep(store)
    assert "Upgrade" in caught.value.hint and victim.name in caught.value.message
    assert victim.read_text() == text


@pytest.mark.parametrize("file", ["store.json", ".lock"])
def test_read_only_store(store: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """As a read-only disk has it (permissions do not stop root): the store is named."""
    store.mkdir()

    def refuse(path: Path, *given: Any, **named: Any) -> Any:
        if file in path.name:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return usual["open"](path, *given, **named)

    usual = {"open": Path.open}
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "write_text", lambda path, text, **_: refuse(path, "w").close())
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(DataError) as caught, open_store(store):
        pass
    words = f"Nothing can be written to the results store {store}: Read-only file system."
    assert caught.value.message == words
    assert "--output" in caught.value.hint


def test_accuracy_of_another_runtime_is_found_anew(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Latency is; a record must not tell of two runtimes."""
    _sweep(store)
    calls = len(_calls(store))
    runtime = type(registry.runtime_for(Path("a.onnx")))
    monkeypatch.setattr(runtime, "version", lambda self: "onnxruntime 99")
    _sweep(store)
    again = [line for line in _calls(store)[calls:] if line.startswith("evaluate")]
    assert len(again) == 7 and all("onnx" in line for line in again), "one cannot be made"


def test_two_sweeps_do_not_write_to_one_store(store: Path) -> None:
    with open_store(store), pytest.raises(UsageError, match="Another"):
        _sweep(store)


def test_killed_at_any_moment(store: Path, tmp_path: Path) -> None:
    """SIGKILL before a change to the disk; what is there is whole, the next run completes it."""
    note = tmp_path / "changes"
    child = _start(store, None, note)
    child.join()
    assert child.exitcode == 0
    changes, whole, calls = int(note.read_text()), _records(store), len(_calls(store))
    cut_in_the_middle = 0
    for moment in random.Random(0).sample(range(changes // 20, changes + 1), MOMENTS):
        place = store.with_name(f"killed{moment}")
        child = _start(place, moment)
        child.join()
        assert child.exitcode == -signal.SIGKILL
        found = _records(place) if (place / "records").is_dir() else {}
        assert {key: whole[key] for key in found} == found
        cut_in_the_middle += 0 < len(found) < 24
        _sweep(place)
        assert _records(place) == whole
        assert len(_calls(place)) <= calls + 14, "no more than a network's steps are repeated"
        assert not [p for p in (place / "records").iterdir() if p.name.startswith(".")]
    assert cut_in_the_middle >= MOMENTS // 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_real_sweep_killed_three_times(tmp_path: Path) -> None:
    """24 variants with the real steps; the records end the same but for what clocks say."""
    command = [
        *(sys.executable, "-m", "edgezoo", "benchmark", "mobilenet", "--alpha", "0.25,0.3"),
        *("--input-size", "32,48", "--precision", "float32,int8", "--weights", "random"),
        *("--calibration-count", "16", "--no-self-check", "-q", "-o"),
    ]
    whole = tmp_path / "whole"
    subprocess.run([*command, str(whole)], env=environment(), check=True, capture_output=True)
    wanted = timeless(whole)
    assert len(wanted) == 24
    for moment in (1, 9, 17):
        place = tmp_path / f"killed{moment}"
        child = subprocess.Popen([*command, str(place)], env=environment(),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        records = place / "records"
        assert until(lambda: len(list(records.glob("*"))) >= moment, 3000)  # noqa: B023 - now
        child.kill()
        child.wait()
        found = timeless(place) if (place / "records").is_dir() else {}
        assert {key: wanted[key] for key in found} == found
        subprocess.run([*command, str(place)], env=environment(), check=True, capture_output=True)
        assert timeless(place) == wanted


def timeless(store: Path) -> dict[str, Any]:
    """What a record says but for figures of time and memory."""
    return {
        key: {name: record.get(name) for name in ("variant", "artifact", "accuracy", "status")}
        for key, record in _records(store).items()
    }
