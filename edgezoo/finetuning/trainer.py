"""The process that trains: it holds the network, and works in steps that its parent asks for.

Between two steps the parent can draw its progress bar, or stop. The best state so far is kept in
memory: weights that can learn, at the smallest loss on the validation images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core.errors import RefusedError
from edgezoo.finetuning import surgery
from edgezoo.formats.keras_files.load_network import values_hash
from edgezoo.images.preprocessing import normalize
from edgezoo.networks.building import BuildJob, build_job
from edgezoo.system.staging import new_array

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

# Of the features, before the new top.
_DROPOUT = 0.2
# What was learned before is changed in small steps, as Keras' guide to transfer learning does.
_BLOCKS_RATE = 0.01
_FROZEN = "BatchNormalization"
_NESTED = ("Functional", "Sequential")
_Step = dict[str, Any]


class _Mean:
    """Figures over all images of an epoch: Keras tells them batch by batch."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, figures: dict[str, float], count: int) -> None:
        """Figures of a batch of `count` images."""
        self._count += count
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value) * count

    def __getitem__(self, name: str) -> float:
        return self._sums[name] / self._count


class Trainer:
    """Trains one network; see `process.Conversation` for how its methods are called."""

    def open(self, job: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
        """Build the network with a new top.

        Args:
            job: a `BuildJob` as JSON.
            settings: {"pixels", "margin", "parts", "classes", "labels", "batch_size",
                "learning_rate", "unfreeze_blocks", "mirror", "seed", "scratch"}.

        Returns:
            {"blocks": how many the base has}.

        Raises:
            RefusedError: it has fewer blocks than shall learn, or its top cannot be told.
        """
        import keras
        import numpy as np
        import tensorflow as tf

        self._job, self._settings = BuildJob.from_json(job), settings
        base = build_job(self._job)
        keras.utils.set_random_seed(settings["seed"])
        tf.config.experimental.enable_op_determinism()
        self._random = np.random.default_rng(settings["seed"])
        self._pixels = np.load(settings["pixels"], mmap_mode="r")
        self._classes = np.asarray(settings["classes"])
        self._put_top(base)
        if settings["unfreeze_blocks"] > len(self._blocks):
            raise RefusedError(
                f"{self._job.model} has {len(self._blocks)} blocks, so the last "
                f"{settings['unfreeze_blocks']} cannot learn.",
                "Give a smaller --unfreeze-blocks.",
            )
        self._best: tuple[float, list[NDArray[np.float32]]] | None = None
        return {"blocks": len(self._blocks)}

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
                "told from the rest.",
                "Save the network without its top, or as one network.",
            )
        if len(x.shape) == 4:
            small = x.shape[1:3] == (1, 1)
            x = (keras.layers.Flatten() if small else keras.layers.GlobalAveragePooling2D())(x)
        dropout = keras.layers.Dropout(_DROPOUT, name="edgezoo_dropout")
        dense = keras.layers.Dense(
            len(self._settings["labels"]), activation="softmax", name="edgezoo_top"
        )
        self._body = keras.Model(base.inputs, x)
        self._network = keras.Model(base.inputs, dense(dropout(x)))
        slot = keras.Input(x.shape[1:])
        self._top = keras.Model(slot, dense(dropout(slot)))
        names = {layer.name for layer in self._body.layers}
        learning = [n for n in weighted if n in names and kinds[n] != _FROZEN]
        kept = {name: before for name, before in inputs.items() if name in names}
        self._blocks = surgery.blocks_of(kept, learning)
        self._body.trainable = False

    def begin(self, work: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Start "features", "epoch" of the top or the blocks, or "score" of the held-out images.

        Returns:
            {"total": steps}.
        """
        steps: Callable[..., tuple[int, Iterator[_Step]]] = getattr(self, f"_{work}")
        total, self._steps = steps(**arguments)
        return {"total": total}

    def step(self) -> dict[str, Any]:
        """Do the next step.

        Returns:
            {"result": None, or what the work found where this was its last step}.
        """
        return next(self._steps)

    def unfreeze(self) -> dict[str, Any]:
        """Let the last blocks learn from the best state on; batch norms stay as they are.

        Returns:
            {"parameters": that learn now}.
        """
        import keras

        self.restore()
        wanted = {
            name for block in self._blocks[-self._count("unfreeze_blocks") :] for name in block
        }
        self._body.trainable = True
        for layer in self._body.layers:
            layer.trainable = layer.name in wanted and type(layer).__name__ != _FROZEN
        rate = self._settings["learning_rate"] * _BLOCKS_RATE
        self._compile(self._network, rate)
        self._best = self._best and (self._best[0], self._learned())
        learning = sum(int(keras.ops.size(w)) for w in self._network.trainable_weights)
        return {"parameters": learning}

    def restore(self) -> dict[str, Any]:
        """Go back to the best state."""
        assert self._best is not None
        for weight, value in zip(self._network.trainable_weights, self._best[1], strict=True):
            weight.assign(value)
        return {}

    def save(self, path: str) -> dict[str, Any]:
        """Write the network.

        Returns:
            {"weights_sha256"}.
        """
        import keras

        for layer in self._network.layers:
            layer.trainable = True  # whoever loads it decides anew
        plain = keras.Model(self._network.inputs, self._network.outputs, name=self._job.model)
        plain.save(path)
        return {"weights_sha256": values_hash(plain)}

    def _count(self, name: str) -> int:
        return int(self._settings[name])

    def _compile(self, network: keras.Model, rate: float) -> None:
        import keras

        network.compile(
            keras.optimizers.Adam(rate),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=False,
        )

    def _rows(self, part: str) -> NDArray[np.int64]:
        import numpy as np

        return np.asarray(self._settings["parts"][part], np.int64)

    def _batches(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        size = self._count("batch_size")
        return [rows[i : i + size] for i in range(0, len(rows), size)]

    def _centre(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """What deployment sees: the centre crops, normalised."""
        margin, size = self._count("margin"), self._job.size
        crops = self._pixels[rows, margin : margin + size, margin : margin + size]
        return normalize(crops, self._job.spec.normalization)

    def _varied(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Shifted crops, half of them mirrored, normalised."""
        import numpy as np

        margin, size = self._count("margin"), self._job.size
        crops = np.empty((len(rows), size, size, 3), np.uint8)
        shifts = self._random.integers(0, 2 * margin + 1, (len(rows), 2))
        mirrored = self._random.random(len(rows)) < 0.5 * self._settings["mirror"]
        for i, (row, (top, left)) in enumerate(zip(rows, shifts, strict=True)):
            crop = self._pixels[row, top : top + size, left : left + size]
            crops[i] = crop[:, ::-1] if mirrored[i] else crop
        return normalize(crops, self._job.spec.normalization)

    def _features(self) -> tuple[int, Iterator[_Step]]:
        """What the frozen base gives, computed once: the top learns from it in seconds."""
        import numpy as np

        self._compile(self._top, self._settings["learning_rate"])
        views = 2 if self._settings["mirror"] else 1
        plan = [
            (part, view, rows)
            for part, views in (("train", views), ("validation", 1))
            for view in range(views)
            for rows in self._batches(self._rows(part))
        ]
        width = self._body.output_shape[-1]
        places = {
            name: Path(self._settings["scratch"], f"{name}.npy") for name in ("train", "validation")
        }
        found = {
            name: new_array(
                places[name],
                np.float32,
                (len(self._rows(name)) * (views if name == "train" else 1), width),
            )
            for name in places
        }

        def work() -> Iterator[_Step]:
            done = dict.fromkeys(places, 0)
            for number, (part, view, rows) in enumerate(plan, 1):
                batch = self._centre(rows)
                given = self._body.predict_on_batch(batch[:, :, ::-1] if view else batch)
                found[part][done[part] : done[part] + len(rows)] = given
                done[part] += len(rows)
                yield {"result": {} if number == len(plan) else None}

        self._found = found
        self._found_classes = {
            "train": np.tile(self._classes[self._rows("train")], views),
            "validation": self._classes[self._rows("validation")],
        }
        return len(plan), work()

    def _epoch(self, stage: str) -> tuple[int, Iterator[_Step]]:
        """Train on all images once, then look at the validation images."""
        return self._top_epoch() if stage == "top" else self._blocks_epoch()

    def _top_epoch(self) -> tuple[int, Iterator[_Step]]:
        """On stored features; short enough for one step."""
        import numpy as np

        def work() -> Iterator[_Step]:
            training, validation = _Mean(), _Mean()
            x, y = self._found["train"], self._found_classes["train"]
            for rows in self._batches(self._random.permutation(len(x))):
                told = self._top.train_on_batch(x[rows], y[rows], return_dict=True)
                training.add(told, len(rows))
            x, y = self._found["validation"], self._found_classes["validation"]
            for rows in self._batches(np.arange(len(x))):
                told = self._top.test_on_batch(x[rows], y[rows], return_dict=True)
                validation.add(told, len(rows))
            yield {"result": self._told(training, validation)}

        return 1, work()

    def _blocks_epoch(self) -> tuple[int, Iterator[_Step]]:
        """On pixels, a batch a step."""
        order = self._batches(self._random.permutation(self._rows("train")))
        tests = self._batches(self._rows("validation"))

        def work() -> Iterator[_Step]:
            training, validation = _Mean(), _Mean()
            for rows in order:
                told = self._network.train_on_batch(
                    self._varied(rows), self._classes[rows], return_dict=True
                )
                training.add(told, len(rows))
                yield {"result": None}
            for number, rows in enumerate(tests, 1):
                told = self._network.test_on_batch(
                    self._centre(rows), self._classes[rows], return_dict=True
                )
                validation.add(told, len(rows))
                last = number == len(tests)
                yield {"result": self._told(training, validation) if last else None}

        return len(order) + len(tests), work()

    def _told(self, training: _Mean, validation: _Mean) -> _Step:
        """Figures of an epoch; the state is kept where it is the best so far."""
        loss = validation["loss"]
        if not math.isfinite(loss + training["loss"]):
            raise RefusedError(
                "The loss is no number any more: the network has diverged.",
                "Give a smaller --learning-rate.",
            )
        best = self._best is None or loss < self._best[0]
        if best:
            self._best = (loss, self._learned())
        return {
            "loss": training["loss"],
            "accuracy": training["accuracy"],
            "validation_loss": loss,
            "validation_accuracy": validation["accuracy"],
            "best": best,
        }

    def _learned(self) -> list[NDArray[np.float32]]:
        import numpy as np

        return [np.array(weight) for weight in self._network.trainable_weights]

    def _score(self) -> tuple[int, Iterator[_Step]]:
        """How many of the held-out images the network answers rightly."""
        batches = self._batches(self._rows("held_out"))

        def work() -> Iterator[_Step]:
            right = 0
            for number, rows in enumerate(batches, 1):
                answers = self._network.predict_on_batch(self._centre(rows))
                right += int((answers.argmax(1) == self._classes[rows]).sum())
                yield {"result": {"right": right} if number == len(batches) else None}

        return len(batches), work()
