"""Files from the network: whole, checked and in their place, or not at all.

`part` is the staged file beside its place, `transfer` fills it, `seen` remembers hashes that
nobody publishes, `fetching` puts the three together.
"""

from edgezoo.system.downloads.fetching import Wanted, fetch, mirrored
from edgezoo.system.downloads.http import Timeouts, session

__all__ = ["Timeouts", "Wanted", "fetch", "mirrored", "session"]
