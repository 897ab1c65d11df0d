"""Annotations brought together with their images, on disk.

COCO lists images and annotations apart, in any order, and a large dataset does not fit into
memory. Both go into a private temporary file while they are read, and come out image by image;
what refers to an image that is not listed is left over. The file takes as much space as the
annotations do.
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
    """An entry of a list of images."""

    file: int
    """Number of the file that lists it."""
    id: str
    """What annotations in that file call it."""
    item_id: str
    name: str
    """Its path, as the file has it."""
    path: Path | None
    """``None`` if there is no such file."""
    declared_hw: tuple[int, int] | None


class AnnotationDatabase:
    """A context; what it holds is gone at its end."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # a private temporary file
        self._database.executescript(_TABLES)
        self._run = self._database.execute

    def __enter__(self) -> AnnotationDatabase:
        self._run("BEGIN")
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._database.close()
        if isinstance(error, sqlite3.Error):
            raise DatasetError(
                f"annotations cannot be sorted on disk: {error}; make space in the folder for "
                "temporary files, or name another (SQLITE_TMPDIR)"
            ) from error

    def add_image(self, image: ImageEntry) -> bool:
        """Put in an image.

        If another one has its item id, its own id is put before the ending: no labels are lost
        where a dataset lists an image twice.

        Returns:
            Whether it is in: false if the file has listed another image with this id.
        """
        known = self._run("SELECT 1 FROM images WHERE file = ? AND id = ?", (image.file, image.id))
        if known.fetchone():
            return False
        height, width = image.declared_hw or (None, None)
        path = None if image.path is None else os.fsencode(image.path)
        name = PurePosixPath(image.item_id)
        told_apart = name.with_name(f"{name.stem}-{image.file}-{image.id}{name.suffix}")
        for item_id in (image.item_id, str(told_apart)):
            row = (image.file, image.id, item_id, image.name, path, height, width)
            added = self._run("INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            if added.rowcount:
                return True
        return False

    def add_annotation(self, file: int, image_id: str, text: str) -> None:
        """Put in what a file says of an image, which may not be listed yet."""
        self._run("INSERT INTO annotations VALUES (?, ?, ?)", (file, image_id, text))

    def add_problem(self, problem: DatasetProblem) -> None:
        """Put in something that cannot be read."""
        self._run(
            "INSERT INTO problems VALUES (?, ?, ?)", (problem.reason, problem.where, problem.detail)
        )

    def build_index(self) -> None:
        """All is in."""
        self._run("CREATE INDEX of_image ON annotations (file, image)")

    def item_ids(self) -> Iterator[str]:
        """Ids of the images, in the order that they came in."""
        for (item_id,) in self._run("SELECT item_id FROM images ORDER BY rowid"):
            yield item_id

    def images(self) -> Iterator[tuple[ImageEntry, list[str]]]:
        """Pictures in the order that they came in, each with its annotations in theirs."""
        rows = self._run(
            "SELECT p.*, a.text FROM images p LEFT JOIN annotations a "
            "ON a.file = p.file AND a.image = p.id ORDER BY p.rowid, a.rowid"
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

    def unassigned(self) -> Iterator[tuple[int, str, str]]:
        """Annotations of images that are not listed: file, id of the image, what they say."""
        yield from self._run(
            "SELECT a.* FROM annotations a LEFT JOIN images p "
            "ON a.file = p.file AND a.image = p.id WHERE p.file IS NULL ORDER BY a.rowid"
        )

    def problems(self) -> Iterator[DatasetProblem]:
        """What could not be read."""
        for reason, where, detail in self._run("SELECT * FROM problems ORDER BY rowid"):
            yield DatasetProblem(reason, where, detail)
