"""A JSON file of COCO's kind, written as its parts come.

    {"info": …, "licenses": [], "images": […], "annotations": […], "categories": […]}

Images or videos, here *entries*, and annotations come in turns, and each stand in a list of
their own: entries go in at once, annotations wait on disk until the last entry is there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal, Self

__all__ = ["AnnotationFile", "to_json"]


class AnnotationFile:
    """The file of one split; to be used with ``with``. Subclasses say what an entry is.

    Args:
        path: of the file.
        entries: what is annotated.
        category_ids: by class.
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
        self._waiting = TemporaryFile("w+", encoding="ascii", newline="\n", dir=self._path.parent)
        self._file.write('{"info":{"description":"labeled with grounded-sam2"},"licenses":[]')
        self._file.write(f',"{self._name}":[')
        return self

    def _begin_entry(self) -> int:
        """The id of another entry; what it says is then written to ``_file``."""
        self._file.write("," * bool(self._entries) + "\n")
        self._entries += 1
        return self._entries

    def _begin_annotation(self, class_name: str) -> dict[str, int]:
        """Ids of another annotation; what it says is then written to ``_waiting``.

        It is of the entry that was begun last.
        """
        self._waiting.write("," * bool(self._annotations) + "\n")
        self._annotations += 1
        return {
            "id": self._annotations,
            f"{self._name[:-1]}_id": self._entries,
            "category_id": self._category_ids[class_name],
        }

    def __exit__(self, *error: object) -> None:
        with self._file, self._waiting:
            self._waiting.seek(0)
            self._file.write('\n],"annotations":[')
            shutil.copyfileobj(self._waiting, self._file)
            categories = [
                {"id": i, "name": name, "supercategory": "object"}
                for name, i in self._category_ids.items()
            ]
            self._file.write(f'\n],"categories":{to_json(categories)}}}\n')


def to_json(value: Any) -> str:
    """Without spaces: of many objects, every second byte would be one."""
    return json.dumps(value, separators=(",", ":"))
