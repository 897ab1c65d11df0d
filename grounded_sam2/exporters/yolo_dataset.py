"""Files and folders of the YOLO formats, as Ultralytics reads them.

    data.yaml                      train, val, test (relative), nc, names
    images/<split>/sub/a.jpg
    labels/<split>/sub/a.txt       class and numbers per object, normalized; empty for background

Ultralytics finds labels by replacing the last ``/images/`` and the suffix of an image path. So a
sub-folder named ``images`` gets an underscore, and images that differ only by their suffix get
different stems. It ignores hidden files, so a leading dot becomes an underscore. Image types that
Ultralytics ignores, or fails on in training, become PNG.

Format: https://docs.ultralytics.com/datasets/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.image_types import OPENCV_TYPES
from grounded_sam2.exporters.images import FolderCache
from grounded_sam2.exporters.mask_conversion import Box, convert_masks
from grounded_sam2.exporters.objects import clipped_box
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.store import LabelStore

__all__ = ["write_yolo_dataset"]

_RULES = ImageFileRules(
    suffixes=frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}),
    types=OPENCV_TYPES,
    unique_stems=True,
    reserved_folder="images",
    forbidden=r"(?<![^/])\.",  # readers ignore hidden files and folders
)
_RESERVED_SPLITS = frozenset({"images", "names", "nc", "path", "download", "channels"})
"""The folder by which labels are found, and keys of ``data.yaml``."""
_MIN_SIDE = 10  # Ultralytics: "image size <10 pixels" is corrupt


def write_yolo_dataset(
    format_name: str,
    store: LabelStore,
    folder: str | Path,
    options: ExportOptions,
    *,
    masks_to_rows: Callable[[Sequence[Rle]], Sequence[str]],
    box_to_row: Callable[[Box, tuple[int, int]], str],
    depends_on: tuple[str, ...] = (),
    workers: int = 1,
) -> ExportSummary:
    """Write a YOLO dataset. See `grounded_sam2.exporters.Exporter`.

    ``data.yaml`` leaves out empty splits, except that it always has ``train`` and ``val``, which
    Ultralytics requires: where one is empty or not requested, it is the other.

    Args:
        format_name: name of the format in `EXPORTERS`.
        store, folder, options: as in `Exporter`.
        masks_to_rows: returns the normalized numbers of each mask's row; empty for an empty mask.
        box_to_row: returns the numbers of an object without a mask, from its box and the
            ``(height, width)`` of its image.
        depends_on: options that affect this format only.
        workers: number of processes that run `masks_to_rows`.

    Raises:
        ExportError: also if a split has a name with another meaning to readers.
    """
    for name in options.split:
        if name in _RESERVED_SPLITS:
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
        images = data.write_images(rules=_RULES, min_side=_MIN_SIDE)
        folders = FolderCache()
        for image, mask_rows in convert_masks(images, masks_to_rows, workers=workers):
            lines = []
            for label, row in zip(image.labels.objects, mask_rows, strict=True):
                if row is None:
                    box = clipped_box(label, image.labels.size_hw, None)
                    row = "" if box is None else box_to_row(box, image.labels.size_hw)
                if not row:
                    data.counter.note("objects without extent, left out")
                    continue
                lines.append(f"{ids[label.class_name]} {row}\n")
                data.counter.add(label)
            path = data.staging / "labels" / image.split / image.name.with_suffix(".txt")
            folders.create(path.parent)
            path.write_text("".join(lines), encoding="ascii")
        split_folders, notes = _split_folders(data.counter.images)
        summary = data.summary(notes)
        content = {**split_folders, "nc": len(ids), "names": list(ids)}
        # ASCII with escapes: some readers open it in the encoding of their system.
        (data.staging / "data.yaml").write_text(
            yaml.safe_dump(content, sort_keys=False, width=100), encoding="ascii"
        )
        return summary


def _split_folders(images: Mapping[str, int]) -> tuple[dict[str, str], list[str]]:
    """Return the split folders for ``data.yaml``, and remarks about them for the user.

    Args:
        images: number of images per split.
    """
    folders = {name: f"images/{name}" for name, count in images.items() if count}
    notes = []
    for name in ("train", "val"):
        if name not in folders and folders:
            substitute = folders.get(
                "val" if name == "train" else "train", next(iter(folders.values()))
            )
            notes.append(f"data.yaml names '{substitute}' as {name}: there are no {name} images")
            folders[name] = substitute
    order = sorted(folders, key=lambda name: {"train": 0, "val": 1}.get(name, 2))
    return {name: folders[name] for name in order}, notes
