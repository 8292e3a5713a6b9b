"""The list of the sample images: names, sizes and likenesses, without the images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_LIST = Path(__file__).with_name("imagenet.tsv")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image.

    Attributes:
        name: of the file, such as n01440764_tench.JPEG.
        width, height: in pixels.
        likeness: see `edgezoo.images.samples.likeness`; hexadecimal.
    """

    name: str
    width: int
    height: int
    likeness: str

    @property
    def wnid(self) -> str:
        """The class."""
        return self.name.partition("_")[0]


@dataclass(frozen=True, slots=True)
class Collection:
    """A list of images, where they are published, and their terms of use.

    Attributes:
        name: of the folder in the cache.
        repository: URL of the git repository.
        commit: pins every file, see `edgezoo.images.samples.commit`.
        base: URL of the folder with the files of that commit.
        terms: that a user must accept first.
        path: the list, one line per image.
    """

    name: str
    repository: str
    commit: str
    base: str
    terms: str
    path: Path

    @property
    def origin(self) -> str:
        """Repository and commit, as text."""
        return f"{self.repository}, commit {self.commit}"

    def samples(self) -> tuple[Sample, ...]:
        """Return all images, sorted by name."""
        return _read(self.path)

    def sha256(self) -> str:
        """Return the hash of the list."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


@lru_cache(maxsize=4)
def _read(path: Path) -> tuple[Sample, ...]:
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(Sample(name, int(w), int(h), likeness) for name, w, h, likeness in rows)


_REPOSITORY = "EliSchwartz/imagenet-sample-images"
_COMMIT = "bc69043e2862758a1906c6a24a792bb28c6bb2ff"

COLLECTION = Collection(
    name="imagenet",
    repository=f"https://github.com/{_REPOSITORY}",
    commit=_COMMIT,
    base=f"https://raw.githubusercontent.com/{_REPOSITORY}/{_COMMIT}/",
    terms=(
        "These are 1000 images of ImageNet, one per class, from\n"
        f"https://github.com/{_REPOSITORY}.\n"
        "They are not EdgeZoo's, and its licence does not cover them. The rights are\n"
        "their owners'; ImageNet lets them be used for non-commercial research and\n"
        "education only (https://www.image-net.org/download). They are used at your own\n"
        "risk, and not passed on."
    ),
    path=_LIST,
)
