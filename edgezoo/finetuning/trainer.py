"""The training process: it owns the network, and works in steps that its parent asks for.

Between two steps the parent can update its progress bar, or stop. The best state so far stays in
memory: the trainable weights at the smallest loss on the validation images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from edgezoo.core.errors import RefusedError
from edgezoo.finetuning import surgery
from edgezoo.finetuning.dataset import Split
from edgezoo.finetuning.finetune_request import FinetuneRequest
from edgezoo.finetuning.finetune_result import Epoch, Stage
from edgezoo.formats.keras_files.load_network import values_hash
from edgezoo.images.preprocessing import normalize
from edgezoo.networks.building import BuildJob, build_job
from edgezoo.system.staging import new_array

if TYPE_CHECKING:
    import keras

_DROPOUT = 0.2  # of the features, before the new top
# Factor of the learning rate: pretrained weights change in small steps, as in Keras' guide to
# transfer learning. Batch norms stay frozen, since small batches would spoil their statistics.
_BLOCKS_RATE = 0.01
_FROZEN = "BatchNormalization"
_NESTED = ("Functional", "Sequential")
Work = Literal["features", "epoch", "score"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """Result of a step; the last one is `done` and has the epoch or the correct predictions."""

    done: bool
    epoch: Epoch | None = None
    correct: int | None = None


_MORE = StepResult(done=False)
_Steps = tuple[int, Iterator[StepResult]]


class _Mean:
    """Mean figures over all images of an epoch; Keras reports them per batch."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, figures: dict[str, float], count: int) -> None:
        """Add the figures of a batch of `count` images."""
        self._count += count
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value) * count

    def __getitem__(self, name: str) -> float:
        return self._sums[name] / self._count


