"""Sweeps on a real scheduler and real workers, as processes on the loopback device."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgezoo.core import typed_json
from edgezoo.core.errors import MissingError
from edgezoo.results.store import read_records
from edgezoo.sweep import cluster, steps, worker
from edgezoo.sweep.grid import SweepRequest
from edgezoo.sweep.runner import Outcome, run
from tests.conftest import Exported, Trained, environment, run_cli
from tests.docs.test_schemas import check
from tests.support import fake_cluster, fake_sweep
from tests.support.processes import PATIENCE, until
from tests.sweep.test_runner import timeless

if os.environ.get("CI") != "true":  # which installs it
    pytest.importorskip("distributed")


def _address(file: Path) -> str | None:
    """Return the address that the scheduler wrote; None until all of the file is there."""
    try:
        return str(json.loads(file.read_text())["address"])
    except (OSError, ValueError):
        return None


class Cluster:
    """A scheduler, and workers that come and go."""

    def __init__(self, folder: Path, exported: Path) -> None:
        self._folder, self._exported = folder, exported
        self.children: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--port", "0", "--scheduler-file", str(folder / "scheduler.json"))
        assert until(lambda: _address(folder / "scheduler.json"))
        self.address = str(_address(folder / "scheduler.json"))

    def worker(self, *options: str, **env: str) -> None:
        self._start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--local-directory",
            str(self._folder), "--preload", "tests.support.fake_cluster", *options,
            **{"FAKE_EXPORTED": str(self._exported), **env},
        )  # fmt: skip

    def _start(self, kind: str, *options: str, **env: str) -> None:
        self.children.append(
            subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + kind, "--host", "127.0.0.1",
                 "--no-dashboard", *options],
                env=environment(DASK_LOGGING__DISTRIBUTED="critical", **env),
                cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip

    def stop(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()

    @property
    def dead(self) -> int:
        return sum(child.poll() is not None for child in self.children)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers may take their time to start."""
    monkeypatch.setattr(cluster, "_WORKERS_S", PATIENCE)


@pytest.fixture
def dask(tmp_path: Path, exported: Exported) -> Iterator[Cluster]:
    made = Cluster(tmp_path, exported.folder)
    yield made
    made.stop()


def _request(trained: Trained, store: Path) -> SweepRequest:
    return SweepRequest(
        models=("mobilenet",), alpha=(0.25, 0.5), input_size=(32,), format=("tflite", "openvino"),
        precision=("float32", "int8"), weights="random", images=trained.test, limit=390,
        output=store,
    )  # fmt: skip


def _sweep(request: SweepRequest, address: str, measure_on: str = cluster.HERE) -> Outcome:
    with cluster.connected(request, address, None, measure_on) as made:
        measure = fake_sweep.measure if measure_on == cluster.HERE else made.measure
        return run(request, steps=replace(made, measure=measure))


def _records(store: Path) -> dict[str, Any]:
    records, damaged = read_records(store)
    assert damaged == [] and not list((store / "records").glob(".*"))
    found = [typed_json.encode(record) for record in records]
    for record in found:
        del record["created"], record["store"]
        record.get("session", {}).pop("id", None)
    return {f"{record['key']} {record['variant']}": record for record in found}


