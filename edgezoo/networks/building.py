"""The only module that builds Keras models."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgezoo.core import registry
from edgezoo.core.errors import RefusedError, UsageError, did_you_mean
from edgezoo.core.spec import BuildArguments, Frame, Head, ModelSpec
from edgezoo.networks import arguments, user_heads, user_models
from edgezoo.networks.load_weights import load_weights
from edgezoo.networks.random_weights import settle
from edgezoo.networks.user_models import UserModel
from edgezoo.networks.weights import LocatedWeights, locate

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class BuildJob:
    """A network with its weights; passed between processes as JSON.

    Attributes:
        model: name of a model of the zoo, or of the file if `user_model` is set.
        arguments: complete.
        weights: on this machine.
        seed: of random weights.
        user_model: a user's network instead of the zoo's.
        labels: names of the classes; empty if unknown.
    """

    model: str
    arguments: BuildArguments
    weights: LocatedWeights
    seed: int = 0
    user_model: UserModel | None = None
    labels: tuple[str, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """The facts about its model."""
        if self.user_model is not None:
            return self.user_model.spec(self.arguments.input_size or 0)
        return registry.model(self.model)

    @property
    def size(self) -> int:
        """Height of the input in pixels, and its width where it is a square."""
        return self.arguments.input_size or self.spec.default_input_size

    @property
    def frame(self) -> Frame:
        """Height, width and channels of the input."""
        channels = self.user_model.channels if self.user_model else 3
        return Frame(self.size, self.arguments.input_width or self.size, channels)


def build(
    model: str,
    given: BuildArguments,
    weights: str | Path = "imagenet",
    seed: int = 0,
    input_tensor: keras.KerasTensor | None = None,
) -> keras.Model:
    """Build a network of the zoo with its weights; see `edgezoo.api.build`."""
    spec = registry.model(model)
    chosen = arguments.complete(spec, given)
    return build_job(BuildJob(spec.name, chosen, locate(spec, chosen, weights), seed), input_tensor)


def build_job(job: BuildJob, input_tensor: keras.KerasTensor | None = None) -> keras.Model:
    """Build a network with weights that are on this machine; see `build`.

    Raises:
        UsageError: there is no such output layer.
        DataError: the weights belong to another network.
    """
    spec, chosen = job.spec, job.arguments
    if job.user_model is not None:
        network = user_models.load(job.user_model, chosen)
        return network if chosen.output_layer is None else _cut(network, chosen.output_layer, spec)
    over = None if input_tensor is None else _untrained(job, input_tensor)
    network = _untrained(job)
    if job.weights.path is not None:
        load_weights(network, job.weights.path, spec.name, headless=not chosen.include_top)
    else:
        settle(network, job.frame, spec.normalization, job.seed, chosen.include_top)
    if over is not None and input_tensor is not None:
        network = _copy_weights(network, over, input_tensor)
    return network if chosen.output_layer is None else _cut(network, chosen.output_layer, spec)


def _untrained(job: BuildJob, input_tensor: keras.KerasTensor | None = None) -> keras.Model:
    """Build the whole network with initial weights from its seed."""
    registry.require_packages(("keras", "tensorflow"), "export", "Building a model")
    import keras

    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.utils.set_random_seed(job.seed)
    spec, chosen = job.spec, job.arguments
    options: dict[str, object] = {
        "input_shape": job.frame.shape,
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


def _copy_weights(
    network: keras.Model, over: keras.Model, input_tensor: keras.KerasTensor
) -> keras.Model:
    """Copy weights to the same network built on a tensor.

    The layers before the tensor keep their weights. Keras makes layer names unique when a network
    is built a second time, so layers are matched by their order.
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
    """Return the network up to the output of one layer, which is not the last."""
    import keras

    layers = {layer.name: layer for layer in network.layers}
    if name not in layers:
        raise UsageError(f"{spec.name} has no layer {name!r}.", did_you_mean(name, [*layers]))
    part = keras.Model(network.inputs, layers[name].output)
    if layers[name] is network.layers[-1]:
        raise RefusedError(
            f"{name} is the last layer, so --output-layer has no effect.", "Omit it."
        )
    if not part.weights:
        raise RefusedError(
            f"No layer up to {name} has weights, so there is no network to export.",
            "Name a later layer.",
        )
    return part


def check_output_layer(job: BuildJob) -> None:
    """Refuse an output layer that the network cannot end with; runs in a child process."""
    assert job.arguments.output_layer is not None
    _cut(_untrained(job), job.arguments.output_layer, job.spec)


def output_shape(job: BuildJob) -> tuple[int, ...]:
    """Build a network and return its output shape without the batch; runs in a child process."""
    return tuple(build_job(job).output_shape[1:])


@dataclass(frozen=True, slots=True)
class Classes:
    """What the outputs of a user's network are, and how many classes."""

    head: Head
    count: int


def classes_of(job: BuildJob) -> Classes:
    """Build a user's network to see what its file does not state; runs in a child process."""
    assert job.user_model is not None
    chosen = job.arguments
    if chosen.output_layer is not None:
        message = "--output-layer leaves features, which are no classes."
        raise RefusedError(message, "Omit --head and --labels.")
    head, outputs = user_models.examine(job.user_model, chosen, job.labels)
    return Classes(head, user_heads.classes(outputs, head))


def multiply_adds(network: keras.Model) -> int:
    """Count the multiply-adds of convolutions and dense layers for one image.

    Pooling, activations, additions and batch norms (which are folded into convolutions) do not
    count, as usual in papers on small networks.
    """
    import keras

    total = 0
    for layer in network.layers:
        kernels = [weight for weight in layer.weights if "kernel" in weight.name]
        if isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
        elif kernels:
            positions = math.prod(layer.output.shape[1:3])
            # A separable convolution has two kernels, both applied at each output position.
            total += positions * sum(math.prod(kernel.shape) for kernel in kernels)
    return total
