"""Hugging Face datasets with objects, in Parquet (or in Arrow, as ``save_to_disk`` writes them).

A row is an image. Its objects are in the column ``objects``: a list per field, or a list of
objects; or each field is a column. The fields are those of COCO: ``bbox`` (xywh in pixels),
``category`` (a text, or a number with a name in the features of the dataset) and optionally
``segmentation`` (polygons or run lengths), ``iscrowd``, ``confidence``, ``mask_quality``,
``caption``; our own export writes these too. The columns ``width`` and ``height`` declare the image
size that coordinates refer to.

Images are copied byte for byte into the output folder.

Format: https://huggingface.co/docs/datasets/object_detection
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from grounded_sam2.errors import DatasetError, SourceError, one_line, printable
from grounded_sam2.importers.coco_annotation import CROWD_LEFT_OUT, parse_annotation
from grounded_sam2.importers.dataset import (
    AnnotatedImage,
    DatasetProblem,
    ImportOptions,
    ObjectAnnotation,
)
from grounded_sam2.importers.splits import canonical_split, item_id_in_split
from grounded_sam2.sources.refs import FailedRef, ImageRef
from grounded_sam2.sources.shards import SHARD_EXTENSIONS, Shard
from grounded_sam2.sources.table_source import RowRef, RowSource, find_shard_column
from grounded_sam2.sources.walk import walk

__all__ = ["find_shards", "open_hugging_face"]

_BATCH_ROWS = 64
"""Rows whose objects are in memory at a time."""
_READ_ERRORS = (OSError, pa.ArrowException, SourceError)
_OBJECTS = ("objects", "annotations")
_BOX = ("bbox", "boxes", "bboxes", "box")
_CATEGORY = ("category", "categories", "category_id", "label", "labels", "class", "class_id")
_SEGMENTATION = ("segmentation", "segmentations")


def find_shards(path: Path) -> list[Shard]:
    """Return the Parquet and Arrow files of a dataset in the order of their names; may be empty."""
    if path.is_file():
        return [Shard(path.name, path)] if path.suffix.lower() in SHARD_EXTENSIONS else []
    return [
        Shard(found.name, Path(found.path))
        for found in walk(path)
        if found.failure is None and found.name.lower().endswith(SHARD_EXTENSIONS)
    ]


@contextmanager
def open_hugging_face(path: Path, options: ImportOptions) -> Iterator[_HuggingFaceDataset]:
    """Open a dataset. See `grounded_sam2.importers.label_import.Importer`.

    Raises:
        DatasetError: there are no such files, or they contain no images or no objects.
    """
    shards = find_shards(path)
    if not shards:
        raise DatasetError(f"'{path}': no Parquet files in it")
    if options.images is not None:
        raise DatasetError(f"'{path}' contains its images; leave out images")
    try:
        column = find_shard_column(shards)
        schema = _first_schema(shards)
        columns = _find_columns(schema, path)
        names = _class_names(schema, columns) or _used_categories(shards, columns)
    except _READ_ERRORS as error:
        raise DatasetError(f"'{path}': {one_line(error)}") from error
    root = path if path.is_dir() else path.parent
    source = RowSource(shards, column, root=root, images_folder=options.images_folder)
    yield _HuggingFaceDataset(source, columns, names, options.crowds)


@dataclass(frozen=True, slots=True)
class _ObjectColumns:
    """Where the objects are in a row."""

    column: str | None
    """Column of the objects; ``None`` where every field is a column itself."""
    to_read: tuple[str, ...]
    """All columns needed."""
    category: str
    box: str | None
    segmentation: str | None

    def objects(self, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the objects of a row, with the field names of COCO.

        Raises:
            DatasetError: the lists of the fields differ in length.
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
        """Return the categories of the objects of a row."""
        found = row if self.column is None else row[self.column]
        if isinstance(found, list):
            return [each[self.category] for each in found]
        values = (found or {}).get(self.category)
        return values if isinstance(values, list) else []


@dataclass(frozen=True, slots=True)
class _HuggingFaceDataset:
    source: RowSource
    columns: _ObjectColumns
    names: Mapping[Any, str]
    """Classes by the value in the rows: a number or a text."""
    crowds: bool

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.names.values()))

    def item_ids(self) -> Iterator[str]:
        for ref in self._image_refs():
            yield ref.item_id

    def images(self) -> Iterator[AnnotatedImage]:
        shard: Shard | None = None
        rows: Iterator[Mapping[str, Any]] = iter(())
        for ref in self._image_refs():
            if not isinstance(ref, RowRef):  # a shard that cannot be read
                yield AnnotatedImage(ref)
                continue
            if ref.shard is not shard:
                shard, rows = ref.shard, _rows(ref.shard, self.columns.to_read)
            try:
                yield self._parse_row(ref, next(rows))
            except (*_READ_ERRORS, DatasetError, StopIteration) as error:
                reason = f"objects of {ref.item_id!r} cannot be read: {one_line(error)}"
                yield AnnotatedImage(FailedRef(ref.item_id, ref.path, reason))

    def unassigned(self) -> Iterator[DatasetProblem]:
        return iter(())  # every object is in the row of its image

    def _image_refs(self) -> Iterator[ImageRef]:
        for ref in self.source:
            split = canonical_split(ref.item_id.split("/")[0])
            yield replace(ref, item_id=item_id_in_split(ref.item_id, split))

    def _parse_row(self, ref: RowRef, row: Mapping[str, Any]) -> AnnotatedImage:
        objects: list[ObjectAnnotation] = []
        problems: list[DatasetProblem] = []
        for number, each in enumerate(self.columns.objects(row), start=1):
            where = f"object {each.get('id', number)}"
            name = self.names.get(each["category"])
            if each.get("iscrowd") and not self.crowds:
                problems.append(DatasetProblem(CROWD_LEFT_OUT, where))
            elif name is None:
                reason = "of a category that has no name; left out"
                problems.append(DatasetProblem(reason, where, f"category {each['category']!r}"))
            else:
                parsed, object_problems = parse_annotation(each, name, where)
                objects += [] if parsed is None else [parsed]
                problems += object_problems
        height, width = row.get("height"), row.get("width")
        return AnnotatedImage(
            ref=ref,
            objects=tuple(objects),
            problems=tuple(problems),
            declared_hw=(height, width) if height and width else None,
        )


def _first_schema(shards: Sequence[Shard]) -> Any:
    """Schema of the first readable shard; unreadable ones are reported with their images."""
    for shard in shards[:-1]:
        with suppress(*_READ_ERRORS):
            return shard.schema()
    return shards[-1].schema()


def _find_columns(schema: Any, path: Path) -> _ObjectColumns:
    """Find the columns of the objects by their names.

    Raises:
        DatasetError: a required column is missing; lists those that exist.
    """
    column = next((name for name in _OBJECTS if name in schema.names), None)
    fields = schema.names if column is None else _field_names(schema.field(column).type)
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
    sizes = [name for name in ("height", "width") if name in schema.names]
    own = fields if column is None else [column]
    wanted = (category, box, segmentation) if column is None else own
    to_read = dict.fromkeys([*filter(None, wanted), *sizes])
    return _ObjectColumns(column, tuple(to_read), category, box, segmentation)


def _field_names(arrow_type: Any) -> list[str]:
    """Names of the fields of a struct, or of the structs in a list."""
    while pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type):
        arrow_type = arrow_type.value_type
    return [field.name for field in arrow_type] if pa.types.is_struct(arrow_type) else []


def _class_names(schema: Any, columns: _ObjectColumns) -> dict[Any, str]:
    """Classes by number, if ``datasets`` stored its features in the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    names = _class_label_names(features if columns.column is None else features.get(columns.column))
    return {number: printable(name) for number, name in enumerate(names)}


def _class_label_names(feature: Any) -> Sequence[Any]:
    """Names of the first ``ClassLabel`` in a feature, at any depth: it varies by version."""
    if isinstance(feature, dict):
        if feature.get("_type") == "ClassLabel":
            return feature.get("names") or []
        feature = list(feature.values())
    if isinstance(feature, list):
        return next((names for each in feature if (names := _class_label_names(each))), [])
    return []


def _used_categories(shards: Sequence[Shard], columns: _ObjectColumns) -> dict[Any, str]:
    """Categories that occur in the rows, sorted, as their own names; for schemas without names."""
    used: set[int | str] = set()
    for shard in shards:
        with suppress(*_READ_ERRORS):  # reported when its images are read
            for row in _rows(shard, columns.to_read):
                used.update(each for each in columns.categories(row) if isinstance(each, int | str))
    return {
        each: printable(each) for each in sorted(used, key=lambda each: (str(type(each)), each))
    }


def _rows(shard: Shard, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for _, batch in shard.batches(columns, rows=_BATCH_ROWS):
        yield from batch.to_pylist()
