"""Temporary on-disk database that groups the annotations of a COCO dataset by image.

COCO lists images and annotations separately and in any order, and a large dataset does not fit into
memory. Both are written to a private temporary SQLite file and read back image by image;
annotations of images that are not listed remain. The file is about as large as the annotations.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from grounded_sam2.errors import DatasetError
from grounded_sam2.importers.dataset import DatasetProblem

__all__ = ["AnnotationDatabase", "ImageEntry"]

_TABLES = """
    PRAGMA journal_mode = OFF;
    CREATE TABLE images (
        file, id, item_id UNIQUE, name, path, height, width, UNIQUE (file, id)
    );
    CREATE TABLE annotations (file, image, text);
    CREATE TABLE problems (reason, place, detail);
"""


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An image as an annotation file lists it."""

    file: int
    """Number of the annotation file."""
    id: str
    """Id of the image within that file."""
    item_id: str
    name: str
    """Its path as the annotation file writes it."""
    path: Path | None
    """The image file; ``None`` if it was not found."""
    declared_hw: tuple[int, int] | None


class AnnotationDatabase:
    """A context manager; the data is deleted at the end."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # a private temporary file
        self._database.executescript(_TABLES)
        self._execute = self._database.execute

    def __enter__(self) -> AnnotationDatabase:
        self._execute("BEGIN")
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._database.close()
        if isinstance(error, sqlite3.Error):
            raise DatasetError(
                f"annotations cannot be sorted on disk: {error}; make space in the folder for "
                "temporary files, or name another (SQLITE_TMPDIR)"
            ) from error

    def add_image(self, image: ImageEntry) -> bool:
        """Add an image.

        If its item id is taken, the file number and image id are inserted before the extension, so
        that an image listed twice loses no labels.

        Returns:
            ``False`` if the annotation file has already listed an image with this id.
        """
        row = (image.file, image.id)
        if self._execute("SELECT 1 FROM images WHERE file = ? AND id = ?", row).fetchone():
            return False
        height, width = image.declared_hw or (None, None)
        path = None if image.path is None else os.fsencode(image.path)
        name = PurePosixPath(image.item_id)
        unique_name = name.with_name(f"{name.stem}-{image.file}-{image.id}{name.suffix}")
        for item_id in (image.item_id, str(unique_name)):
            values = (*row, item_id, image.name, path, height, width)
            added = self._execute(
                "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?, ?, ?)", values
            )
            if added.rowcount:
                return True
        return False

    def add_annotation(self, file: int, image_id: str, text: str) -> None:
        """Add the JSON text of an annotation; its image may be added later."""
        self._execute("INSERT INTO annotations VALUES (?, ?, ?)", (file, image_id, text))

    def add_problem(self, problem: DatasetProblem) -> None:
        """Add a problem that belongs to no image."""
        self._execute(
            "INSERT INTO problems VALUES (?, ?, ?)", (problem.reason, problem.where, problem.detail)
        )

    def build_index(self) -> None:
        """Index the annotations by image, once all have been added."""
        self._execute("CREATE INDEX of_image ON annotations (file, image)")

    def item_ids(self) -> Iterator[str]:
        """Yield the ids of the images in the order in which they were added."""
        for (item_id,) in self._execute("SELECT item_id FROM images ORDER BY rowid"):
            yield item_id

    def images(self) -> Iterator[tuple[ImageEntry, list[str]]]:
        """Yield the images with their annotations, both in the order in which they were added."""
        rows = self._execute(
            "SELECT i.*, a.text FROM images i LEFT JOIN annotations a "
            "ON a.file = i.file AND a.image = i.id ORDER BY i.rowid, a.rowid"
        )
        for columns, of_image in groupby(rows, key=lambda row: row[:-1]):
            file, image_id, item_id, name, path, height, width = columns
            image = ImageEntry(
                file=file,
                id=image_id,
                item_id=item_id,
                name=name,
                path=None if path is None else Path(os.fsdecode(path)),
                declared_hw=None if height is None else (height, width),
            )
            yield image, [text for *_, text in of_image if text is not None]

    def unassigned_annotations(self) -> Iterator[tuple[int, str, str]]:
        """Yield annotations of unlisted images: file number, image id, JSON text."""
        yield from self._execute(
            "SELECT a.* FROM annotations a LEFT JOIN images i "
            "ON a.file = i.file AND a.image = i.id WHERE i.file IS NULL ORDER BY a.rowid"
        )

    def problems(self) -> Iterator[DatasetProblem]:
        """Yield the added problems in order."""
        for reason, where, detail in self._execute("SELECT * FROM problems ORDER BY rowid"):
            yield DatasetProblem(reason, where, detail)
