"""YOLO segmentation, as Ultralytics reads it.

    data.yaml                      train, val, test (relative), nc, names
    images/<split>/sub/a.jpg
    labels/<split>/sub/a.txt       class x1 y1 x2 y2 … per object, normalised; empty for background

One row is one object: its parts and holes are joined into one outline. The reader finds labels by
replacing the last ``/images/`` of a path and its ending, so a sub-folder called ``images`` gets an
underscore, and pictures whose names differ by their ending only are told apart. Its rows are all
polygons, because a single box among them makes Ultralytics forget the outlines of the whole
dataset: an object without a mask is the four corners of its box, which keeps it from being
taught as background, and is counted. Pictures in formats that Ultralytics leaves out become PNG.

Format: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from grounded_sam2.exporters.files import place_pictures
from grounded_sam2.exporters.names import NameRules
from grounded_sam2.exporters.options import ExportOptions, ExportSummary, Tally
from grounded_sam2.exporters.staging import staged
from grounded_sam2.geometry.polygons import to_single_outline
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["export_yolo"]

_RULES = NameRules(
    suffixes=frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}),
    unique_stems=True,
    reserved_folder="images",
)
_MIN_SIDE = 10  # Ultralytics: "image size <10 pixels" is corrupt


def export_yolo(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write a YOLO segmentation dataset. See `grounded_sam2.exporters.Exporter`.

    A split that came out empty is not named in ``data.yaml``, but ``train`` and ``val`` always
    are, since Ultralytics insists on both: where one is empty or not asked for, it is the other.
    """
    folder = Path(folder)
    with store.snapshot():
        classes = store.classes(options.run_id)
        tally = Tally(classes, options.split)
        description = {
            "format": "yolo",
            "run": store.run(options.run_id).recipe.key,
            "split": dict(options.split),
            "seed": options.seed,
            "images": options.images,
            "min_polygon_iou": options.min_polygon_iou,
        }
        with staged(folder, ("images", "labels", "data.yaml"), description) as new:
            ids = {name: str(i) for i, name in enumerate(classes)}
            for picture in place_pictures(
                store, new / "images", options, tally, rules=_RULES, min_side=_MIN_SIDE
            ):
                rows = []
                for label in picture.labels.objects:
                    outline = _outline(label, options.min_polygon_iou)
                    if not len(outline):
                        continue
                    rows.append(f"{ids[label.class_name]} {_row(outline, picture.labels.size_hw)}")
                    tally.objects[label.class_name] += 1
                    tally.boxes_for_masks += label.mask is None
                file = new / "labels" / picture.split / picture.name.with_suffix(".txt")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("".join(f"{row}\n" for row in rows), encoding="ascii")
            places, notes = _places(tally)
            summary = tally.summary("yolo", folder, notes)
            # ASCII with escapes: some readers open it in the encoding of their system.
            (new / "data.yaml").write_text(
                yaml.safe_dump(
                    {**places, "nc": len(classes), "names": classes}, sort_keys=False, width=100
                ),
                encoding="ascii",
            )
    return summary


def _outline(label: Label, min_iou: float) -> NDArray[np.float64]:
    """Outline of an object in pixels: ``(n, 2)``, at least three points or none."""
    if label.mask is not None:
        return to_single_outline(label.mask, min_iou=min_iou)
    x_min, y_min, x_max, y_max = label.box_xyxy
    return np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]])


def _row(outline: NDArray[np.float64], size_hw: tuple[int, int]) -> str:
    height, width = size_hw
    normalised = np.clip(outline / [width, height], 0, 1)
    return " ".join(f"{value:.6f}" for value in normalised.ravel())


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
