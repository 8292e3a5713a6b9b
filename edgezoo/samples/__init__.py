"""Public sample images: one picture for each ImageNet class, to calibrate on.

`listing` says which, `commit` has the hashes of their files, `likeness` recognises them without,
`fetching` brings them into the cache.
"""

from edgezoo.samples.fetching import WORD, accepted, fetch, folder, look
from edgezoo.samples.listing import COLLECTION, Collection, Sample

__all__ = ["COLLECTION", "WORD", "Collection", "Sample", "accepted", "fetch", "folder", "look"]
