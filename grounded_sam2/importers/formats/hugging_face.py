"""Hugging Face datasets in Parquet (or in Arrow, as ``save_to_disk`` writes them), with objects.

A row is an image. Its objects are in the column ``objects``: a list per field, or a list of
objects. The fields are those of COCO: ``bbox`` (xywh in pixels), ``category`` (a number with a
name in the dataset's features, or a text) and, if there, ``segmentation`` (polygons or run
lengths), ``iscrowd``, ``confidence``, ``mask_quality``, ``caption``. So is what our own export
writes. Columns ``width`` and ``height`` say which image coordinates are for.

Images are copied byte for byte into the output folder.

Format: https://huggingface.co/docs/datasets/object_detection
"""

from __future__ import annotations

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
from grounded_sam2.importers.formats.row_layout import RowLayout, class_names, layout_of
from grounded_sam2.importers.splits import canonical_split, item_id_in_split
from grounded_sam2.sources.refs import FailedRef, ImageRef
from grounded_sam2.sources.shards import SHARD_EXTENSIONS, Shard
from grounded_sam2.sources.table_source import RowRef, RowSource, find_shard_column
from grounded_sam2.sources.walk import walk

__all__ = ["find_shards", "open_hugging_face"]

_ROWS = 64
"""Whose objects are in memory at a time."""
_BROKEN = (OSError, pa.ArrowException, SourceError)


def find_shards(path: Path) -> list[Shard]:
    """The files of rows of a dataset, in the order of their names; ``[]`` if there are none."""
    if path.is_file():
        return [Shard(path.name, path)] if path.suffix.lower() in SHARD_EXTENSIONS else []
    return [
        Shard(found.name, Path(found.path))
        for found in walk(path)
        if found.failure is None and found.name.lower().endswith(SHARD_EXTENSIONS)
    ]


@contextmanager
def open_hugging_face(path: Path, options: ImportOptions) -> Iterator[_RowDataset]:
    """Open a dataset. See `grounded_sam2.importers.label_import.Importer`.

    Raises:
        DatasetError: there are no such files, or they hold no images or no objects.
    """
    shards = find_shards(path)
    if not shards:
        raise DatasetError(f"'{path}': no Parquet files in it")
    if options.images is not None:
        raise DatasetError(f"'{path}' holds its images itself; leave out images")
    try:
        column = find_shard_column(shards)
        schema = _first_schema(shards)
        layout = layout_of(schema, path)
        names = class_names(schema, layout) or _names_used(shards, layout)
    except _BROKEN as error:
        raise DatasetError(f"'{path}': {one_line(error)}") from error
    root = path if path.is_dir() else path.parent
    source = RowSource(shards, column, root=root, images_folder=options.images_folder)
    yield _RowDataset(source, layout, names, options.crowds)


@dataclass(frozen=True, slots=True)
class _RowDataset:
    source: RowSource
    layout: RowLayout
    names: Mapping[Any, str]
    """Classes by what stands in the rows: numbers or texts."""
    crowds: bool

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.names.values()))

    def item_ids(self) -> Iterator[str]:
        for ref in self._refs():
            yield ref.item_id

    def images(self) -> Iterator[AnnotatedImage]:
        shard: Shard | None = None
        rows: Iterator[Mapping[str, Any]] = iter(())
        for ref in self._refs():
            if not isinstance(ref, RowRef):  # a shard that cannot be read
                yield AnnotatedImage(ref)
                continue
            if ref.shard is not shard:
                shard, rows = ref.shard, _rows(ref.shard, self.layout.columns)
            try:
                yield self._image(ref, next(rows))
            except (*_BROKEN, DatasetError, StopIteration) as error:
                reason = f"objects of {ref.item_id!r} cannot be read: {one_line(error)}"
                yield AnnotatedImage(FailedRef(ref.item_id, ref.path, reason))

    def unassigned(self) -> Iterator[DatasetProblem]:
        return iter(())  # every object is in the row of its image

    def _refs(self) -> Iterator[ImageRef]:
        for ref in self.source:
            split = canonical_split(ref.item_id.split("/")[0])
            yield replace(ref, item_id=item_id_in_split(ref.item_id, split))

    def _image(self, ref: RowRef, row: Mapping[str, Any]) -> AnnotatedImage:
        objects: list[ObjectAnnotation] = []
        problems: list[DatasetProblem] = []
        for number, each in enumerate(self.layout.objects(row), start=1):
            where = f"object {each.get('id', number)}"
            name = self.names.get(each["category"])
            if each.get("iscrowd") and not self.crowds:
                problems.append(DatasetProblem(CROWD_LEFT_OUT, where))
            elif name is None:
                reason = "of a category that has no name; left out"
                problems.append(DatasetProblem(reason, where, f"category {each['category']!r}"))
            else:
                given, object_problems = parse_annotation(each, name, where)
                objects += [] if given is None else [given]
                problems += object_problems
        height, width = row.get("height"), row.get("width")
        return AnnotatedImage(
            ref=ref,
            objects=tuple(objects),
            problems=tuple(problems),
            declared_hw=(height, width) if height and width else None,
        )


def _first_schema(shards: Sequence[Shard]) -> Any:
    """Of the first shard that can be read; those that cannot are told of with their images."""
    for shard in shards[:-1]:
        with suppress(*_BROKEN):
            return shard.schema()
    return shards[-1].schema()


def _names_used(shards: Sequence[Shard], layout: RowLayout) -> dict[Any, str]:
    """Categories that need no name, or have none: themselves, in order."""
    used: set[int | str] = set()
    for shard in shards:
        with suppress(*_BROKEN):  # it will be told of when its images are read
            for row in _rows(shard, layout.columns):
                used.update(each for each in layout.categories(row) if isinstance(each, int | str))
    return {
        each: printable(each) for each in sorted(used, key=lambda each: (str(type(each)), each))
    }


def _rows(shard: Shard, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for _, batch in shard.batches(columns, rows=_ROWS):
        yield from batch.to_pylist()
