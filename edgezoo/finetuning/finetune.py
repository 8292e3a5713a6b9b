"""Runs a plan: decode, train the top, train the last blocks, score, write."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from edgezoo.calibration import fingerprints, sources
from edgezoo.core.artifact import InputContract, WeightsRecord
from edgezoo.evaluation import drop
from edgezoo.finetuning import curve, dataset
from edgezoo.finetuning.dataset import StoredPixels
from edgezoo.finetuning.finetune_request import FinetuneRequest, Plan, resolve
from edgezoo.finetuning.trainer import Trainer
from edgezoo.formats.keras_files import embed_contract
from edgezoo.images.preprocessing import recipe_hash
from edgezoo.pipeline.children import versions
from edgezoo.system.process import Conversation
from edgezoo.system.staging import publish, staging

# Called with what is being done and how much of it, from 0 to 1.
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """What was learned, and how sure that is.

    Attributes:
        facts: the object of `edgezoo finetune --json`.
        interrupted: Ctrl-C ended it; the best state until then was written.
    """

    facts: dict[str, Any]
    interrupted: bool


def finetune(
    request: FinetuneRequest, progress: Progress = lambda text, done: None, debug: bool = False
) -> FinetuneResult:
    """Teach a network the classes of a folder.

    Raises:
        EdgeZooError: one sentence and an exit code; nothing half-written stays.
        KeyboardInterrupt: Ctrl-C before there was anything to keep.
    """
    return execute(resolve(request), progress, debug)


def execute(plan: Plan, progress: Progress, debug: bool = False) -> FinetuneResult:
    """Run a plan that `resolve` made."""
    request, spec = plan.request, plan.job.spec
    with staging(plan.output.parent, plan.output.name) as stage:
        pixels = dataset.store(
            plan.data,
            plan.apart,
            plan.share,
            plan.job.size,
            spec.resize,
            request.seed,
            stage / "pixels.npy",
            lambda done, total: progress("Decoding images", done / total),
        )
        with Conversation(Trainer, debug) as child:
            run = _Training(plan, child, progress)
            progress("Building the network", 0.0)
            run.open(pixels, stage)
            with _ctrl_c(run):
                run.learn()
                right = run.work("score", "Scoring the held-out images", always=True)["right"]
                network = stage / plan.output.name
                saved = child.ask(Trainer.save, str(network))
        facts = _facts(run, pixels, right)
        contract = _contract(plan, pixels, saved["weights_sha256"]).to_json()
        embed_contract.embed(network, network, contract)
        places = [plan.output, *_write_records(plan, facts, stage)]
        removals = [(None, place) for place in places]
        publish([*removals, *((stage / place.name, place) for place in places)])
    return FinetuneResult(facts, run.interrupted)


class _Training:
    """The parent's side of a training: which epoch comes next, and when it is enough."""

    def __init__(self, plan: Plan, child: Conversation[Trainer], progress: Progress) -> None:
        self.plan, self._child, self._progress = plan, child, progress
        self.epochs: list[dict[str, Any]] = []
        self.interrupted = False
        self.learning_parameters: int | None = None

    def open(self, pixels: StoredPixels, stage: Path) -> None:
        """Build the network in the child."""
        request = self.plan.request
        settings = {
            "pixels": str(pixels.path),
            "margin": pixels.margin,
            "parts": pixels.parts,
            "classes": pixels.classes,
            "labels": self.plan.data.labels,
            "batch_size": request.batch_size,
            "learning_rate": request.learning_rate,
            "unfreeze_blocks": request.unfreeze_blocks,
            "mirror": request.mirror,
            "seed": request.seed,
            "scratch": str(stage),
        }
        self._child.ask(Trainer.open, self.plan.job.to_json(), settings)

    def learn(self) -> None:
        """Train both stages; leaves the best state in the child."""
        self.work("features", "Looking at all images")
        self._stage("top")
        if self.plan.request.unfreeze_blocks and not self.interrupted:
            self.learning_parameters = self._child.ask(Trainer.unfreeze)["parameters"]
            self._stage("blocks")
        self._child.ask(Trainer.restore)

    def _stage(self, stage: str) -> None:
        """Epochs until the loss on the validation images has not become smaller for a while."""
        request, waited = self.plan.request, 0
        for number in range(1, request.epochs + 1):
            last = self.epochs[-1]["validation_accuracy"] if self.epochs else None
            known = "" if last is None else f", {100 * last:.1f} % right"
            told = self.work(
                "epoch",
                f"Learning: {stage}, epoch {number} of {request.epochs}{known}",
                stage=stage,
            )
            if told is None:
                return
            self.epochs.append({"stage": stage, **told})
            waited = 0 if told["best"] else waited + 1
            if waited == request.patience or self.interrupted:
                return

    def work(self, name: str, text: str, always: bool = False, **arguments: Any) -> Any:
        """Let the child do something step by step.

        Args:
            name: of the work, see `Trainer.begin`.
            text: what is being done.
            always: go on after Ctrl-C too.
            **arguments: of the work.

        Returns:
            What the work found; None where Ctrl-C ended it.
        """
        total = self._child.ask(Trainer.begin, name, arguments)["total"]
        for done in range(total):
            if self.interrupted and not always:
                if not self.epochs:
                    raise KeyboardInterrupt
                return None
            self._progress(text, done / total)
            result = self._child.ask(Trainer.step)["result"]
            if result is not None:
                return result
        raise AssertionError(f"{name} ended without a result")


