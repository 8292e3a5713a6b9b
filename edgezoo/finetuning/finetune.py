"""Fine-tunes as planned: decode, train the top, train the last blocks, score, write."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from edgezoo.calibration import fingerprints, sources
from edgezoo.core import typed_json
from edgezoo.core.artifact import InputContract, WeightsRecord
from edgezoo.core.calibration_metadata import CalibrationMetadata
from edgezoo.core.spec import BuildArguments
from edgezoo.core.versions import artifact_versions
from edgezoo.evaluation import drop
from edgezoo.finetuning import curve, dataset
from edgezoo.finetuning.dataset import Split, StoredPixels
from edgezoo.finetuning.finetune_request import FinetuneRequest, Plan, resolve
from edgezoo.finetuning.finetune_result import (
    Epoch,
    FinetuneResult,
    HeldOutScore,
    ImageCounts,
    Stage,
)
from edgezoo.finetuning.trainer import StepResult, Trainer, Work
from edgezoo.formats.keras_files import embed_contract
from edgezoo.images.preprocessing import recipe_hash
from edgezoo.networks import arguments, user_models
from edgezoo.system import sandbox
from edgezoo.system.limits import for_work
from edgezoo.system.process import Conversation
from edgezoo.system.staging import publish, staging

# Called with the current step as text, and its progress from 0 to 1.
Progress = Callable[[str, float], None]


def finetune(
    request: FinetuneRequest, progress: Progress = lambda text, done: None, debug: bool = False
) -> FinetuneResult:
    """Train a network on the classes of a folder.

    Raises:
        EdgeZooError: nothing was written.
        KeyboardInterrupt: Ctrl-C before the first epoch was complete.
    """
    return execute(resolve(request), progress, debug)


def execute(plan: Plan, progress: Progress, debug: bool = False) -> FinetuneResult:
    """Carry out a plan of `resolve`."""
    with staging(plan.output.parent, plan.output.name) as stage:
        launcher = sandbox.workshop(_strangers(plan), stage, debug=debug, trust=plan.request.trust)
        pixels = _decoded(plan, stage, progress)
        with Conversation(Trainer, debug, launcher=launcher) as child:
            run = _Training(plan, child, progress)
            progress("Building the network", 0.0)
            images = Split(pixels.path, pixels.margin, pixels.parts, pixels.classes)
            child.ask(Trainer.open, job=plan.job, request=plan.request, images=images)
            with _ctrl_c(run):
                run.train()
                score = run.work("score", "Scoring the held-out images", always=True)
                assert score is not None and score.correct is not None
                network = stage / plan.output.name
                weights_sha256 = child.ask(Trainer.save, path=network)
        result = _result(run, pixels, score.correct)
        contract = _contract(plan, pixels, weights_sha256).to_json()
        launcher.call(embed_contract.embed, network, network, contract)
        title = f"{plan.job.model} on {plan.data.root.resolve().name}"
        record = json.dumps(typed_json.encode(result), indent=1) + "\n"
        (stage / result.curve.name).write_text(curve.draw(result.epochs, title), encoding="utf-8")
        (stage / result.record.name).write_text(record, encoding="utf-8")
        places = [result.path, result.curve, result.record]
        removals = [(None, place) for place in places]
        publish([*removals, *((stage / place.name, place) for place in places)])
    return result


def _strangers(plan: Plan) -> tuple[Path, ...]:
    """Return the files of others that a training opens."""
    own = plan.job.user_model
    return (own.path if own is not None else plan.data.root,)


def _decoded(plan: Plan, stage: Path, progress: Progress) -> StoredPixels:
    """Decode all images, in a limited process."""
    total = len(plan.data.paths) + len(plan.apart.paths if plan.apart else ())
    done = 0

    def decoded(count: int) -> None:
        nonlocal done
        done += count
        progress("Decoding images", min(1.0, done / total))

    roots = (plan.data.root, *([plan.apart.root] if plan.apart else []))
    limited = sandbox.Sandbox(roots, for_work(), (stage.resolve(),), decoded)
    place, size, resize = stage / "pixels.npy", plan.job.frame, plan.job.spec.resize
    return limited.call(
        dataset.store, plan.data, plan.apart, plan.share, size, resize, plan.request.seed, place
    )


class _Training:
    """The parent's side of a training: it chooses the next epoch, and when to stop."""

    def __init__(self, plan: Plan, child: Conversation[Trainer], progress: Progress) -> None:
        self.plan, self._child, self._progress = plan, child, progress
        self.epochs: list[Epoch] = []
        self.interrupted = False
        self.learning_parameters: int | None = None

    def train(self) -> None:
        """Train both stages, and return to the best state."""
        self.work("features", "Computing features of all images")
        self._train("top")
        if self.plan.request.unfreeze_blocks and not self.interrupted:
            self.learning_parameters = self._child.ask(Trainer.unfreeze)
            self._train("blocks")
        self._child.ask(Trainer.restore)

    def _train(self, stage: Stage) -> None:
        """Train epochs until the validation loss has not improved for `patience` epochs."""
        request, waited = self.plan.request, 0
        for number in range(1, request.epochs + 1):
            last = self.epochs[-1].validation_accuracy if self.epochs else None
            known = "" if last is None else f", {100 * last:.1f} % correct"
            text = f"Training: {stage}, epoch {number} of {request.epochs}{known}"
            result = self.work("epoch", text, stage)
            if result is None or result.epoch is None:
                return
            self.epochs.append(result.epoch)
            waited = 0 if result.epoch.best else waited + 1
            if waited == request.patience or self.interrupted:
                return

    def work(
        self, work: Work, text: str, stage: Stage = "top", always: bool = False
    ) -> StepResult | None:
        """Let the child do a work, and return the result of its last step.

        Ctrl-C ends the work with None, unless it shall `always` be completed.
        """
        total = self._child.ask(Trainer.begin, work=work, stage=stage)
        for done in range(total):
            if self.interrupted and not always:
                if not self.epochs:
                    raise KeyboardInterrupt
                return None
            self._progress(text, done / total)
            result = self._child.ask(Trainer.step)
            if result.done:
                return result
        raise AssertionError(f"{work} ended without a result")