class Trainer:
    """Trains one network; `process.Conversation` calls its methods."""

    def open(self, job: BuildJob, request: FinetuneRequest, images: Split) -> None:
        """Build the network with a new top, for as many classes as the images have.

        Raises:
            RefusedError: it has fewer blocks than `unfreeze_blocks`, or its top is not a layer.
        """
        import keras
        import tensorflow as tf

        self._job, self._request, self._images = job, request, images
        base = build_job(self._job)
        keras.utils.set_random_seed(request.seed)
        tf.config.experimental.enable_op_determinism()
        self._random = np.random.default_rng(request.seed)
        self._pixels = np.load(images.path, mmap_mode="r")
        self._classes = np.asarray(images.classes)
        self._put_top(base)
        if request.unfreeze_blocks > len(self._blocks):
            raise RefusedError(
                f"{self._job.model} has {len(self._blocks)} blocks, so "
                f"{request.unfreeze_blocks} cannot be trained.",
                "Give a smaller --unfreeze-blocks.",
            )
        self._best: tuple[float, list[NDArray[np.float32]]] | None = None

    def _put_top(self, base: keras.Model) -> None:
        import keras

        config = base.get_config()
        inputs = surgery.inputs_of(config)
        layers = {layer.name: layer for layer in base.layers}
        kinds = {name: type(layer).__name__ for name, layer in layers.items()}
        weighted = [name for name, layer in layers.items() if layer.weights]
        output = surgery.output_of(config)
        features = surgery.features_of(inputs, kinds, weighted, output)
        x = layers[features].output
        if features == output and len(x.shape) == 2 and kinds[output] in _NESTED:
            raise RefusedError(
                f"The last layer of {self._job.model} is a network itself, so its top cannot be "
                "separated.",
                "Save the network without its top, or as one network.",
            )
        if len(x.shape) == 4:
            small = x.shape[1:3] == (1, 1)
            x = (keras.layers.Flatten() if small else keras.layers.GlobalAveragePooling2D())(x)
        classes = int(self._classes.max()) + 1
        dropout = keras.layers.Dropout(_DROPOUT, name="edgezoo_dropout")
        dense = keras.layers.Dense(classes, activation="softmax", name="edgezoo_top")
        self._body = keras.Model(base.inputs, x)
        self._network = keras.Model(base.inputs, dense(dropout(x)))
        # The same two layers on stored features: training the top alone then needs no convolution.
        slot = keras.Input(x.shape[1:])
        self._top = keras.Model(slot, dense(dropout(slot)))
        names = {layer.name for layer in self._body.layers}
        trainable = [n for n in weighted if n in names and kinds[n] != _FROZEN]
        body = {name: before for name, before in inputs.items() if name in names}
        self._blocks = surgery.blocks_of(body, trainable)
        self._body.trainable = False

    def begin(self, work: Work, stage: Stage = "top") -> int:
        """Start a work, an epoch of a stage for example, and return its number of steps."""
        works: dict[Work, Callable[[], _Steps]] = {
            "features": self._features,
            "epoch": self._top_epoch if stage == "top" else self._blocks_epoch,
            "score": self._score,
        }
        total, self._steps = works[work]()
        return total

    def step(self) -> StepResult:
        """Do the next step."""
        return next(self._steps)

    def unfreeze(self) -> int:
        """Make the last blocks trainable from the best state on; return the parameter count."""
        import keras

        self.restore()
        blocks = self._blocks[-self._request.unfreeze_blocks :]
        wanted = {name for block in blocks for name in block}
        self._body.trainable = True
        for layer in self._body.layers:
            layer.trainable = layer.name in wanted and type(layer).__name__ != _FROZEN
        self._compile(self._network, self._request.learning_rate * _BLOCKS_RATE)
        # The best state of the top has fewer weights: keep the same state with the new ones.
        self._best = self._best and (self._best[0], self._weights())
        return sum(int(keras.ops.size(w)) for w in self._network.trainable_weights)

    def restore(self) -> None:
        """Go back to the best state."""
        assert self._best is not None
        for weight, value in zip(self._network.trainable_weights, self._best[1], strict=True):
            weight.assign(value)

    def save(self, path: Path) -> str:
        """Write the network, and return the SHA-256 of its weights' values."""
        import keras

        for layer in self._network.layers:
            layer.trainable = True  # the default of a network that is loaded
        plain = keras.Model(self._network.inputs, self._network.outputs, name=self._job.model)
        plain.save(path)
        return values_hash(plain)

    def _compile(self, network: keras.Model, rate: float) -> None:
        import keras

        adam, loss = keras.optimizers.Adam(rate), "sparse_categorical_crossentropy"
        network.compile(adam, loss, metrics=["accuracy"], jit_compile=False)

    def _rows(self, part: str) -> NDArray[np.int64]:
        return np.asarray(self._images.parts[part], np.int64)

    def _batches(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        size = self._request.batch_size
        return [rows[i : i + size] for i in range(0, len(rows), size)]

    def _centre(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the centre crops, normalised: the input at deployment."""
        (top, left), frame = self._images.margin, self._job.frame
        crops = self._pixels[rows, top : top + frame.height, left : left + frame.width]
        return normalize(crops, self._job.spec.normalization)

    def _varied(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return shifted crops, half of them mirrored, normalised."""
        margin, frame = np.asarray(self._images.margin), self._job.frame
        crops = np.empty((len(rows), *frame.shape), np.uint8)
        shifts = self._random.integers(0, 2 * margin + 1, (len(rows), 2))
        mirrored = self._random.random(len(rows)) < 0.5 * self._request.mirror
        for i, (row, (top, left)) in enumerate(zip(rows, shifts, strict=True)):
            crop = self._pixels[row, top : top + frame.height, left : left + frame.width]
            crops[i] = crop[:, ::-1] if mirrored[i] else crop
        return normalize(crops, self._job.spec.normalization)

    def _features(self) -> _Steps:
        """Compute the output of the frozen base once, so that epochs of the top take seconds."""
        self._compile(self._top, self._request.learning_rate)
        views = 2 if self._request.mirror else 1
        plan = [
            (part, view, rows)
            for part, views in (("train", views), ("validation", 1))
            for view in range(views)
            for rows in self._batches(self._rows(part))
        ]
        width, folder = self._body.output_shape[-1], self._images.path.parent
        classes = {part: self._classes[self._rows(part)] for part in ("train", "validation")}
        classes["train"] = np.tile(classes["train"], views)
        found = {
            part: new_array(folder / f"{part}.npy", np.float32, (len(rows), width))
            for part, rows in classes.items()
        }

        def work() -> Iterator[StepResult]:
            done = dict.fromkeys(classes, 0)
            for number, (part, view, rows) in enumerate(plan, 1):
                batch = self._centre(rows)
                output = self._body.predict_on_batch(batch[:, :, ::-1] if view else batch)
                found[part][done[part] : done[part] + len(rows)] = output
                done[part] += len(rows)
                yield StepResult(done=number == len(plan))

        self._stored, self._stored_classes = found, classes
        return len(plan), work()

    def _top_epoch(self) -> _Steps:
        """Train the top on stored features; short enough for one step."""

        def work() -> Iterator[StepResult]:
            training, validation = _Mean(), _Mean()
            x, y = self._stored["train"], self._stored_classes["train"]
            for rows in self._batches(self._random.permutation(len(x))):
                figures = self._top.train_on_batch(x[rows], y[rows], return_dict=True)
                training.add(figures, len(rows))
            x, y = self._stored["validation"], self._stored_classes["validation"]
            for rows in self._batches(np.arange(len(x))):
                figures = self._top.test_on_batch(x[rows], y[rows], return_dict=True)
                validation.add(figures, len(rows))
            yield self._end_of_epoch("top", training, validation)

        return 1, work()

    def _blocks_epoch(self) -> _Steps:
        """Train top and blocks on pixels, one batch per step."""
        order = self._batches(self._random.permutation(self._rows("train")))
        tests = self._batches(self._rows("validation"))

        def work() -> Iterator[StepResult]:
            training, validation = _Mean(), _Mean()
            for rows in order:
                pixels, classes = self._varied(rows), self._classes[rows]
                figures = self._network.train_on_batch(pixels, classes, return_dict=True)
                training.add(figures, len(rows))
                yield _MORE
            for number, rows in enumerate(tests, 1):
                pixels, classes = self._centre(rows), self._classes[rows]
                figures = self._network.test_on_batch(pixels, classes, return_dict=True)
                validation.add(figures, len(rows))
                last = number == len(tests)
                yield self._end_of_epoch("blocks", training, validation) if last else _MORE

        return len(order) + len(tests), work()

    def _end_of_epoch(self, stage: Stage, training: _Mean, validation: _Mean) -> StepResult:
        """Return the figures of an epoch, and keep the state if it is the best so far."""
        loss = validation["loss"]
        if not math.isfinite(loss + training["loss"]):
            reason = "The loss is not finite: the network has diverged."
            raise RefusedError(reason, "Give a smaller --learning-rate.")
        best = self._best is None or loss < self._best[0]
        if best:
            self._best = (loss, self._weights())
        trained = training["loss"], training["accuracy"]
        return StepResult(True, Epoch(stage, *trained, loss, validation["accuracy"], best))

    def _weights(self) -> list[NDArray[np.float32]]:
        return [np.array(weight) for weight in self._network.trainable_weights]

    def _score(self) -> _Steps:
        """Count the correct predictions on the held-out images."""
        batches = self._batches(self._rows("held_out"))

        def work() -> Iterator[StepResult]:
            correct = 0
            for number, rows in enumerate(batches, 1):
                answers = self._network.predict_on_batch(self._centre(rows))
                correct += int((answers.argmax(1) == self._classes[rows]).sum())
                done = number == len(batches)
                yield StepResult(done, correct=correct if done else None)

        return len(batches), work()