@contextlib.contextmanager
def _ctrl_c(run: _Training) -> Iterator[None]:
    """Let the first Ctrl-C end the training, and the second one everything.

    Outside the main thread signals are somebody else's.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        if run.interrupted:
            raise KeyboardInterrupt
        run.interrupted = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _facts(run: _Training, pixels: StoredPixels, right: int) -> dict[str, Any]:
    """The object of `edgezoo finetune --json`."""
    plan, scored = run.plan, len(pixels.parts["held_out"])
    best = max(i for i, epoch in enumerate(run.epochs) if epoch["best"])
    return {
        "path": str(plan.output),
        "curve": str(plan.output.with_suffix(".svg")),
        "record": str(plan.output.with_suffix(".json")),
        "model": plan.job.model,
        "input_size": plan.job.size,
        "labels": list(plan.data.labels),
        "images": {
            **{part: len(rows) for part, rows in pixels.parts.items()},
            "unreadable": pixels.unreadable,
            "repeated": pixels.repeated,
        },
        "held_out": {
            "top1": right / scored,
            "top1_ci95": list(drop.share_interval(right, scored)),
            "files": [pixels.files[row] for row in pixels.parts["held_out"]],
        },
        "epochs": run.epochs,
        "best_epoch": best + 1,
        "learning_parameters": run.learning_parameters,
        "interrupted": run.interrupted,
        "seed": plan.request.seed,
    }


def _contract(plan: Plan, pixels: StoredPixels, digest: str) -> InputContract:
    """What the `.keras` file takes and gives, and which images taught it."""
    job, spec = plan.job, plan.job.spec
    known = asdict(job.arguments) if job.own is None else {}
    taught = {
        "source": "folder",
        "count": len(pixels.prints),
        "classes": len(plan.data.labels),
        "seed": plan.request.seed,
        "list_sha256": sources.list_hash(tuple(sorted(pixels.files))),
        "unreadable": pixels.unreadable,
        "preprocessing": recipe_hash(job.size, spec.resize),
        "fingerprints": fingerprints.pack(pixels.prints, "file"),
    }
    return InputContract(
        **{
            **known,
            "model": job.model,
            "precision": "float32",
            "input_size": job.size,
            "preprocessing": spec.preprocessing,
            "weights": WeightsRecord("network", digest, plan.output.name),
            "classes": len(plan.data.labels),
            "input_kind": "normalized",
            "output_shape": (len(plan.data.labels),),
            "crop_fraction": spec.resize.crop_fraction,
            "resize_filter": spec.resize.filter,
            "labels": plan.data.labels,
            "calibration": taught,
            "versions": versions(),
        }
    )


def _write_records(plan: Plan, facts: dict[str, Any], stage: Path) -> list[Path]:
    """Write the curve and the record on the stage; their places beside the network."""
    title = f"{plan.job.model} on {plan.data.root.resolve().name}"
    drawn, record = Path(facts["curve"]), Path(facts["record"])
    (stage / drawn.name).write_text(curve.draw(facts["epochs"], title), encoding="utf-8")
    (stage / record.name).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return [drawn, record]
