"""The folders and files of YOLO datasets, as Ultralytics finds and reads them.

    data.yaml                      train, val, test (relative), nc, names
    images/<split>/sub/a.jpg
    labels/<split>/sub/a.txt       class and numbers per object, normalized; empty for background

The reader finds labels by replacing the last ``/images/`` of a path and its ending, so a sub-folder
called ``images`` gets an underscore, and images whose names differ by their ending only are told
apart. It passes over hidden files, whose dot becomes an underscore. Images in formats that
Ultralytics leaves out, or stops at in training, become PNG.

Format: https://docs.ultralytics.com/datasets/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.image_types import OPENCV_TYPES
from grounded_sam2.exporters.images import FolderCache
from grounded_sam2.exporters.mask_conversion import Box, convert_masks
from grounded_sam2.exporters.objects import clipped_box
from grounded_sam2.exporters.options import ExportCounter, ExportOptions, ExportSummary
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.store import LabelStore

__all__ = ["write_yolo"]

_RULES = ImageFileRules(
    suffixes=frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}),
    contents=OPENCV_TYPES,
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
    of_masks: Callable[[Sequence[Rle]], Sequence[str]],
    of_box: Callable[[Box, tuple[int, int]], str],
    depends_on: tuple[str, ...] = (),
    workers: int = 1,
) -> ExportSummary:
    """Write a YOLO dataset. See `grounded_sam2.exporters.Exporter`.

    A split that came out empty is not named in ``data.yaml``, but ``train`` and ``val`` always
    are, since Ultralytics insists on both: where one is empty or not asked for, it is the other.

    Args:
        format_name: by its name in `EXPORTERS`.
        store, folder, options: as there.
        of_masks: the numbers of each mask's row as text, normalized; empty for an empty mask.
        of_box: those of an object without a mask, from its box and the size of its image.
        depends_on: options that matter to this format only.
        workers: processes that `of_masks` is shared by.

    Raises:
        ExportError: also if a split is called like something else that readers look for.
    """
    for name in options.split:
        if name in _NOT_SPLITS:
            raise ExportError(
                f"export to '{folder}': split '{name}' means something else to readers of YOLO "
                "datasets; rename it"
            )
    with build_dataset(
        format_name,
        store,
        folder,
        options,
        entries=("images", "labels", "data.yaml"),
        depends_on=depends_on,
    ) as data:
        ids = {name: i for i, name in enumerate(data.classes)}
        images = data.images(rules=_RULES, min_side=_MIN_SIDE)
        folders = FolderCache()
        for image, rows_of_masks in convert_masks(images, of_masks, workers=workers):
            rows = []
            for label, row in zip(image.labels.objects, rows_of_masks, strict=True):
                if row is None:
                    box = clipped_box(label, image.labels.size_hw, None)
                    row = "" if box is None else of_box(box, image.labels.size_hw)
                if not row:
                    data.counter.note("objects without extent, left out")
                    continue
                rows.append(f"{ids[label.class_name]} {row}\n")
                data.counter.add(label)
            file = data.new / "labels" / image.split / image.name.with_suffix(".txt")
            folders.make(file.parent)
            file.write_text("".join(rows), encoding="ascii")
        places, notes = _places(data.counter)
        summary = data.summary(notes)
        # ASCII with escapes: some readers open it in the encoding of their system.
        (data.new / "data.yaml").write_text(
            yaml.safe_dump(
                {**places, "nc": len(ids), "names": list(ids)}, sort_keys=False, width=100
            ),
            encoding="ascii",
        )
        return summary


def _places(counter: ExportCounter) -> tuple[dict[str, str], list[str]]:
    """FolderCache of the splits for ``data.yaml``, and what to tell the user about them."""
    places = {name: f"images/{name}" for name, count in counter.images.items() if count}
    notes = []
    for name in ("train", "val"):
        if name not in places and places:
            stand_in = places.get(
                "val" if name == "train" else "train", next(iter(places.values()))
            )
            notes.append(f"data.yaml names '{stand_in}' as {name}: there are no {name} images")
            places[name] = stand_in
    order = sorted(places, key=lambda name: {"train": 0, "val": 1}.get(name, 2))
    return {name: places[name] for name in order}, notes
