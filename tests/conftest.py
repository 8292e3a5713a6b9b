"""Fixtures that are costly are made once a run and shared among pytest-xdist's workers.

TensorFlow is never imported in the process of the tests: what needs it runs in a child.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgezoo.images import imagenet_classes
from edgezoo.system import limits
from tests.support.processes import PATIENCE

if TYPE_CHECKING:
    from tests.support.devices import Machine, Pi

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SHARED = ROOT.parent / "shared"
SUPPORT = TESTS / "support"
# What a process of a test finds, a sitecustomize.py among it.
PATH = os.pathsep.join([str(ROOT), str(SUPPORT / "site")])

# No test is answered from files that another one, or another day, has made.
os.environ["EDGEZOO_CACHE_LIMIT"] = "0"
# For children of this process.
os.environ["PYTHONPATH"] = PATH
# As support/site does elsewhere.
limits._LEAST_TIMEOUT = 600.0

FORMATS = {"tflite": ".tflite", "onnx": ".onnx", "openvino": ".xml"}
PRECISIONS = ("float32", "float16", "int8")
# What makes the child light and repeatable; a user's own settings stay out.
_DROPPED = ("KERAS_HOME", "PYTHONHASHSEED")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Cases on ImageNet need ../shared; on CI they may not be lost silently where it is there."""
    if item.get_closest_marker("imagenet") is None or _has_imagenet():
        return
    reason = f"needs ImageNet pictures and weights in {SHARED}"
    if SHARED.exists() and os.environ.get("CI") == "true":
        pytest.fail(f"{reason}: the folder is there, but not complete", pytrace=False)
    pytest.skip(reason)


def _has_imagenet() -> bool:
    wanted = ("keras/models", "imagenet/val", "imagenet/calibration", "tools/score.py")
    return all((SHARED / name).exists() for name in wanted)


@dataclass(frozen=True)
class Ended:
    """A command line that ran to its end."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be exactly one JSON object."""
        facts = json.loads(self.stdout)
        assert isinstance(facts, dict)
        return facts

    def error(self, code: int) -> str:
        """The one error message; asserts its exit code, and that nothing else was said."""
        assert self.code == code, f"exit {self.code}, not {code}: {self.stderr}"
        lines = self.stderr.strip().splitlines()
        assert "Traceback" not in self.stderr
        assert len(lines) == 1 and lines[0].startswith("Error: "), self.stderr
        message = lines[0].removeprefix("Error: ")
        assert message.rstrip().endswith((".", "?")) or "pip install" in message, message
        return message


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would change EdgeZoo, plus changes."""
    kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    own = changes.pop("PYTHONPATH", None)
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, [own, PATH])), **changes}


def run_cli(*arguments: str | Path, cwd: Path | None = None, **env: str) -> Ended:
    """`python -m edgezoo …` in a child process."""
    ended = subprocess.run(
        [sys.executable, "-m", "edgezoo", *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=cwd or ROOT,
        env=environment(**env),
        timeout=3 * PATIENCE,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def cli() -> Callable[..., Ended]:
    return run_cli


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of one run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder` as `make` fills it; of all workers the first one makes it, the others wait."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        failed = folder.with_suffix(".failed")
        if failed.exists():
            pytest.fail(failed.read_text(), pytrace=False)
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            try:
                make(part)
            except Exception as error:
                words = getattr(error, "stderr", None) or error
                failed.write_text(f"{folder.name} could not be made: {words}")
                raise
            part.rename(folder)
    return folder


@dataclass(frozen=True)
class Trained:
    """A MobileNet (alpha 0.25, 32 px, 1000 classes) that knows the digits 0 to 9.

    The digits are the first ten classes. `calibration` and `test` hold a folder a class, named
    by its wnid, of 37 px pictures, so that the centre crop to 32 px resamples nothing.
    """

    folder: Path

    @property
    def weights(self) -> Path:
        return self.folder / "weights.h5"

    @property
    def keras(self) -> Path:
        return self.folder / "network.keras"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration"

    @property
    def test(self) -> Path:
        return self.folder / "test"

    @property
    def top1(self) -> float:
        """Of the Keras network on the held-out pictures."""
        return float(json.loads((self.folder / "facts.json").read_text())["top1"])

    @property
    def options(self) -> tuple[str, ...]:
        """What `edgezoo export` must be told."""
        return ("mobilenet", "--alpha", "0.25", "--input-size", "32", "--weights",
                str(self.weights), "--calibration", str(self.calibration),
                "--calibration-count", "128")  # fmt: skip


@pytest.fixture(scope="session")
def trained(common: Path) -> Trained:
    """Takes about 50 CPU seconds; EDGEZOO_TEST_CACHE names a folder that keeps it for later."""
    kept = os.environ.get("EDGEZOO_TEST_CACHE")
    return Trained(made_once(Path(kept or common) / "trained", _train))


def _train(folder: Path) -> None:
    wnids = [wnid for wnid, _ in imagenet_classes.classes()[:10]]
    subprocess.run(
        [sys.executable, str(SUPPORT / "train_digits.py"), str(folder), *wnids],
        check=True,
        capture_output=True,
        text=True,
        env=environment(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow"),
    )


@dataclass(frozen=True)
class Exported:
    """What one run of `edgezoo export --json` gave for the trained network."""

    folder: Path
    facts: dict[str, Any]

    def entry(self, format: str, precision: str) -> dict[str, Any]:
        """One of the JSON's artifacts."""
        found: list[dict[str, Any]] = [
            entry
            for entry in self.facts["artifacts"]
            if (entry["format"], entry["precision"]) == (format, precision)
        ]
        assert len(found) == 1
        return found[0]

    def path(self, format: str, precision: str) -> Path:
        return self.folder / Path(self.entry(format, precision)["path"]).name

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            (self.folder / Path(self.facts["manifest"]).name).read_text()
        )
        return found