@pytest.fixture(scope="module")
def local(
    trained: Trained, exported: Exported, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The records of the same sweep without a cluster."""
    store = tmp_path_factory.mktemp("local") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_EXPORTED", str(exported.folder))
        own = steps.Steps(fake_cluster.export, steps.evaluate, fake_sweep.measure)
        run(_request(trained, store), steps=own)
    return _records(store)


@pytest.mark.parametrize("death", ["none", pytest.param("export", marks=pytest.mark.slow), "rank"])
def test_records_are_those_of_one_machine(
    death: str, dask: Cluster, trained: Trained, local: dict[str, Any], tmp_path: Path
) -> None:
    """Also where one of two workers is killed while it exports or scores."""
    for _ in range(2):
        dask.worker(FAKE_DEATH=f"{death}:{tmp_path / 'died'}")
    outcome = _sweep(_request(trained, tmp_path / "store"), dask.address)
    assert len(outcome.records) == 8 and outcome.done_before == 0
    assert _records(tmp_path / "store") == local
    assert all(r["status"] == "measured" and r["accuracy"]["top1"] > 0.5 for r in local.values())
    assert dask.dead == (tmp_path / "died").exists() == (death != "none")
    again = _sweep(_request(trained, tmp_path / "store"), dask.address)
    assert again.done_before == 8


@pytest.mark.slow
def test_task_that_kills_every_worker_fails_alone(
    dask: Cluster, trained: Trained, local: dict[str, Any], tmp_path: Path
) -> None:
    for _ in range(2):
        dask.worker("--nanny", FAKE_DEATH="always")
    request = replace(_request(trained, tmp_path / "store"), alpha=(0.25,), format=("tflite",))
    records = {r.variant.precision: r for r in _sweep(request, dask.address).records}
    assert records["float32"].status == "measured"
    error = records["int8"].error
    assert error and error.step == "evaluate" and "workers died" in error.message


def test_latency_on_the_labelled_worker(dask: Cluster, trained: Trained, tmp_path: Path) -> None:
    """Real measuring, by the command; exports and scores are elsewhere."""
    dask.worker()
    dask.worker("--resources", "board=1")
    ended = run_cli(
        *("benchmark", "mobilenet", "--alpha", "0.25", "--input-size", "32", "--format", "tflite"),
        *("--weights", "random", "--images", trained.test, "--limit", "20", "--no-self-check"),
        *("--cluster", dask.address, "--measure-on", "board", "-o", tmp_path / "store", "--json"),
    )
    assert ended.code == 0, ended.stderr
    check("benchmark", ended.json)
    (result,) = ended.json["results"]
    assert result["latency_ms"]["n"] >= 50 and result["accuracy"]["images"] == 20
    assert Path(result["artifact"]).parent == tmp_path / "store" / "artifacts"


def test_workers_of_this_machine(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    """Files that exist need no export; nothing but the object goes to standard output."""
    file = exported.path("tflite", "int8")
    ended = run_cli("benchmark", file, "--images", trained.test, "--limit", "250", "--workers", "2",
                    "--no-self-check", "-o", tmp_path / "store", "--json")  # fmt: skip
    assert ended.code == 0, ended.stderr
    (result,) = ended.json["results"]
    alone = run_cli("evaluate", file, "--images", trained.test, "--limit", "250", "--json").json
    assert result["accuracy"]["top1"] == alone["results"][0]["top1"]
    assert result["accuracy"]["images"] == 250


def test_workers_that_are_not_alike(
    dask: Cluster, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = _request(trained, tmp_path / "store")
    dask.worker(FAKE_VERSION="1.2.3")
    with pytest.raises(MissingError, match=r"numpy is 1\.2\.3 there and") as caught:
        _sweep(request, dask.address)
    assert "tcp://127.0.0.1" in str(caught.value) and not (tmp_path / "store").exists()
    monkeypatch.setattr(cluster, "_WORKERS_S", 0.5)  # the one that there is has come
    with pytest.raises(MissingError, match=r"0 workers .* resource 'board'"):
        _sweep(request, dask.address, "board")


def test_late_worker_that_is_not_alike_gets_no_work(
    dask: Cluster, trained: Trained, tmp_path: Path
) -> None:
    dask.worker()
    with cluster.connected(_request(trained, tmp_path), dask.address, None, "here"):
        dask.worker(FAKE_VERSION="1.2.3")
        assert until(lambda: dask.dead)
    assert dask.dead == 1


def test_worker_without_the_images(dask: Cluster, trained: Trained, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(trained.test, mine)
    dask.worker()
    request = replace(_request(trained, tmp_path / "store"), images=mine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "place_hash", lambda place: "other")
        with pytest.raises(MissingError, match=r"does not see what is in .*/mine"):
            _sweep(request, dask.address)


def test_scheduler_that_goes_away(dask: Cluster, trained: Trained, tmp_path: Path) -> None:
    """Nothing is recorded of what was under way."""
    dask.worker()
    request = _request(trained, tmp_path / "store")

    def sweep() -> None:
        with cluster.connected(request, dask.address, None, "here") as made:

            def export(*arguments: Any) -> Any:
                dask.stop()
                return made.export(*arguments)

            run(request, steps=replace(made, export=export))

    with pytest.raises(MissingError, match="went away") as caught:
        sweep()
    assert "resumes" in caught.value.hint
    assert not (tmp_path / "store" / "records").exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--cluster", "tcp://127.0.0.1:1", "--measure-on", "here"), 4, ("No Dask scheduler",)),
        (("--cluster", "gopher://x", "--measure-on", "here"), 2, ("gopher",)),
        (("--cluster", "tcp://127.0.0.1:1"), 2, ("--measure-on",)),
        (("--cluster", "tcp://127.0.0.1:1", "--workers", "2"), 2, ("exclude each other",)),
        (("--measure-on", "board"), 2, ("--cluster",)),
    ],
)
def test_wrong_usage(
    tmp_path: Path, options: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    ended = run_cli(
        *("benchmark", "mobilenet", "--weights", "random", "--input-size", "32", "-o", "x"),
        *options, cwd=tmp_path,
    )  # fmt: skip
    assert [word for word in words if word not in ended.error(code)] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_real_sweep_with_a_killed_worker(dask: Cluster, trained: Trained, tmp_path: Path) -> None:
    """Real exports on workers, one of which dies while it scores: the same files and accuracies."""
    command = (
        *("benchmark", "mobilenet", "--alpha", "0.25", "--input-size", "96,128", "--weights"),
        *("random", "--format", "tflite,onnx", "--precision", "float32,int8", "--images"),
        *(trained.test, "--limit", "300", "--calibration-count", "16", "--no-self-check", "-o"),
    )
    ended = run_cli(*command, tmp_path / "local")
    assert ended.code == 0, ended.stderr
    for _ in range(2):
        dask.worker(FAKE_EXPORTED="", FAKE_DEATH=f"rank:{tmp_path / 'died'}")
    ended = run_cli(*command, tmp_path / "many", "--cluster", dask.address, "--measure-on", "here")
    assert ended.code == 0, ended.stderr
    assert dask.dead == 1 and (tmp_path / "died").exists()
    local, many = (timeless(tmp_path / name) for name in ("local", "many"))
    assert len(local) == 8 and many == local


def test_the_worker_that_measures_may_come_last() -> None:
    """The scheduler names it only when it is asked for the third time."""
    plain: dict[str, Any] = {"resources": {}}
    board = {"resources": {"board": 1}}
    known = [{"a": plain}, {"a": plain}, {"a": plain, "b": board}]

    class Client:
        def wait_for_workers(self, count: int, timeout: float) -> None:
            assert count == 1

        def scheduler_info(self, n_workers: int) -> dict[str, dict[str, dict[str, object]]]:
            return {"workers": known.pop(0)}

    cluster._require_workers(Client(), "tcp://here:1", "board")
    assert not known
