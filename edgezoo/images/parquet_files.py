"""Images in parquet files, as Hugging Face stores data sets: a column of encoded images.

A row has the bytes of an image file and a class, whose name is in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from edgezoo.core import registry
from edgezoo.core.errors import DataError, words_of
from edgezoo.images.shards import LARGEST, Member

_IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp")
_CLASSES = ("label", "labels", "class", "cls", "fine_label", "target", "category")
_AT_ONCE = 4  # groups of rows in memory, each some hundred images


def open_row(path: Path, row: int, group: int) -> BytesIO:
    """Return the bytes of the image of a row as a stream.

    Raises:
        OSError: the file cannot be read, or the row has no image.
    """
    first, images = _group(path, group)
    image = images[row - first]
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes) or len(data) > LARGEST:
        raise OSError("the row has no bytes of an image")
    return BytesIO(data)


def members(path: Path, read: str) -> Iterator[tuple[Member, bytes]]:
    """Yield the image of each row, and its class as a text with the suffix `read`.

    The text is the name of the class, where the file has names, and its number behind a zero byte.

    Raises:
        DataError: the file is damaged, or has no column of images.
        MissingError: pyarrow is not installed.
    """
    registry.require_packages(("pyarrow",), "parquet", f"Reading {path}")
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as opened:
            schema = opened.schema_arrow
            _column(path, schema, _IMAGES, "images")
            label = next((name for name in _CLASSES if name in schema.names), None)
            names = _names(schema, label)
            row = 0
            for group in range(opened.num_row_groups):
                count = opened.metadata.row_group(group).num_rows
                values: list[Any] = [None] * count
                if label is not None:
                    values = opened.read_row_group(group, columns=[label])[label].to_pylist()
                for value in values:
                    stem = f"{row:08}"
                    yield Member(path, f"{stem}.jpg", row, group), b""
                    if value is not None:
                        text = _text(value, names).encode()
                        yield Member(path, f"{stem}{read}", 0, 0), text
                    row += 1
    except DataError:
        raise
    except Exception as error:  # pyarrow's own errors, and those of damaged metadata
        raise DataError(
            f"{path} cannot be read as a parquet file: {words_of(error)}.",
            "Check that it is complete.",
        ) from error


def _text(value: object, names: list[str]) -> str:
    if not isinstance(value, int):
        return str(value)
    return f"{names[value]}\0{value}" if 0 <= value < len(names) else str(value)


def _column(path: Path, schema: Any, known: tuple[str, ...], what: str) -> str:
    for name in known:
        if name in schema.names:
            return name
    raise DataError(
        f"{path} has no column of {what}; its columns: {', '.join(schema.names)}.",
        f"Name the column {known[0]}.",
    )


def _names(schema: Any, label: str | None) -> list[str]:
    """Return the names of the classes, from what Hugging Face's datasets notes in the schema."""
    noted = (schema.metadata or {}).get(b"huggingface")
    if noted is None or label is None:
        return []
    feature = json.loads(noted).get("info", {}).get("features", {}).get(label, {})
    return [str(name) for name in feature.get("names", [])]


@lru_cache(maxsize=_AT_ONCE)
def _group(path: Path, group: int) -> tuple[int, list[Any]]:
    """Return the number of the first row of a group, and the images of its rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as opened:
            column = _column(path, opened.schema_arrow, _IMAGES, "images")
            first = sum(opened.metadata.row_group(i).num_rows for i in range(group))
            return first, opened.read_row_group(group, columns=[column])[column].to_pylist()
    except (pa.ArrowException, DataError) as error:
        raise OSError(words_of(error)) from error
