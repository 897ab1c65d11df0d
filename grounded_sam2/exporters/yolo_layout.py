"""The folders and files of YOLO datasets, as Ultralytics finds and reads them.

    data.yaml                      train, val, test (relative), nc, names
    images/<split>/sub/a.jpg
    labels/<split>/sub/a.txt       class and numbers per object, normalised; empty for background

The reader finds labels by replacing the last ``/images/`` of a path and its ending, so a sub-folder
called ``images`` gets an underscore, and pictures whose names differ by their ending only are told
apart. It passes over hidden files, whose dot becomes an underscore. Pictures in formats that
Ultralytics leaves out, or stops at in training, become PNG.

Format: https://docs.ultralytics.com/datasets/
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import yaml
from numpy.typing import NDArray

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.contents import OPENCV
from grounded_sam2.exporters.dataset import new_dataset
from grounded_sam2.exporters.names import NameRules
from grounded_sam2.exporters.options import ExportOptions, ExportSummary, Tally
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["RowNumbers", "write_yolo"]

RowNumbers: TypeAlias = Callable[[Label, tuple[int, int]], NDArray[np.float64]]
"""The numbers of an object's row, from the object and the size of its picture: ``(n,)`` in [0, 1];
``(0,)`` for an object that has no extent."""

_RULES = NameRules(
    suffixes=frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}),
    contents=OPENCV,
    unique_stems=True,
    reserved_folder="images",
    forbidden=r"(?<![^/])\.",  # hidden files and folders are not looked at
)
_NOT_SPLITS = frozenset({"images", "names", "nc", "path", "download", "channels"})
"""The folder that labels are found by, and keys of ``data.yaml``."""
_MIN_SIDE = 10  # Ultralytics: "image size <10 pixels" is corrupt


def write_yolo(
    format_name: str,
    store: LabelStore,
    folder: str | Path,
    options: ExportOptions,
    *,
    numbers: RowNumbers,
    depends_on: tuple[str, ...] = (),
) -> ExportSummary:
    """Write a YOLO dataset whose rows hold these numbers. See `grounded_sam2.exporters.Exporter`.

    A split that came out empty is not named in ``data.yaml``, but ``train`` and ``val`` always
    are, since Ultralytics insists on both: where one is empty or not asked for, it is the other.

    Raises:
        ExportError: also if a split is called like something else that readers look for.
    """
    for name in options.split:
        if name in _NOT_SPLITS:
            raise ExportError(
                f"export to '{folder}': split '{name}' means something else to readers of YOLO "
                "datasets; rename it"
            )
    with new_dataset(
        format_name,
        store,
        folder,
        options,
        entries=("images", "labels", "data.yaml"),
        depends_on=depends_on,
    ) as data:
        ids = {name: i for i, name in enumerate(data.classes)}
        for picture in data.pictures(rules=_RULES, min_side=_MIN_SIDE):
            rows = []
            for label in picture.labels.objects:
                row = numbers(label, picture.labels.size_hw)
                if not row.size:
                    data.tally.remark("objects without extent, left out")
                    continue
                values = " ".join(f"{value:.6f}" for value in row)
                rows.append(f"{ids[label.class_name]} {values}\n")
                data.tally.add(label)
            file = data.new / "labels" / picture.split / picture.name.with_suffix(".txt")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(rows), encoding="ascii")
        places, notes = _places(data.tally)
        summary = data.summary(notes)
        # ASCII with escapes: some readers open it in the encoding of their system.
        (data.new / "data.yaml").write_text(
            yaml.safe_dump(
                {**places, "nc": len(ids), "names": list(ids)}, sort_keys=False, width=100
            ),
            encoding="ascii",
        )
        return summary


def _places(tally: Tally) -> tuple[dict[str, str], list[str]]:
    """Folders of the splits for ``data.yaml``, and what to tell the user about them."""
    places = {name: f"images/{name}" for name, count in tally.images.items() if count}
    notes = []
    for name in ("train", "val"):
        if name not in places and places:
            stand_in = places.get(
                "val" if name == "train" else "train", next(iter(places.values()))
            )
            notes.append(f"data.yaml names '{stand_in}' as {name}: there are no {name} pictures")
            places[name] = stand_in
    order = sorted(places, key=lambda name: {"train": 0, "val": 1}.get(name, 2))
    return {name: places[name] for name in order}, notes
