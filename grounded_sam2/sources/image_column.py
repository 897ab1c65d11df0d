"""The column of a table that holds images, and the bytes of one.

Images are kept as ``datasets`` does it, ``{bytes, path}``, or as bytes. They are taken as they
are. Where a table holds samples (``h × w`` or ``h × w × c`` of ``uint8``) and no file, they become
a PNG, without loss.
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

__all__ = ["ImageColumn", "find_column", "image_bytes"]

_Kind: TypeAlias = Literal["picture", "bytes", "samples", "text"]
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class ImageColumn:
    """A column that holds images, or (``text``) paths and addresses of some."""

    name: str
    kind: _Kind
    named_by: str | None
    """Column, or field of one, that says what each image is called."""


def find_column(schema: Any, wanted: str | None = None) -> ImageColumn | None:
    """The column with images, by the type of what it holds.

    Args:
        schema: a ``pyarrow.Schema``. Where ``datasets`` has left its features in it, they decide.
        wanted: its name; any type that can be used will then do.

    Returns:
        ``None`` if there is none.

    Raises:
        SourceError: several columns hold images, or the one wanted holds none.
    """
    kinds = {field.name: kind for field in schema if (kind := _kind_of(field.type)) is not None}
    if wanted is not None:
        if wanted not in kinds:
            there = ", ".join(f"{field.name} ({field.type})" for field in list(schema)[:20])
            raise SourceError(f"column {wanted!r} holds no images; the columns are {there}")
        return _column(schema, wanted, kinds[wanted])
    features = _features(schema)
    for kind, feature in (("picture", "Image"), ("bytes", "Value"), ("samples", "Array")):
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


def image_bytes(cell: Any, kind: _Kind, *, folder: Path | None) -> bytes:
    """The file of an image.

    Args:
        cell: a ``pyarrow.Scalar``.
        kind: of its column.
        folder: what a path in it is relative to; ``None`` if the table is not on this machine.

    Raises:
        ImageError: there is none, or its samples are those of no image.
        OSError: it is a path, and cannot be read.
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


def _kind_of(kind: Any) -> _Kind | None:
    kind = _storage(kind)
    if types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        is_image = fields.keys() == {"bytes", "path"} and _is_bytes(fields["bytes"])
        return "picture" if is_image else None
    if _is_bytes(kind):
        return "bytes"
    if types.is_string(kind) or types.is_large_string(kind):
        return "text"
    depth = 0
    while _is_list(kind):
        depth, kind = depth + 1, kind.value_type
    return "samples" if depth in (2, 3) and types.is_uint8(kind) else None


def _column(schema: Any, name: str, kind: _Kind) -> ImageColumn:
    named_by = None
    if "file_name" in schema.names and _kind_of(schema.field("file_name").type) == "text":
        named_by = "file_name"  # with the folders, which the path has lost
    elif kind == "picture":
        named_by = f"{name}.path"
    return ImageColumn(name, kind, named_by)


def _features(schema: Any) -> dict[str, str]:
    """Names of columns and of their types, as ``datasets`` keeps them in a schema."""
    try:
        info = json.loads((schema.metadata or {})[b"huggingface"])
        return {name: str(each["_type"]) for name, each in info["info"]["features"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _storage(kind: Any) -> Any:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _is_bytes(kind: Any) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_list(kind: Any) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _samples(cell: Any) -> NDArray[np.uint8]:
    """Samples ``(h, w)`` or ``(h, w, c)``."""
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
    written = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(samples)).save(written, "PNG")
    return written.getvalue()
