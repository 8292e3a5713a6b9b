"""What runs on the workers of a cluster.

Artifacts are sent as bytes. Images, calibration images and weights are read from the paths of the
request, so every worker must see them there: `Alike` checks that before a worker gets work.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgezoo.core import registry
from edgezoo.core.errors import DataError, MissingError
from edgezoo.core.files import file_sha256
from edgezoo.core.versions import artifact_versions
from edgezoo.evaluation import ranks
from edgezoo.evaluation.ranks import Ranks
from edgezoo.images.shards import Member
from edgezoo.measurement import session
from edgezoo.results.store import content_key
from edgezoo.sweep import keys, steps
from edgezoo.sweep.grid import SweepRequest, Variant
from edgezoo.sweep.steps import ExportedFile
from edgezoo.system.remote.copied_files import package
from edgezoo.system.scratch import scratch

_ALSO = ("pillow", "dask", "distributed", "cloudpickle")
# File names and what is in them.
Contents = dict[str, bytes]
# Whether this process is a worker that joined late and is not alike; it closes as soon as it can.
_refused = False


@dataclass(frozen=True, slots=True)
class Alike:
    """Which software and which data a worker must have: the methods of a Dask plugin.

    Attributes:
        software: of `software()` at the client.
        places: folders and files with their hash, see `place_hash`.
        device: resource of a worker that only measures: what it lacks does not count.
        known: addresses of the workers at the beginning. Dask gives work to one that joins later
            although its plugin fails, so that one is closed.
    """

    software: dict[str, str]
    places: dict[str, str]
    device: str | None
    known: frozenset[str]

    def setup(self, worker: Any) -> None:
        """Refuse a worker that differs.

        Raises:
            MissingError: with what is different.
        """
        global _refused
        try:
            self.check(worker)
        except MissingError:
            if worker.address not in self.known:
                _refused = True
                worker.loop.add_callback(worker.close, reason="edgezoo-not-alike")
            raise

    def check(self, worker: Any) -> None:
        """See `setup`."""
        mine, measures = software(), self.device in worker.state.total_resources
        different = [
            f"{name} is {mine.get(name, 'missing')} there and {wanted} here"
            for name, wanted in self.software.items()
            if mine.get(name) != wanted and not (measures and name not in mine)
        ]
        if different:
            raise MissingError(
                f"The worker {worker.address} has other software: {'; '.join(different)}.",
                "Results would differ by worker. Install the same versions there.",
            )
        for place, wanted in () if measures else self.places.items():
            if place_hash(place) != wanted:
                raise MissingError(
                    f"The worker {worker.address} does not see what is in {place} here.",
                    "Put it at the same path on every worker, such as on a shared file system.",
                )


def software() -> dict[str, str]:
    """Return versions by name: Python, EdgeZoo with a hash of its files, packages."""
    own = content_key({file.remote: file.sha256 for file in package()})
    found = artifact_versions()
    found["edgezoo"] = f"{found['edgezoo']} ({own[:8]})"
    found["Python"] = ".".join(platform.python_version_tuple()[:2])
    for runtime in registry.runtimes().values():
        name, _, version = (runtime.version() or "").partition(" ")
        if version:
            found[name] = version
    for name in _ALSO:
        found[name] = importlib.metadata.version(name)
    return found


def place_hash(place: str) -> str:
    """Return a hash of a file, or of names and sizes of a folder's images; "" if neither exists."""
    path = Path(place)
    try:
        return file_sha256(path) if path.is_file() else keys.folder_hash(path)
    except (OSError, DataError):
        return ""


def _require_alike() -> None:
    """Hand a task that arrived before the worker closed to another one."""
    if _refused:
        from distributed import Reschedule

        raise Reschedule


def read(path: Path) -> Contents:
    """Return the bytes of a file and of those that belong to it."""
    return {file.name: file.read_bytes() for file in registry.runtime_for(path).files(path)}


def same(contents: Contents) -> Contents:
    """Return the argument; as a task, Dask can repeat it where a worker dies with the result."""
    return contents


def export(
    request: SweepRequest, files: Sequence[Variant]
) -> tuple[dict[Variant, ExportedFile], Contents]:
    """Run `steps.export`; return names of files in place of paths, and all that was written."""
    _require_alike()
    with scratch() as folder:
        made = steps.export(replace(request, output=folder), files)
        named = {file: replace(own, path=Path(own.path.name)) for file, own in made.items()}
        places = sorted((folder / "artifacts").iterdir())
        return named, {path.name: path.read_bytes() for path in places if path.is_file()}


def rank(contents: Contents, name: str, images: Sequence[Path | Member]) -> Ranks:
    """Rank images by a file, in one thread: Dask decides how many tasks run at once."""
    _require_alike()
    with scratch() as folder:
        return ranks.rank(_unpacked(contents, name, folder), lambda _: images, jobs=1)


def _unpacked(contents: Contents, name: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for other, data in contents.items():
        (folder / other).write_bytes(data)
    return folder / name


def measure(
    request: SweepRequest, subjects: Sequence[tuple[Contents, str, str, int]]
) -> session.Session:
    """Run `steps.measure` on files that are sent as (contents, name, device, threads)."""
    with scratch() as folder:
        found = [
            session.Subject(_unpacked(contents, name, folder / str(number)), device, threads)
            for number, (contents, name, device, threads) in enumerate(subjects)
        ]
        return steps.measure(request, found)
