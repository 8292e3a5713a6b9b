"""What most runtimes have in common."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from edgezoo.core.artifact import Artifact
from edgezoo.core.errors import DataError, MissingError
from edgezoo.core.protocols import Hints, IntegerKernels
from edgezoo.core.typed_json import Json, decode, parse_json


@dataclass(frozen=True, slots=True)
class BaseRuntime:
    """A runtime in one package, on the CPU, whose artifacts are single files.

    Attributes:
        distributions: what pip installs to provide the package, best first.
    """

    name: str
    format: str
    suffixes: tuple[str, ...]
    extra: str
    packages: tuple[str, ...]
    distributions: tuple[str, ...]
    supported_devices: tuple[str, ...] = ("cpu",)

    def version(self) -> str | None:
        """See `Runtime`."""
        return first_installed(self.distributions)

    def devices(self) -> tuple[str, ...]:
        """See `Runtime`."""
        return ("cpu",) if importlib.util.find_spec(self.packages[0]) else ()

    def refusal(self, artifact: Artifact, device: str) -> str | None:
        """See `Runtime`."""
        if device == "cpu" and importlib.util.find_spec(self.packages[0]):
            return None  # looking for other devices takes time
        present = self.devices()
        if device in present:
            return None
        names = ", ".join(present) or "none"
        return f"{self.name} has no device {device!r} here (it has: {names})"

    def files(self, path: Path) -> tuple[Path, ...]:
        """See `Runtime`."""
        return (path,)

    def hints(self, path: Path) -> Hints:
        """See `Runtime`; by default nothing is known."""
        return Hints()

    def integer_kernels(self, path: Path) -> IntegerKernels:
        """See `Runtime`; by default no weights can be read, so no layer is reported."""
        return IntegerKernels(self.name)

    def require_device(self, artifact: Artifact, device: str, hint: str = "") -> None:
        """Check that a device is present; a missing package is reported when the file is opened.

        Raises:
            MissingError: the device is not present.
        """
        reason = self.refusal(artifact, device)
        if reason and self.devices():
            raise MissingError(f"{artifact.path} cannot be opened: {reason}.", hint)


def first_installed(distributions: tuple[str, ...]) -> str | None:
    """Return name and version of the first distribution that is installed."""
    from importlib import metadata  # a third of what finding the runtimes costs

    for name in distributions:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return None


def parse_contract(text: str | bytes, path: Path) -> Json:
    """Parse the contract inside a file.

    Raises:
        DataError: it is not a JSON object.
    """
    try:
        return decode(Json, parse_json(text))
    except ValueError as error:
        raise DataError(f"The contract inside {path} is damaged.") from error
