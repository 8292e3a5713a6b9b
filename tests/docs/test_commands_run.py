"""Every command of every page is run, or stands below with the reason why not.

The pages' commands run as they stand, in a folder in which the names that they use are files of a
small network: `exported/mobilenet_0.5_160_int8.tflite` is a MobileNet of 32 px there.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from edgezoo.formats import tflite_flatbuffer
from tests.conftest import ROOT, SUPPORT, Exported, Trained, environment, made_once
from tests.docs.test_docs import DOCS, PAGES, _blocks, _name
from tests.support.fake_records import grid, write_store

# What is not run here, as a pattern of the whole line, and who runs it instead.
NOT_RUN = {
    r"make ": "CI itself calls make; docs/releasing.md's by tests/packaging/test_release.py",
    r"(v/bin/)?pip install": "tests/packaging installs each extra, a device's set included",
    r"python3 -m venv|v/bin/": "tests/packaging/test_release.py makes such an environment",
    r"python3 (selftest|classify)\.py": "tests/bundling runs the programs of a bundle",
    r"sudo apt-get|python docs/examples/raspberry_pi|pi/bin/": "tests/end_to_end",
    r"edgezoo .*--on ssh:": "tests/system/remote runs commands on a real sshd",
    r"edgezoo .*(--format ort|\.ort\b)": "tests/docs/test_docs.py executes the example",
    r"edgezoo compile .*--target coral": "needs Google's compiler; tests/targets",
    r"edgezoo .*--device (coral|gpu)": "needs a device; tests/runtimes",
    r"edgezoo verify ": "loads TensorFlow; tests/docs/test_schemas.py and tests/contract run it",
    r"edgezoo explain (?!.*--float)": "loads TensorFlow; tests/cli/test_explain.py",
    r"edgezoo evaluate .*ILSVRC2012": "needs ImageNet's own list; tests/evaluation",
    r"source <\(": "a shell's own; tests/contract/test_commands.py lets bash read the script",
    r"edgezoo( \w+)? --help": "docs/cli.md is compared as a whole",
    r"edgezoo (finetune |\w+ \S*flowers)": "trains a network or wants one of one's own; "
    "tests/finetuning, tests/cli/test_user_models.py",
    r"edgezoo (samples fetch|.*--calibration samples)": "needs a network; tests/images/samples",
    r"edgezoo report .*manifest\.json": "wants a manifest; tests/reporting/test_card.py",
    r"edgezoo cache clear exports": "wants a filled cache; tests/pipeline/test_export_cache.py",
    r"wget |python3 -m http": "a server of one's own; tests/system/downloads",
    r"dask |ssh |edgezoo .*--(cluster|workers) ": "needs a cluster; its own tests make one",
}
# Heavy ones are asked for their plan, which checks all that a user can get wrong.
PLANNED = ("export", "benchmark")
# A bound that does not hold on the small network is no defect of the page.
BOUND = re.compile(r"--(max|min)-|--fail-on")


def _lines(page: Path) -> list[str]:
    """Commands of a page's blocks; output is told from them by the prompt."""
    found = []
    for body in _blocks(page, "console", "sh"):
        prompted = "\n$ " in f"\n{body}"
        for line in body.replace("\\\n", " ").splitlines():
            text = re.sub(" +", " ", line.strip())
            if prompted and not text.startswith(("$ ", "edgezoo ", "source ")):
                continue
            if text:
                found.append(text.removeprefix("$ "))
    return found


COMMANDS = sorted({(page, line) for page in PAGES for line in _lines(page)})


def _reason(line: str) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, line)), None)


def _arguments(line: str) -> list[str] | None:
    words = shlex.split(line, comments=True)
    if words[0] != "edgezoo":
        return None
    end = next((n for n, word in enumerate(words) if word in (">", "|")), len(words))
    arguments = words[1:end]
    if arguments[0] in PLANNED and "--dry-run" not in arguments:
        arguments.append("--dry-run")
    swept = arguments[0] == "export" or "mobilenet" in arguments
    if swept and arguments[0] in PLANNED and "--weights" not in arguments:
        arguments += ["--weights", "random"]
    return arguments


def _without_contract(source: Path, target: Path) -> None:
    """A file that EdgeZoo did not make, as far as it tells."""
    if target.suffix == ".onnx":
        import onnx

        model = onnx.load(str(source))
        del model.metadata_props[:]
        onnx.save(model, str(target))
        return
    network = tflite_flatbuffer.read_model(source)
    for entry in list(network.metadata or []):
        tflite_flatbuffer.remove_metadata(network, tflite_flatbuffer.text(entry.name))
    tflite_flatbuffer.write_model(network, target)


