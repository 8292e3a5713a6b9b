"""A request to fine-tune is checked and completed before any heavy work."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgezoo.core import registry
from edgezoo.core.errors import RefusedError, UsageError
from edgezoo.core.spec import BuildArguments
from edgezoo.finetuning import dataset
from edgezoo.formats.keras_files.reading import is_user_model
from edgezoo.networks import arguments, user_models
from edgezoo.networks.building import BuildJob
from edgezoo.networks.weights import locate

_SUFFIX = ".keras"


@dataclass(frozen=True, slots=True)
class FinetuneRequest:
    """What a user asks for, in the words of `edgezoo finetune`.

    Attributes:
        model: a name of the zoo, or the path of a network.
        data: holds a folder a class.
        output: the `.keras` file; None puts it into "finetuned", named by model and folder.
        epochs: at the most, of the top and of the blocks each.
        learning_rate: of the top; the blocks learn at a hundredth of it.
        unfreeze_blocks: how many blocks learn after the top; 0 trains the top alone.
        patience: epochs without a smaller loss on the validation images, until a stage ends.
        held_out: the share of each class to score on, or a folder of its own.
        mirror: train on mirrored pictures too.
    """

    model: str
    data: Path
    arguments: BuildArguments = field(default_factory=BuildArguments)
    weights: str = "imagenet"
    output: Path | None = None
    epochs: int = 30
    learning_rate: float = 1e-3
    unfreeze_blocks: int = 2
    batch_size: int = 32
    patience: int = 5
    held_out: float | Path = 0.2
    mirror: bool = True
    seed: int = 0
    preprocessing: str | None = None
    trust: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A request with every default filled in and every refusal ruled out."""

    request: FinetuneRequest
    job: BuildJob
    data: dataset.Folder
    apart: dataset.Folder | None
    share: float
    output: Path


def resolve(request: FinetuneRequest) -> Plan:
    """Check a request, and find weights and images.

    Raises:
        UsageError: an unknown name or an illegal value.
        MissingError: Keras is not installed.
        DataError: images or weights that are not there, or that cannot be used.
        RefusedError: a network that cannot be trained.
    """
    _check_values(request)
    registry.require_packages(("keras", "tensorflow"), "export", "Fine-tuning")
    chosen = request.arguments
    for name in ("include_top", "classes", "output_layer", "pooling"):
        if getattr(chosen, name) != getattr(BuildArguments(), name):
            raise UsageError(
                f"{name} cannot be chosen: fine-tuning gives the network a top of its own.",
                "Leave it out.",
            )
    apart = None if isinstance(request.held_out, float) else dataset.find(request.held_out, 1, 1)
    data = dataset.find(request.data, dataset.FEWEST_IMAGES if apart is None else 2)
    if apart is not None:
        dataset.check_same_classes(data, apart)
    job = _job(request)
    share = request.held_out if isinstance(request.held_out, float) else 0.0
    output = request.output or Path("finetuned", f"{_stem(job, request.data)}{_SUFFIX}")
    return Plan(request, job, data, apart, share, output)


def _stem(job: BuildJob, data: Path) -> str:
    return f"{job.spec.name}_{job.size}_{data.resolve().name}"


def _job(request: FinetuneRequest) -> BuildJob:
    """The network to start from."""
    if is_user_model(request.model):
        # Whatever it ends in is replaced, so that it need not be probabilities.
        headless = BuildArguments(request.arguments.input_size, include_top=False)
        found = user_models.choose(
            request.model,
            headless,
            weights=request.weights,
            preprocessing=request.preprocessing,
            trust=request.trust,
        )
        if Path(found.own.path).is_dir():
            raise RefusedError(
                f"{request.model} is a SavedModel, which can be run but not taken apart.",
                "Save the network as .keras.",
            )
        name = found.own.spec(0).name
        return BuildJob(name, found.arguments, found.weights, request.seed, found.own)
    if request.preprocessing is not None:
        raise UsageError(
            f"The preprocessing of {request.model} is known.", "Leave --preprocessing out."
        )
    spec = registry.model(request.model)
    chosen = arguments.complete(spec, request.arguments)
    return BuildJob(spec.name, chosen, locate(spec, chosen, request.weights), request.seed)


def _check_values(request: FinetuneRequest) -> None:
    if not is_user_model(request.model):
        registry.model(request.model)
    if request.output is not None and request.output.suffix != _SUFFIX:
        raise UsageError(
            f"--output {request.output} does not end in {_SUFFIX}.",
            f"Write {request.output.name}{_SUFFIX}.",
        )
    if request.output is not None and request.output.is_dir():
        raise UsageError(
            f"--output {request.output} is a folder.", "Name a file in it, or another one."
        )
    for option, value, least in (
        ("epochs", request.epochs, 1),
        ("batch-size", request.batch_size, 1),
        ("patience", request.patience, 1),
        ("unfreeze-blocks", request.unfreeze_blocks, 0),
        ("seed", request.seed, 0),
    ):
        if value < least:
            raise UsageError(f"--{option} {value} is illegal.", f"Give {least} or more.")
    if not 0 < request.learning_rate < 1:
        raise UsageError(
            f"--learning-rate {request.learning_rate:g} is illegal.", "Give one above 0, below 1."
        )
    if isinstance(request.held_out, float) and not 0 < request.held_out <= 0.5:
        raise UsageError(
            f"--held-out {request.held_out:g} is illegal.",
            "Give a share above 0, up to 0.5, or a folder with a folder a class.",
        )
