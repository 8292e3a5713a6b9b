"""`edgezoo benchmark`, `report` and `recommend` as a user types them, on real files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgezoo.core import typed_json
from edgezoo.core.errors import RefusedError
from edgezoo.measurement import session
from edgezoo.sweep import entry
from edgezoo.sweep.grid import SweepRequest
from tests.conftest import Ended, Exported, Trained, run_cli
from tests.docs.test_schemas import check
from tests.support.fake_records import failed, record, write_store

Cli = Callable[..., Ended]
RANDOM = ("mobilenet", "--weights", "random", "--input-size", "32")


def _narrow(text: str) -> bool:
    """Whether all table lines fit 80 columns; sentences may be longer."""
    return all(len(line) <= 80 for line in text.splitlines() if not line.endswith("."))


def test_files_against_one_another(cli: Cli, exported: Exported, trained: Trained) -> None:
    files = [exported.path("tflite", "int8"), exported.path("tflite", "float32")]
    options = ("--images", trained.test, "--limit", "40", "--target", "ethos-u55-128")
    ended = cli("benchmark", *files, *options, "--json")
    assert ended.code == 0, ended.stderr
    facts = ended.json
    check("benchmark", facts)
    scored = cli("evaluate", *files, *options[:4], "--json").json["results"]
    for result, alone in zip(facts["results"], scored, strict=True):
        assert result["accuracy"]["top1"] == alone["top1"] > 0.5
    (estimate,) = facts["estimates"]
    assert estimate["source"].startswith("Vela estimate") and estimate["inference_ms"] > 0
    assert estimate["artifact"] == str(files[0]), "a float file is not estimated, and says so"
    (refused,) = facts["not_estimated"]
    assert refused["artifact"] == str(files[1]) and "Float32" in refused["reason"]
    assert [result["artifact"] for result in facts["results"]] == [str(path) for path in files]
    for result in facts["results"]:
        assert result["latency_ms"]["n"] >= 240
    assert facts["protocol"]["min_seconds"] == 1.0
    (verdict,) = facts["comparisons"]
    assert verdict["text"].count("mobilenet") == 2 and facts["report"] is None


def test_table(cli: Cli, exported: Exported) -> None:
    files = (exported.path("onnx", "int8"), exported.path("tflite", "int8"))
    ended = cli("benchmark", *files, "--threads", "1,2", "--target", "ethos-u65-256", "-q")
    assert ended.code == 0, ended.stderr
    latencies, _, estimates = ended.stdout.partition("Vela estimates")
    assert "onnx" not in estimates and "ethos" not in latencies and "ethos-u65-256" in estimates
    assert _narrow(ended.stdout) and "A/A: one file in two processes" in ended.stdout
    assert "(threads 2)" in ended.stdout


def test_sweep_resume_report_recommend(cli: Cli, trained: Trained, tmp_path: Path) -> None:
    store = tmp_path / "results"
    sweep = (
        *("benchmark", "mobilenet", "--alpha", "0.25", "--input-size", "32", "--format", "tflite"),
        *("--precision", "float32,int8", "--weights", trained.weights, "--limit", "40"),
        *("--calibration", trained.calibration, "--calibration-count", "32"),
        *("--images", trained.test, "--target", "ethos-u55-128", "-o", store, "--json"),
    )
    first = cli(*sweep).json
    check("benchmark", first)
    assert first["failed"] == [] and first["done_before"] == 0 and len(first["results"]) == 2
    (estimate,) = first["estimates"]
    assert estimate["target"] == "ethos-u55-128" and estimate["cpu_ops"] == 0
    assert "ethos-u55-128" not in {result["device"] for result in first["results"]}
    assert all(result["accuracy"]["top1"] > 0.5 for result in first["results"])
    assert Path(first["report"]).stat().st_size > 1_000_000
    for path in (store / "records").iterdir():
        check("record", json.loads(path.read_text()))
    again = cli(*sweep).json
    assert again["done_before"] == 3 and again["sessions"] == []
    assert again["results"] == first["results"] and again["estimates"] == first["estimates"]
    report = cli("report", store, "--as", "csv,md,json", "--json").json
    check("report", report)
    assert {Path(path).suffix for path in report["reports"]} == {".csv", ".md", ".json"}
    (line,) = [x for x in (store / "report.md").read_text().splitlines() if "ethos" in x]
    assert "(Vela estimate)" in line and f"{estimate['inference_ms']:.3f}" in line
    chosen = cli("recommend", store, "--max-bytes", "1.5M", "--allow-poor", "--json")
    check("recommend", chosen.json)
    assert chosen.code == 0 and chosen.json["choice"]["precision"] == "int8"


@pytest.mark.parametrize("form", ["options", "toml"])
def test_dry_run(cli: Cli, tmp_path: Path, form: str) -> None:
    (tmp_path / "sweep.toml").write_text(
        'models = ["mobilenet"]\nweights = "random"\nalpha = [0.25, 0.5]\ninput-size = 32\n'
        'precision = ["float32", "int8"]\nthreads = ["1", "all"]\noutput = "results"\n'
    )
    options = (*RANDOM, "--alpha", "0.25,0.5", "--precision", "float32,int8", "--threads", "1,all")
    what = options if form == "options" else (tmp_path / "sweep.toml", "--threads", "1,all")
    ended = cli("benchmark", *what, "--dry-run", "--json")
    check("benchmark", ended.json)
    assert len(ended.json["variants"]) in (12, 24), "all may be one core"
    assert ended.json["seconds_about"] > 20 and not (tmp_path / "results").exists()


def test_an_option_overrules_the_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(
        'models = ["mobilenet"]\nweights = "random"\ninput-size = [32, 64]\nformat = "tflite"\n'
    )
    ended = cli("benchmark", tmp_path / "sweep.toml", "--input-size", "96", "--dry-run", "--json")
    assert [v["name"] for v in ended.json["variants"]] == ["mobilenet_1_96_float32_tflite_cpu_t1"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((*RANDOM,), 2, ("--output",)),
        (("mobilnet", "-o", "x"), 2, ("mobilnet", "Did you mean mobilenet")),
        ((*RANDOM, "a.tflite"), 2, ("mixed",)),
        (("a.tflite",), 5, ("a.tflite",)),
        (("a.tflite", "--alpha", "0.5"), 2, ("--alpha",)),
        (("a.tflite", "--seed", "3"), 2, ("--seed",)),
        (("a.tflite", "--calibration-count", "9"), 2, ("--calibration-count",)),
        (("a.tflite", "--retry-failed"), 2, ("--retry-failed", "--output")),
        ((*RANDOM, "--precision", "", "-o", "x"), 2, ("--precision",)),
        ((*RANDOM, "--threads", "0", "-o", "x"), 2, ("--threads 0",)),
        ((*RANDOM, "--threads", "many", "-o", "x"), 2, ("--threads many",)),
        ((*RANDOM, "--alpha", "half", "-o", "x"), 2, ("--alpha", "half")),
        ((*RANDOM, "--precision", "int9", "-o", "x"), 2, ("int9", "int8")),
        ((*RANDOM, "--format", "coreml", "-o", "x"), 2, ("coreml",)),
        ((*RANDOM, "--images", "nowhere", "-o", "x"), 5, ("nowhere",)),
        ((*RANDOM, "--target", "ethos-u55-128", "-o", "x"), 2, ("int8",)),
        ((*RANDOM, "--target", "tflite-micro", "-o", "x"), 3, ("estimates",)),
        ((*RANDOM, "--target", "ethos-u55-1", "-o", "x"), 2, ("Did you mean",)),
        ((*RANDOM, "--on", "ssh://pi@board", "-o", "x"), 2, ("--on",)),
        (("a.tflite", "--on", "ssh://pi@board"), 5, ("a.tflite",)),
        (("vgg16", "--alpha", "0.5", "-o", "x", "--dry-run"), 2, ("vgg16", "--alpha")),
        (("missing.toml",), 5, ("missing.toml",)),
    ],
)
def test_wrong_usage(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    message = run_cli("benchmark", *arguments, cwd=tmp_path).error(code)
    assert [word for word in words if word not in message] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('model = ["x"]', ("model", "models")),
        ("alpha = [", ("cannot be read",)),
        ('models = ["mobilenet"]\nalpha = "wide"', ("alpha",)),
        ('models = ["mobilenet"]\nlimit = "ten"', ("limit",)),
        ('models = ["mobilenet"]\nimages = 3', ("images",)),
        ('models = ["mobilenet"]\nlimit = true', ("sweep.toml", "limit", "true")),
    ],
)
def test_wrong_toml(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    (tmp_path / "sweep.toml").write_text(text)
    ended = run_cli("benchmark", tmp_path / "sweep.toml", "--dry-run")
    assert ended.code in (2, 5)
    assert [word for word in words if word not in ended.error(ended.code)] == []


@pytest.mark.parametrize("as_json", [True, False])
def test_sweep_in_which_all_fails(cli: Cli, tmp_path: Path, as_json: bool) -> None:
    """It ends as the same file does without --output, the second time too."""
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\x1c\0\0\0TFL3 and then nothing")
    sweep = ("benchmark", broken, "-o", tmp_path / "store", "--no-self-check")
    assert "broken.tflite" in cli("benchmark", broken).error(5)
    for _ in range(2):
        ended = cli(*sweep, *(["--json"] if as_json else []))
        assert ended.code == 5
        if as_json:
            assert [entry["error"]["exit_code"] for entry in ended.json["failed"]] == [5]
            assert ended.json["failed"][0]["name"] == f"{broken.name}_cpu_t1"
        else:
            assert "Nothing was measured." in ended.stderr and "--retry-failed" in ended.stderr
            assert "recommend" not in ended.stderr and "median" not in ended.stdout


def test_files_of_one_name(cli: Cli, exported: Exported, tmp_path: Path) -> None:
    for folder in ("v1", "v2"):
        (tmp_path / folder).mkdir()
        shutil.copy(exported.path("tflite", "int8"), tmp_path / folder / "m.tflite")
    files = (tmp_path / "v1" / "m.tflite", tmp_path / "v2" / "m.tflite")
    ended = cli("benchmark", *files, "--no-self-check", "-q")
    assert ended.code == 0 and _narrow(ended.stdout)
    assert ended.stdout.count("v1/m.tflite") == ended.stdout.count("v2/m.tflite") == 2


def test_report_of_two_stores(cli: Cli, tmp_path: Path) -> None:
    before = write_store(tmp_path / "before", [record(), record(format="onnx")])
    after = write_store(tmp_path / "after", [record(median=3.0), failed(format="onnx")])
    (after / "records" / "half.json").write_text('{"kind": "measurem')
    options = ("report", before, after, "--as", "md", "-o", tmp_path)
    ended = cli(*options, "--json")
    check("report", ended.json)
    assert ended.code == 0 and len(ended.json["comparison"]["regressions"]) == 2
    assert "half.json" in ended.json["damaged"][0] and "half.json" in ended.stderr
    assert cli(*options, "--fail-on-regression").code == 6
    assert cli("report", after, before, "--as", "md", "--fail-on-regression").code == 0
    cli("report", before, "--as", "md", "--fail-on-regression").error(2)


def test_failures_are_in_the_json(cli: Cli, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [record(), failed(file="a.tflite")])
    ended = cli("report", store, "--as", "json", "--json")
    check("report", ended.json)
    written = json.loads((store / "report.json").read_text())
    for facts in (ended.json, written):
        (entry,) = facts["failures"]
        assert (entry["name"], entry["message"]) == ("a.tflite", "It cannot be <made>.")
        assert (entry["file"], entry["device"], entry["step"]) == ("a.tflite", "cpu", "plan")


def test_poor_trust_does_not_fail_a_report(cli: Cli, tmp_path: Path) -> None:
    before = write_store(tmp_path / "before", [record()])
    after = write_store(tmp_path / "after", [record(median=2.2, trust="poor")])
    ended = cli("report", before, after, "--as", "md", "--fail-on-regression")
    assert ended.code == 0
    assert "Cannot tell, the trust is poor: 1" in ended.stdout and "1.10 times" in ended.stdout


def test_a_damaged_record_in_a_folder_called_schema(cli: Cli, tmp_path: Path) -> None:
    store = write_store(tmp_path / "schema", [record()])
    (store / "records" / "half.json").write_text('{"kind": "measurem')
    ended = cli("report", store, "--as", "md")
    assert ended.code == 0 and "half.json is damaged" in ended.stderr


def test_next_is_a_command_that_works(cli: Cli, tmp_path: Path) -> None:
    """Without accuracies `edgezoo recommend` cannot prefer them."""
    for hits, more in ((400, ""), (None, " --prefer latency")):
        store = write_store(tmp_path / str(hits), [record(hits=hits)])
        ended = cli("report", store, "--as", "md")
        assert ended.stdout.startswith("1 variant on 1 machine, 0 failed.")
        told = ended.stderr.strip().removeprefix("Next: edgezoo ")
        assert told == f"recommend {store} --max-latency-ms 10{more}"
        assert cli(*told.split()).code == 0
        assert ("more accurate" in (store / "report.md").read_text()) == (hits is not None)


def test_what_no_compiler_estimates_is_not_measured_first(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "measure", lambda *_, **__: pytest.fail("measured"))
    request = SweepRequest(files=(exported.path("tflite", "float32"),), target=("ethos-u55-128",))
    with pytest.raises(RefusedError, match="No operation"):
        entry.measure_files(request)


def test_a_store_named_twice(cli: Cli, tmp_path: Path) -> None:
    """Its records would count twice, and a comparison would find nothing."""
    store = write_store(tmp_path / "store", [record(hits=400)])
    for command in ("report", "recommend"):
        assert "named twice" in cli(command, store, f"{store}/../store").error(2)
    assert list(store.glob("report.*")) == []


@pytest.mark.parametrize(
    ("option", "value", "wrong"), [("--alpha", "0.25,a", "'a'"), ("--input-size", "1.5", "'1.5'")]
)
def test_what_is_no_number(cli: Cli, tmp_path: Path, option: str, value: str, wrong: str) -> None:
    message = cli("benchmark", "mobilenet", option, value, "-o", tmp_path / "store").error(2)
    assert f"{option} takes numbers, and {wrong} is not one. Write {option} " in message
    assert not (tmp_path / "store").exists()


def test_what_is_no_store(cli: Cli, tmp_path: Path) -> None:
    assert "not a results store" in cli("report", tmp_path / "x").error(5)
    empty = write_store(tmp_path / "empty", [])
    assert "not a results store" in cli("recommend", empty).error(5)
    newer = write_store(tmp_path / "newer", [record()])
    (newer / "store.json").write_text('{"schema": 9}')
    assert "schema 9" in cli("report", newer).error(5)
    (path,) = (newer / "records").iterdir()
    (newer / "store.json").unlink()
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 3}))
    assert "schema 3" in cli("recommend", newer).error(5)


def test_recommend(cli: Cli, tmp_path: Path) -> None:
    store = write_store(
        tmp_path / "store", [record(), record(median=9.0, hits=500, size=3_000_000)]
    )
    ended = cli("recommend", store, "--max-bytes", "2M")
    assert ended.code == 0 and _narrow(ended.stdout) and "2.00" in ended.stdout
    none = cli("recommend", store, "--max-latency-ms", "0.5", "--json")
    check("recommend", none.json)
    assert none.code == 6 and none.json["alternatives"][0]["without"] == "max_latency_ms"
    asked = ("recommend", store, "--max-latency-ms", "0.5", "--statistic", "p95")
    entry = cli(*asked, "--json").json["alternatives"][0]["variant"]
    assert f"{entry['p95_ms']:.2f} p95 ms" in cli(*asked).stderr
    assert "--sure" in cli(*asked, "--sure").error(2)
    assert "not a size" in cli("recommend", store, "--max-bytes", "2 buckets").error(2)


def test_records_of_tests_are_real_ones() -> None:
    """What other tests build has the shape of what a sweep writes."""
    every = (
        record(),
        record(hits=None),
        record(kind="estimate"),
        failed(),
        failed(file="a.tflite"),
    )
    for made in every:
        check("record", typed_json.encode(made))
