"""The only module that builds Keras models."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgezoo.core import registry
from edgezoo.core.errors import RefusedError, UsageError, did_you_mean
from edgezoo.core.spec import BuildArguments, ModelSpec
from edgezoo.networks import arguments, user_models
from edgezoo.networks.load_weights import load_weights
from edgezoo.networks.random_weights import settle
from edgezoo.networks.user_models import UserModel
from edgezoo.networks.weights import LocatedWeights, locate

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class BuildJob:
    """One network, down to its weights; goes between processes as JSON.

    Attributes:
        model: a name of the zoo; the name of the file where `own` is given.
        arguments: complete.
        weights: known to be on this machine.
        seed: of random weights.
        own: a user's network in the place of the zoo's.
        labels: names of the classes; empty where they are not known.
    """

    model: str
    arguments: BuildArguments
    weights: LocatedWeights
    seed: int = 0
    own: UserModel | None = None
    labels: tuple[str, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """The facts about its model."""
        if self.own is not None:
            return self.own.spec(self.arguments.input_size or 0)
        return registry.model(self.model)

    @property
    def size(self) -> int:
        """Height and width of the input in pixels."""
        return self.arguments.input_size or self.spec.default_input_size

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` turns it back."""
        facts = asdict(self)
        path = self.weights.path
        facts["weights"]["path"] = str(path) if path else None
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> BuildJob:
        """Read what `to_json` gave."""
        path = facts["weights"]["path"]
        located = LocatedWeights(**{**facts["weights"], "path": path and Path(path)})
        chosen = BuildArguments.from_json(facts["arguments"])
        own = facts["own"] and UserModel.from_json(facts["own"])
        return cls(facts["model"], chosen, located, facts["seed"], own, tuple(facts["labels"]))


def build(
    model: str,
    given: BuildArguments,
    weights: str = "imagenet",
    seed: int = 0,
    input_tensor: keras.KerasTensor | None = None,
) -> keras.Model:
    """Build a network of the zoo with its weights; see `edgezoo.api.build`."""
    spec = registry.model(model)
    chosen = arguments.complete(spec, given)
    return build_job(BuildJob(spec.name, chosen, locate(spec, chosen, weights), seed), input_tensor)


def build_job(job: BuildJob, input_tensor: keras.KerasTensor | None = None) -> keras.Model:
    """Build with weights that are known to be on this machine; see `build`.

    Raises:
        UsageError: it has no such output layer.
        DataError: the weights are those of another network.
    """
    spec, chosen = job.spec, job.arguments
    if job.own is not None:
        network = user_models.load(job.own, chosen)
        return network if chosen.output_layer is None else _cut(network, chosen.output_layer, spec)
    over = None if input_tensor is None else _untrained(job, input_tensor)
    network = _untrained(job)
    if job.weights.path is not None:
        load_weights(network, job.weights.path, spec.name, headless=not chosen.include_top)
    else:
        settle(network, job.size, spec.normalization, job.seed, chosen.include_top)
    if over is not None and input_tensor is not None:
        network = _with_weights_of(network, over, input_tensor)
    return network if chosen.output_layer is None else _cut(network, chosen.output_layer, spec)


def _untrained(job: BuildJob, input_tensor: keras.KerasTensor | None = None) -> keras.Model:
    """The whole network with fresh weights, from its seed."""
    registry.require_packages(("keras", "tensorflow"), "export", "Building a model")
    import keras

    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.utils.set_random_seed(job.seed)
    spec, chosen = job.spec, job.arguments
    options: dict[str, Any] = {
        "input_shape": (job.size, job.size, 3),
        "weights": None,
        "include_top": chosen.include_top,
        "pooling": chosen.pooling,
    }
    if chosen.classes is not None:
        options["classes"] = chosen.classes
    if input_tensor is not None:
        options["input_tensor"] = input_tensor
    for name, theirs in spec.arguments.items():
        if getattr(chosen, name) is not None:
            options[theirs] = getattr(chosen, name)
    network: keras.Model = getattr(importlib.import_module(spec.module), spec.keras_name)(**options)
    return network


def _with_weights_of(
    network: keras.Model, over: keras.Model, input_tensor: keras.KerasTensor
) -> keras.Model:
    """Give a network that stands on a tensor the weights of the same network on its own input.

    Layers in front of the tensor keep theirs.
    """
    import keras

    before = keras.Model(keras.utils.get_source_inputs(input_tensor), input_tensor)
    own = {id(layer) for layer in before.layers}
    taking = [layer for layer in over.layers if layer.weights and id(layer) not in own]
    giving = [layer for layer in network.layers if layer.weights]
    for taker, giver in zip(taking, giving, strict=True):
        taker.set_weights(giver.get_weights())
    return over


def _cut(network: keras.Model, name: str, spec: ModelSpec) -> keras.Model:
    """The network up to the output of one layer.

    Raises:
        UsageError: it has no such layer.
        RefusedError: nothing is cut away, or nothing with weights is left.
    """
    import keras

    layers = {layer.name: layer for layer in network.layers}
    if name not in layers:
        raise UsageError(f"{spec.name} has no layer {name!r}.", did_you_mean(name, [*layers]))
    part = keras.Model(network.inputs, layers[name].output)
    if layers[name] is network.layers[-1]:
        raise RefusedError(
            f"{name} is the last layer, so --output-layer cuts nothing away.", "Leave it out."
        )
    if not part.weights:
        raise RefusedError(
            f"No layer up to {name} has weights, so there is no network to export.",
            "Name a later layer.",
        )
    return part


def check_output_layer(job: BuildJob) -> None:
    """Look up the output layer in the network without its weights; called in a child process.

    Raises:
        UsageError, RefusedError: see `_cut`.
    """
    assert job.arguments.output_layer is not None
    _cut(_untrained(job), job.arguments.output_layer, job.spec)


def output_shape(job: BuildJob) -> tuple[int, ...]:
    """Build a network and return its output shape without the batch; called in a child process."""
    return tuple(build_job(job).output_shape[1:])


def multiply_adds(network: keras.Model) -> int:
    """Multiply-adds of one picture in convolutions and dense layers, from their shapes.

    Pooling, activations, additions and batch norms (which fold into convolutions) do not count,
    as is usual in papers on small networks.
    """
    import math

    import keras

    total = 0
    for layer in network.layers:
        kernels = [weight for weight in layer.weights if "kernel" in weight.name]
        if isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
        elif kernels:
            positions = math.prod(layer.output.shape[1:3])
            total += positions * sum(math.prod(kernel.shape) for kernel in kernels)
    return total
