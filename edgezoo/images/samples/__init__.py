"""Public sample images: one image for each ImageNet class, for calibration.

`listing` names them, `commit` has the hashes of their files, `likeness` recognises them without
hashes, `fetch_samples` downloads them into the cache.
"""

from edgezoo.images.samples.fetch_samples import WORD, accepted, fetch, folder, look
from edgezoo.images.samples.listing import COLLECTION, Collection, Sample

__all__ = ["COLLECTION", "WORD", "Collection", "Sample", "accepted", "fetch", "folder", "look"]
