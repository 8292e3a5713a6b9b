"""Download files: complete and checked, or not at all.

`part` is the staged file next to its destination, `http` fills it, `seen` records the hashes of
files without a published hash, and `fetching` combines the three.
"""

from edgezoo.system.downloads.fetching import Wanted, fetch, mirrored
from edgezoo.system.downloads.http import Timeouts, session

__all__ = ["Timeouts", "Wanted", "fetch", "mirrored", "session"]
