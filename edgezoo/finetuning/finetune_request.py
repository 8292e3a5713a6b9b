"""Checks and completes a request to fine-tune before any heavy work."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgezoo.core import registry
from edgezoo.core.errors import RefusedError, UsageError
from edgezoo.core.input_options import InputOptions
from edgezoo.core.spec import BuildArguments
from edgezoo.finetuning import dataset
from edgezoo.formats.keras_files.reading import is_user_model
from edgezoo.images import folders
from edgezoo.networks import arguments, user_models
from edgezoo.networks.building import BuildJob
from edgezoo.networks.weights import locate

_SUFFIX = ".keras"


@dataclass(frozen=True, slots=True)
class FinetuneRequest:
    """The options of `edgezoo finetune`.

    Attributes:
        model: name of a model, or path of a network.
        data: contains a folder per class.
        split: train on this folder of `data`, such as "train", alone.
        weights: "imagenet", "random" or a file to start from.
        output: the `.keras` file; None for a file in "finetuned", named by model and folder.
        epochs: maximum for the top and for the blocks.
        learning_rate: of the top; the blocks are trained at a hundredth of it.
        unfreeze_blocks: number of last blocks to train after the top; 0 trains the top only.
        patience: epochs without a smaller validation loss that end a stage.
        held_out: share of each class to score on, or another folder with a folder per class.
        mirror: train on mirrored images too.
        seed: of the split and the training.
        preprocessing, scale, offset, bgr, resize, crop_fraction: for a network file without a
            contract; see `core.input_options.InputOptions`.
        trust: code in the network file may run.
    """

    model: str
    data: str | Path
    arguments: BuildArguments = field(default_factory=BuildArguments)
    weights: str | Path = "imagenet"
    output: str | Path | None = None
    epochs: int = 30
    learning_rate: float = 1e-3
    unfreeze_blocks: int = 2
    batch_size: int = 32
    patience: int = 5
    held_out: float | str | Path = 0.2
    mirror: bool = True
    seed: int = 0
    preprocessing: str | None = None
    trust: bool = False
    split: str | None = None
    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    bgr: bool = False
    resize: str | None = None
    crop_fraction: float | None = None

    @property
    def stated(self) -> InputOptions:
        """What it states about a network of the user's own."""
        numbers = self.scale, self.offset, self.bgr
        return InputOptions(self.preprocessing, *numbers, self.resize, self.crop_fraction)


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked request with all defaults filled in.

    Attributes:
        data: to train on, and to score on unless `apart` is set.
        apart: to score on.
        share: of each class of `data` to score on.
        notes: what was assumed for a network without a contract.
    """

    request: FinetuneRequest
    job: BuildJob
    data: dataset.Folder
    apart: dataset.Folder | None
    share: float
    output: Path
    notes: tuple[str, ...] = ()


def resolve(request: FinetuneRequest) -> Plan:
    """Check a request, and locate weights and images.

    Raises:
        UsageError: an unknown name or an invalid value.
        MissingError: Keras is not installed.
        DataError: images or weights are missing or cannot be used.
        RefusedError: the network cannot be trained.
    """
    _check_values(request)
    share = _share(request.held_out)
    output = None if request.output is None else Path(request.output)
    _check_output(output)
    registry.require_packages(("keras", "tensorflow"), "export", "Fine-tuning")
    chosen = request.arguments
    for name in ("include_top", "classes", "output_layer", "pooling"):
        if getattr(chosen, name) != getattr(BuildArguments(), name):
            raise UsageError(
                f"{name} cannot be set: fine-tuning adds a new top to the network.", "Omit it."
            )
    apart = None if share else dataset.find(Path(str(request.held_out)), 1, 1, "--held-out")
    place = folders.part_of(Path(request.data), request.split)
    data = dataset.find(place, dataset.FEWEST_IMAGES if apart is None else 2)
    if apart is not None:
        dataset.check_same_classes(data, apart)
    job, notes = _job(request)
    name = f"{job.spec.name}_{job.frame.text}_{data.root.resolve().name}{_SUFFIX}"
    output = output or Path("finetuned", name)
    return Plan(request, job, data, apart, share, output, notes)


def _job(request: FinetuneRequest) -> tuple[BuildJob, tuple[str, ...]]:
    """Return the network to start from, and what was assumed about it."""
    if is_user_model(request.model):
        # Its top is replaced, so its outputs need not be probabilities.
        size = request.arguments.input_size, request.arguments.input_width
        headless = BuildArguments(size[0], include_top=False, input_width=size[1])
        weights, trust = request.weights, request.trust
        found = user_models.choose(
            request.model, headless, request.stated, weights=weights, trust=trust
        )
        if found.user_model.path.is_dir():
            raise RefusedError(
                f"{request.model} is a SavedModel, whose layers cannot be changed.",
                "Save the network as .keras.",
            )
        name, seed = found.spec.name, request.seed
        job = BuildJob(name, found.arguments, found.weights, seed, found.user_model)
        return job, found.notes
    for option in request.stated.given():
        raise UsageError(f"The preprocessing of {request.model} is known.", f"Omit {option}.")
    spec = registry.model(request.model)
    chosen = arguments.complete(spec, request.arguments)
    return BuildJob(spec.name, chosen, locate(spec, chosen, request.weights), request.seed), ()


def _check_values(request: FinetuneRequest) -> None:
    if not is_user_model(request.model):
        registry.model(request.model)
    for option, value, least in (
        ("epochs", request.epochs, 1),
        ("batch-size", request.batch_size, 1),
        ("patience", request.patience, 1),
        ("unfreeze-blocks", request.unfreeze_blocks, 0),
        ("seed", request.seed, 0),
    ):
        if value < least:
            raise UsageError(f"--{option} {value} is invalid.", f"Give {least} or more.")
    rate = request.learning_rate
    if not 0 < rate < 1:
        raise UsageError(f"--learning-rate {rate:g} is invalid.", "Give one above 0, below 1.")


def _check_output(output: Path | None) -> None:
    if output is None:
        return
    if output.suffix != _SUFFIX:
        hint = f"Give {output.name}{_SUFFIX}."
        raise UsageError(f"--output {output} does not end in {_SUFFIX}.", hint)
    if output.is_dir():
        raise UsageError(f"--output {output} is a folder.", "Give a file in it, or another file.")


def _share(held_out: float | str | Path) -> float:
    """Return the share to hold out; 0 for a folder."""
    try:
        share = float(str(held_out))
    except ValueError:
        return 0.0
    if not 0 < share <= 0.5:
        raise UsageError(
            f"--held-out {share:g} is invalid.",
            "Give a share above 0, up to 0.5, or a folder with a folder per class.",
        )
    return share