@pytest.fixture(scope="session")
def exported(common: Path, trained: Trained) -> Exported:
    """All formats in all precisions; takes about 15 CPU seconds."""

    def make(folder: Path) -> None:
        ended = run_cli("export", *trained.options, "--precision", ",".join(PRECISIONS),
                        "-o", folder / "files", "--json")  # fmt: skip
        if ended.code:
            raise subprocess.CalledProcessError(ended.code, "export", stderr=ended.stderr)
        (folder / "export.json").write_text(ended.stdout)
        (folder / "stderr.txt").write_text(ended.stderr)

    folder = made_once(common / "exported", make)
    return Exported(folder / "files", json.loads((folder / "export.json").read_text()))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout with ImageNet pictures and weights; may be absent."""
    return SHARED


@pytest.fixture(scope="session")
def imagenet_int8(common: Path) -> Path:
    """export.json and files/: mobilenet 0.5/160 in int8, calibrated on 100 photographs."""

    def make(folder: Path) -> None:
        ended = run_cli("export", "mobilenet", "--alpha", "0.5", "--input-size", "160", "--int8",
                        "--calibration", os.path.relpath(SHARED / "imagenet/calibration", ROOT),
                        "--calibration-count", "100", "-o", folder / "files", "--json",
                        KERAS_HOME=os.path.relpath(SHARED / "keras", ROOT))  # fmt: skip
        assert ended.code == 0, ended.stderr
        (folder / "export.json").write_text(ended.stdout)

    return made_once(common / "imagenet", make)


@pytest.fixture(scope="session")
def pis(common: Path) -> dict[str, Pi]:
    """Emulated Raspberry Pis 4 and 5."""
    from tests.support.devices import make_pi

    return make_pi(common, "pi4", "pi5")


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine behind a real sshd."""
    from tests.support.devices import ssh_machine

    with ssh_machine(tmp_path_factory.mktemp("ssh") / "machine") as made:
        yield made


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    """A place for an export that holds nothing hidden afterwards."""
    folder = tmp_path / "made"
    yield folder
    if folder.is_dir():
        left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
        shutil.rmtree(folder)
        assert not left, f"left behind: {left}"


@pytest.fixture(scope="session")
def own_networks(common: Path) -> Path:
    """Small networks as users save them, see support/own_networks.py; takes about 7 CPU seconds."""

    def make(folder: Path) -> None:
        subprocess.run(
            [sys.executable, str(SUPPORT / "own_networks.py"), str(folder)],
            check=True,
            capture_output=True,
            text=True,
            env=environment(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow"),
        )

    return made_once(common / "own-networks", make)


TUNED_DIGITS = ("one", "seven", "two")
FINETUNE_OPTIONS = (
    "--epochs",
    "3",
    "--unfreeze-blocks",
    "2",
    "--no-mirror",
    "--learning-rate",
    "0.01",
)


@dataclass(frozen=True)
class Tuned:
    """What one run of `edgezoo finetune --json` made of the trained network."""

    folder: Path
    facts: dict[str, Any]

    @property
    def network(self) -> Path:
        return self.folder / "digits.keras"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def fresh(self) -> Path:
        """Images that nothing was trained on here."""
        return self.folder / "fresh"


def _sort_digits(trained: Trained, folder: Path) -> None:
    """Three of the digits under names of their own."""
    for part, source in (("data", trained.calibration), ("fresh", trained.test)):
        wnids = sorted(path.name for path in source.iterdir())
        for digit, name in ((1, "one"), (7, "seven"), (2, "two")):
            shutil.copytree(source / wnids[digit], folder / part / name)


@pytest.fixture(scope="session")
def tuned(common: Path, trained: Trained) -> Tuned:
    """Takes about 12 CPU seconds."""

    def make(folder: Path) -> None:
        _sort_digits(trained, folder)
        ended = run_cli("finetune", "mobilenet", "--alpha", "0.25", "--input-size", "32",
                        "--weights", trained.weights, "--data", folder / "data", *FINETUNE_OPTIONS,
                        "-o", folder / "digits.keras", "--json")  # fmt: skip
        assert ended.code == 0, ended.stderr
        (folder / "facts.json").write_text(ended.stdout)

    folder = made_once(common / "tuned", make)
    return Tuned(folder, json.loads((folder / "facts.json").read_text()))
