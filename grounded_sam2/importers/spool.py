"""Annotations brought together with their pictures, on disk.

COCO lists pictures and annotations apart, in any order, and a large dataset does not fit into
memory. Both go into a private temporary file while they are read, and come out picture by picture;
what refers to a picture that is not listed is left over. The file takes as much space as the
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
from grounded_sam2.importers.records import Trouble

__all__ = ["ListedPicture", "Spool"]

_TABLES = """
    PRAGMA journal_mode = OFF;
    CREATE TABLE pictures (
        file, id, item_id UNIQUE, name, path, height, width, UNIQUE (file, id)
    );
    CREATE TABLE annotations (file, picture, text);
    CREATE TABLE troubles (reason, place, detail);
"""


@dataclass(frozen=True, slots=True)
class ListedPicture:
    """An entry of a list of pictures."""

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


class Spool:
    """A context; what it holds is gone at its end."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # a private temporary file
        self._database.executescript(_TABLES)
        self._run = self._database.execute

    def __enter__(self) -> Spool:
        self._run("BEGIN")
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._database.close()
        if isinstance(error, sqlite3.Error):
            raise DatasetError(
                f"annotations cannot be sorted on disk: {error}; make space in the folder for "
                "temporary files, or name another (SQLITE_TMPDIR)"
            ) from error

    def add_picture(self, picture: ListedPicture) -> bool:
        """Put in a picture.

        If another one has its item id, its own id is put before the ending: no labels are lost
        where a dataset lists a picture twice.

        Returns:
            Whether it is in: false if the file has listed another picture with this id.
        """
        known = self._run(
            "SELECT 1 FROM pictures WHERE file = ? AND id = ?", (picture.file, picture.id)
        )
        if known.fetchone():
            return False
        height, width = picture.declared_hw or (None, None)
        path = None if picture.path is None else os.fsencode(picture.path)
        name = PurePosixPath(picture.item_id)
        told_apart = name.with_name(f"{name.stem}-{picture.file}-{picture.id}{name.suffix}")
        for item_id in (picture.item_id, str(told_apart)):
            row = (picture.file, picture.id, item_id, picture.name, path, height, width)
            added = self._run("INSERT OR IGNORE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            if added.rowcount:
                return True
        return False

    def add_annotation(self, file: int, picture_id: str, text: str) -> None:
        """Put in what a file says of a picture, which may not be listed yet."""
        self._run("INSERT INTO annotations VALUES (?, ?, ?)", (file, picture_id, text))

    def add_trouble(self, trouble: Trouble) -> None:
        """Put in something that cannot be read."""
        self._run(
            "INSERT INTO troubles VALUES (?, ?, ?)", (trouble.reason, trouble.where, trouble.detail)
        )

    def seal(self) -> None:
        """All is in."""
        self._run("CREATE INDEX of_picture ON annotations (file, picture)")

    def item_ids(self) -> Iterator[str]:
        """Ids of the pictures, in the order that they came in."""
        for (item_id,) in self._run("SELECT item_id FROM pictures ORDER BY rowid"):
            yield item_id

    def pictures(self) -> Iterator[tuple[ListedPicture, list[str]]]:
        """Pictures in the order that they came in, each with its annotations in theirs."""
        rows = self._run(
            "SELECT p.*, a.text FROM pictures p LEFT JOIN annotations a "
            "ON a.file = p.file AND a.picture = p.id ORDER BY p.rowid, a.rowid"
        )
        for columns, of_picture in groupby(rows, key=lambda row: row[:-1]):
            file, picture_id, item_id, name, path, height, width = columns
            picture = ListedPicture(
                file=file,
                id=picture_id,
                item_id=item_id,
                name=name,
                path=None if path is None else Path(os.fsdecode(path)),
                declared_hw=None if height is None else (height, width),
            )
            yield picture, [text for *_, text in of_picture if text is not None]

    def strays(self) -> Iterator[tuple[int, str, str]]:
        """Annotations of pictures that are not listed: file, id of the picture, what they say."""
        yield from self._run(
            "SELECT a.* FROM annotations a LEFT JOIN pictures p "
            "ON a.file = p.file AND a.picture = p.id WHERE p.file IS NULL ORDER BY a.rowid"
        )

    def troubles(self) -> Iterator[Trouble]:
        """What could not be read."""
        for reason, where, detail in self._run("SELECT * FROM troubles ORDER BY rowid"):
            yield Trouble(reason, where, detail)
