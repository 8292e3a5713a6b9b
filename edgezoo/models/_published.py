"""Files of ImageNet weights that Keras publishes."""

from __future__ import annotations

from edgezoo.core.spec import WeightsFile

_BASE = "https://storage.googleapis.com/tensorflow/keras-applications/"

Md5 = str | dict[float, str] | None


def published(
    path: str, md5: Md5, no_top_md5: Md5, *, no_top: str = "_notop", base: str = _BASE
) -> WeightsFile:
    """Return the file at a path below `base`, which may contain {alpha} and {size}.

    The file without the top is next to it, with `no_top` at the end of its name.
    """
    stem, name = path.removesuffix(".h5"), path.rpartition("/")[2].removesuffix(".h5")
    without = WeightsFile(f"{name}{no_top}.h5", f"{base}{stem}{no_top}.h5", no_top_md5)
    return WeightsFile(f"{name}.h5", f"{base}{stem}.h5", md5, without)
