"""Public sample images: one picture for each ImageNet class, to calibrate on.

`listing` says which, `commit` has the hashes of their files, `likeness` recognises them without,
`fetching` brings them into the cache.
"""

from edgezoo.images.samples.fetch_samples import WORD, accepted, fetch, folder, look
from edgezoo.images.samples.listing import COLLECTION, Collection, Sample

__all__ = ["COLLECTION", "WORD", "Collection", "Sample", "accepted", "fetch", "folder", "look"]