@contextlib.contextmanager
def _ctrl_c(run: _Training) -> Iterator[None]:
    """Let the first Ctrl-C end the training, and the second one the program.

    Python handles signals in the main thread only; elsewhere nothing changes.
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


def _result(run: _Training, pixels: StoredPixels, correct: int) -> FinetuneResult:
    plan, held_out = run.plan, pixels.parts["held_out"]
    return FinetuneResult(
        path=plan.output,
        curve=plan.output.with_suffix(".svg"),
        record=plan.output.with_suffix(".json"),
        model=plan.job.model,
        input_size=plan.job.size,
        labels=plan.data.labels,
        images=ImageCounts(
            **{part: len(rows) for part, rows in pixels.parts.items()},
            unreadable=len(pixels.unreadable),
            unreadable_files=pixels.unreadable,
            repeated=pixels.repeated,
            left_out=plan.data.left_out + (plan.apart.left_out if plan.apart else ()),
        ),
        held_out=HeldOutScore(
            correct / len(held_out),
            drop.share_interval(correct, len(held_out)),
            tuple(pixels.files[row] for row in held_out),
        ),
        epochs=tuple(run.epochs),
        best_epoch=1 + max(i for i, epoch in enumerate(run.epochs) if epoch.best),
        learning_parameters=run.learning_parameters,
        interrupted=run.interrupted,
        seed=plan.request.seed,
        notes=plan.notes or None,
    )


def _contract(plan: Plan, pixels: StoredPixels, weights_sha256: str) -> InputContract:
    """Return the contract of the `.keras` file, with metadata of the images that trained it."""
    job, spec, classes = plan.job, plan.job.spec, len(plan.data.labels)
    chosen = BuildArguments() if job.user_model else job.arguments
    metadata = CalibrationMetadata(
        source="folder",
        count=len(pixels.prints),
        classes=classes,
        seed=plan.request.seed,
        list_sha256=sources.list_hash(tuple(sorted(pixels.files))),
        unreadable=len(pixels.unreadable),
        preprocessing=recipe_hash(job.frame, spec.resize),
        fingerprints=fingerprints.pack(tuple(map(bytes.fromhex, pixels.prints)), "file"),
    )
    return InputContract(
        model=job.model,
        precision="float32",
        input_size=job.size,
        preprocessing=spec.preprocessing,
        weights=WeightsRecord("network", weights_sha256, plan.output.name),
        classes=classes,
        **{name: getattr(chosen, name) for name in arguments.FAMILY},
        input_kind="normalized",
        output_shape=(classes,),
        input_width=job.arguments.input_width,
        **user_models.contract_facts(job.user_model, spec.resize),
        labels=plan.data.labels,
        calibration=metadata,
        versions=artifact_versions(),
    )
