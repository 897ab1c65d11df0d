"""Streaming writer of JSON files with the layout of COCO.

    {"info": …, "licenses": [], "images": […], "annotations": […], "categories": […]}

Images or videos, called *entries* here, and annotations arrive alternately, but each have a list of
their own: entries are written at once, annotations go to a temporary file until the last entry is
written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal, Self

__all__ = ["CocoJsonWriter", "to_json"]


class CocoJsonWriter:
    """Writer of the file of one split. A context manager.

    Args:
        path: the file.
        entries: what is annotated.
        category_ids: id of each class.
    """

    def __init__(
        self, path: Path, entries: Literal["images", "videos"], category_ids: Mapping[str, int]
    ) -> None:
        self._path = path
        self._name = entries
        self._category_ids = category_ids
        self._entries = 0
        self._annotations = 0

    def __enter__(self) -> Self:
        # ASCII with escapes: some readers open it in the encoding of their system.
        self._file = self._path.open("w", encoding="ascii", newline="\n")
        self._annotation_file = TemporaryFile(
            "w+", encoding="ascii", newline="\n", dir=self._path.parent
        )
        self._file.write('{"info":{"description":"labeled with grounded-sam2"},"licenses":[]')
        self._file.write(f',"{self._name}":[')
        return self

    def begin_entry(self) -> int:
        """Begin the next entry, and return its id. Its JSON goes to `write_entry`."""
        self._file.write("," * bool(self._entries) + "\n")
        self._entries += 1
        return self._entries

    def write_entry(self, text: str) -> None:
        """Append text to the JSON object of the last entry."""
        self._file.write(text)

    def begin_annotation(self, class_name: str) -> dict[str, int]:
        """Begin the next annotation of the last entry, and return the fields that hold its ids.

        Its JSON, which includes these fields, goes to `write_annotation`.
        """
        self._annotation_file.write("," * bool(self._annotations) + "\n")
        self._annotations += 1
        return {
            "id": self._annotations,
            f"{self._name[:-1]}_id": self._entries,
            "category_id": self._category_ids[class_name],
        }

    def write_annotation(self, text: str) -> None:
        """Append text to the JSON object of the last annotation."""
        self._annotation_file.write(text)

    def __exit__(self, *error: object) -> None:
        with self._file, self._annotation_file:
            self._annotation_file.seek(0)
            self._file.write('\n],"annotations":[')
            shutil.copyfileobj(self._annotation_file, self._file)
            categories = [
                {"id": i, "name": name, "supercategory": "object"}
                for name, i in self._category_ids.items()
            ]
            self._file.write(f'\n],"categories":{to_json(categories)}}}\n')


def to_json(value: Any) -> str:
    """Return JSON without spaces, which would be a large part of a file of many numbers."""
    return json.dumps(value, separators=(",", ":"))
