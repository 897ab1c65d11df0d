"""Detection of the image column of a table, and the image file of a cell.

A cell holds an image file as the ``datasets`` library writes it, ``{bytes, path}``, or as bytes;
these are returned unchanged. Cells of samples (``h × w`` or ``h × w × c`` of ``uint8``) are
encoded as PNG, without loss.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from grounded_sam2.errors import ImageError, SourceError, printable

__all__ = ["ColumnType", "ImageColumn", "find_column", "image_bytes"]

ColumnType: TypeAlias = Literal["image", "bytes", "samples", "text"]
"""Content of a column: ``{bytes, path}``, bytes of a file, samples, or paths and addresses."""
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class ImageColumn:
    """A column of images, or (``text``) of paths and addresses of images."""

    name: str
    kind: ColumnType
    name_column: str | None
    """Column, or field of a column, with the name of each image; ``None`` if there is none."""


def find_column(schema: Any, wanted: str | None = None) -> ImageColumn | None:
    """Find the image column by the types of the columns.

    Args:
        schema: a ``pyarrow.Schema``. Features that the ``datasets`` library recorded in it take
            precedence.
        wanted: name of the column, which may then have any supported type.

    Returns:
        ``None`` if no column holds images.

    Raises:
        SourceError: several columns hold images, or the column `wanted` holds none.
    """
    kinds = {field.name: kind for field in schema if (kind := _column_type(field.type)) is not None}
    if wanted is not None:
        if wanted not in kinds:
            columns = ", ".join(f"{field.name} ({field.type})" for field in list(schema)[:20])
            raise SourceError(f"column {wanted!r} holds no images; the columns are {columns}")
        return _column(schema, wanted, kinds[wanted])
    features = _features(schema)
    for kind, feature in (("image", "Image"), ("bytes", "Value"), ("samples", "Array")):
        found = [
            name
            for name in kinds
            if kinds[name] == kind and features.get(name, feature).startswith(feature)
        ]
        if len(found) > 1:
            raise SourceError(f"columns {' and '.join(found)} hold images; say which (column)")
        if found:
            return _column(schema, found[0], kinds[found[0]])
    return None


def image_bytes(cell: Any, kind: ColumnType, *, folder: Path | None) -> bytes:
    """The bytes of the image file in a cell.

    Args:
        cell: a ``pyarrow.Scalar``.
        kind: type of its column.
        folder: base of relative paths; ``None`` if the table is not a local file.

    Raises:
        ImageError: the cell is empty, or its samples form no image.
        OSError: the cell holds a path, which cannot be read.
    """
    if kind == "samples":
        return _png(_samples(cell))
    value = cell.as_py()
    content = value["bytes"] if isinstance(value, dict) else value
    if content is not None:
        return bytes(content)
    path = value["path"] if isinstance(value, dict) else None
    if not path:
        raise ImageError("the row holds no image")
    if folder is None:
        raise ImageError(f"the row holds only a path, {printable(path)!r}, on another machine")
    return (folder / path).read_bytes()


def _column_type(arrow_type: Any) -> ColumnType | None:
    arrow_type = _storage_type(arrow_type)
    if types.is_struct(arrow_type):
        fields = {field.name: field.type for field in arrow_type}
        is_image = fields.keys() == {"bytes", "path"} and _is_bytes(fields["bytes"])
        return "image" if is_image else None
    if _is_bytes(arrow_type):
        return "bytes"
    if types.is_string(arrow_type) or types.is_large_string(arrow_type):
        return "text"
    depth = 0
    while _is_list(arrow_type):
        depth, arrow_type = depth + 1, arrow_type.value_type
    return "samples" if depth in (2, 3) and types.is_uint8(arrow_type) else None


def _column(schema: Any, name: str, kind: ColumnType) -> ImageColumn:
    name_column = None
    if "file_name" in schema.names and _column_type(schema.field("file_name").type) == "text":
        name_column = "file_name"  # includes the folders, which the path in the image lacks
    elif kind == "image":
        name_column = f"{name}.path"
    return ImageColumn(name, kind, name_column)


def _features(schema: Any) -> dict[str, str]:
    """Feature type of each column, as the ``datasets`` library records it in a schema."""
    try:
        info = json.loads((schema.metadata or {})[b"huggingface"])
        return {name: str(each["_type"]) for name, each in info["info"]["features"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _storage_type(arrow_type: Any) -> Any:
    is_extension = isinstance(arrow_type, pa.BaseExtensionType)
    return arrow_type.storage_type if is_extension else arrow_type


def _is_bytes(arrow_type: Any) -> bool:
    return bool(types.is_binary(arrow_type) or types.is_large_binary(arrow_type))


def _is_list(arrow_type: Any) -> bool:
    return bool(
        types.is_list(arrow_type)
        or types.is_large_list(arrow_type)
        or types.is_fixed_size_list(arrow_type)
    )


def _samples(cell: Any) -> NDArray[np.uint8]:
    """Samples of a cell, ``(h, w)`` or ``(h, w, c)`` with 3 or 4 channels."""
    if isinstance(cell, pa.ExtensionScalar):
        cell = cell.value
    if not cell.is_valid:
        raise ImageError("the row holds no image")
    values = cell.values
    shape = [len(values)]
    while _is_list(values.type):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) != 1 or not lengths[0]:
            raise ImageError("the samples of the row form no image: its lines differ or are empty")
        shape.append(lengths[0])
        values = values.flatten()
    samples = np.asarray(values).reshape(shape)
    if values.null_count or (samples.ndim == 3 and samples.shape[2] not in _CHANNELS):
        raise ImageError(
            f"the samples of the row form no image: {samples.shape} are not h × w × 1, 3 or 4"
        )
    return samples[..., 0] if samples.shape[2:] == (1,) else samples


def _png(samples: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(samples)).save(buffer, "PNG")
    return buffer.getvalue()
