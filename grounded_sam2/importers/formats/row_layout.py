"""Where in the rows of a dataset the objects are, and what their categories are called."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from grounded_sam2.errors import DatasetError, printable

__all__ = ["RowLayout", "class_names", "layout_of"]

_OBJECTS = ("objects", "annotations")
_BOX = ("bbox", "boxes", "bboxes", "box")
_CATEGORY = ("category", "categories", "category_id", "label", "labels", "class", "class_id")
_SEGMENTATION = ("segmentation", "segmentations")


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Where in a row the objects are."""

    column: str | None
    """``None`` where every field of them is a column itself."""
    columns: tuple[str, ...]
    """All that have to be read."""
    category: str
    box: str | None
    segmentation: str | None

    def objects(self, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The objects of a row, with the names that COCO has for their fields.

        Raises:
            DatasetError: the lists of their fields are not of one length.
        """
        found = row if self.column is None else row[self.column]
        if found is None:
            return []
        if isinstance(found, Mapping):
            lists = {name: each for name, each in found.items() if isinstance(each, list)}
            if len({len(each) for each in lists.values()}) > 1:
                lengths = ", ".join(f"{name} {len(each)}" for name, each in lists.items())
                raise DatasetError(f"its objects have lists of different lengths ({lengths})")
            found = [
                dict(zip(lists, values, strict=True))
                for values in zip(*lists.values(), strict=True)
            ]
        return [
            {
                **each,
                "category": each.get(self.category),
                "bbox": each.get(self.box or ""),
                "segmentation": each.get(self.segmentation or ""),
            }
            for each in found
        ]

    def categories(self, row: Mapping[str, Any]) -> list[Any]:
        """The categories in a row."""
        found = row if self.column is None else row[self.column]
        if isinstance(found, list):
            return [each[self.category] for each in found]
        values = (found or {}).get(self.category)
        return values if isinstance(values, list) else []


def layout_of(schema: Any, path: Path) -> RowLayout:
    """Find the columns by their names.

    Raises:
        DatasetError: they are not there; says what is.
    """
    column = next((name for name in _OBJECTS if name in schema.names), None)
    fields = schema.names if column is None else _fields(schema.field(column).type)
    category, box, segmentation = (
        next((name for name in names if name in fields), None)
        for names in (_CATEGORY, _BOX, _SEGMENTATION)
    )
    if category is None or (box is None and segmentation is None):
        raise DatasetError(
            f"'{path}' has no objects that can be read: needs a column 'objects' with fields "
            f"'category' and 'bbox' or 'segmentation'; has {', '.join(schema.names[:20])}"
            + (f" ({column}: {', '.join(fields)})" if column is not None else "")
        )
    own = fields if column is None else [column]
    sizes = [name for name in ("height", "width") if name in schema.names]
    wanted = (category, box, segmentation) if column is None else own
    columns = dict.fromkeys([*filter(None, wanted), *sizes])
    return RowLayout(column, tuple(columns), category, box, segmentation)


def _fields(kind: Any) -> list[str]:
    """Names of the fields of a struct, or of the structs in a list."""
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return [field.name for field in kind] if pa.types.is_struct(kind) else []


def class_names(schema: Any, layout: RowLayout) -> dict[Any, str]:
    """Classes by number, where ``datasets`` has left its features in the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    names = _label_names(features if layout.column is None else features.get(layout.column))
    return {number: printable(name) for number, name in enumerate(names)}


def _label_names(feature: Any) -> Sequence[Any]:
    """Names of the first ``ClassLabel`` in a feature, however deep versions of datasets put it."""
    if isinstance(feature, dict):
        if feature.get("_type") == "ClassLabel":
            return feature.get("names") or []
        feature = list(feature.values())
    if isinstance(feature, list):
        return next((names for each in feature if (names := _label_names(each))), [])
    return []