@pytest.fixture(scope="session")
def workshop(common: Path, exported: Exported, trained: Trained) -> Path:
    """The folder in which the pages' commands run."""

    def make(folder: Path) -> None:
        stems = {
            "float32": ["m_float32", "mobilenet_0.5_160_float32"],
            "float16": [],
            "int8": [
                *("m_int8", "m", "a", "b", "mine", "mobilenet_0.5_160_int8"),
                *("exported/mobilenet_0.5_160_int8_uint8", "mobilenet_0.25_96_int8"),
                *(f"exported/mobilenet_0.25_{size}_int8_int8" for size in (96, 128)),
            ],
        }
        (folder / "exported").mkdir()
        for precision, names in stems.items():
            for stem in (f"exported/mobilenet_0.5_160_{precision}", *names):
                for format, suffix in (("tflite", ".tflite"), ("onnx", ".onnx")):
                    (folder / f"{stem}{suffix}").symlink_to(exported.path(format, precision))
        for name, format, precision in (("downloaded.tflite", "tflite", "float32"),
                                        ("other_float32.tflite", "tflite", "float32"),
                                        ("other_int8.tflite", "tflite", "int8"),
                                        ("downloaded.onnx", "onnx", "float32")):  # fmt: skip
            _without_contract(exported.path(format, precision), folder / name)
        (folder / "labels.txt").write_text("\n".join(f"class {n}" for n in range(1000)))
        for name in ("val", "FOLDER_OF_CLASSES", "FOLDER"):
            (folder / name).symlink_to(trained.test)
        (folder / "photos").symlink_to(trained.calibration)
        with Image.open(next(trained.test.rglob("*.png"))) as picture:
            for name in ("PHOTO", "photo", "cat", "dog", "china"):
                picture.convert("RGB").resize((90, 70)).save(folder / f"{name}.jpg")
        for store in ("results", "before", "after"):
            write_store(folder / store, grid(4))
        (folder / "sweep.toml").write_text(
            'models = ["mobilenet"]\nalpha = [0.25]\nweights = "random"\noutput = "results"\n'
        )

    return made_once(common / "workshop", make)


@pytest.fixture(scope="session")
def ended(workshop: Path, common: Path) -> dict[str, tuple[int, str]]:
    """Exit code and standard error of every command that is run, by its line.

    Run once for all test processes: two that compile one file into one folder refuse each other.
    """
    lines = sorted({line for _, line in COMMANDS if _reason(line) is None})
    arguments = [_arguments(line) for line in lines]
    assert None not in arguments, "see test_every_command_is_run_or_has_a_reason"

    def make(folder: Path) -> None:
        (workshop / "commands.json").write_text(json.dumps(arguments))
        run = subprocess.run(
            [sys.executable, str(SUPPORT / "run_documented.py"), "commands.json"],
            cwd=workshop, capture_output=True, text=True, check=False,
            env=environment(KERAS_HOME=str(workshop)),
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        (folder / "ended.json").write_text(run.stdout)

    answers = json.loads((made_once(common / "ended", make) / "ended.json").read_text())
    return dict(zip(lines, answers, strict=True))


@pytest.mark.parametrize(
    ("page", "line"), COMMANDS, ids=lambda value: _name(value) if isinstance(value, Path) else value
)
def test_every_command_is_run_or_has_a_reason(
    ended: dict[str, tuple[int, str]], page: Path, line: str
) -> None:
    if _reason(line) is not None:
        return
    code, said = ended[line]
    assert code == 0 or (code == 6 and BOUND.search(line)), said


def test_every_reason_is_needed() -> None:
    unused = [p for p in NOT_RUN if not any(re.match(p, line) for _, line in COMMANDS)]
    assert unused == []


def test_python_page_runs(workshop: Path, tmp_path: Path) -> None:
    """A notebook's cells, one after the other; pandas is not installed here, so its own is left."""
    cells = [body for body in _blocks(DOCS / "python.md", "python") if "pandas" not in body]
    assert len(cells) == 2
    code = "\n".join(cells).replace("input_size=96", "input_size=32")
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=environment(),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "(2, 1000) uint8" in run.stdout


def test_results_are_plain_records(exported: Exported) -> None:
    """What `pandas.json_normalize` of docs/python.md needs."""
    for entry in exported.facts["artifacts"]:
        assert {"format", "precision", "bytes"} <= entry.keys()
        assert "sqnr_db" in entry["verification"]


@pytest.mark.parametrize("number", [3, 4])
def test_client_page_runs(exported: Exported, tmp_path: Path, number: int) -> None:
    """The plain scripts of docs/clients.md; those of clients run in tests/clients."""
    import zipfile

    cells = list(_blocks(DOCS / "clients.md", "python"))
    assert len(cells) == 5  # the third one needs OpenCV
    if number == 3:
        path = tmp_path / "mobilenet_0.5_160_int8.tflite"
        path.write_bytes(exported.path("tflite", "int8").read_bytes())
        assert set(zipfile.ZipFile(path).namelist()) == {"labels.txt", "edgezoo_contract.json"}
    else:
        pytest.importorskip("onnxruntime")
        from tests.exporters.test_onnx_resize import write_identity

        write_identity(tmp_path / "mobilenet_0.5_160_int8_resizes.onnx")
        Image.new("RGB", (200, 100)).save(tmp_path / "photo.jpg")
    ended = subprocess.run([sys.executable, "-c", cells[number]], cwd=tmp_path, check=False,
                           capture_output=True, text=True)  # fmt: skip
    assert ended.returncode == 0, ended.stderr


def _module(name: str) -> ModuleType:
    sys.path.insert(0, str(DOCS))
    return __import__(name)


def test_plots_show_committed_results() -> None:
    """Bars are the figures of the result files."""
    figures = _module("plots").figures()
    results = json.loads((ROOT / "benchmarks/results/int8-accuracy.json").read_text())
    for model in results["models"]:
        figure = figures[f"agreement-{model['alpha']}"]
        drawn = {value for bar in figure.data for value in bar.y if value is not None}
        assert drawn <= {100 * row["agreement"] for row in model["edgezoo"]}
        assert len(drawn) > 6
