"""Label Studio: tasks with predictions, for people to correct.

    images/<split>/sub/a.jpg
    tasks/00000.json               import these; several if they are more than one import may be
    label_config.xml               the labeling interface that the predictions fit

Images are addressed as local files: start Label Studio with this folder as
``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT``, ``LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true``, and
add its ``images`` as a local storage to the project. Images that no browser shows, such as TIFF,
become PNG. Masks are brush strokes, so that holes and parts stay; with polygons, each object is one
outline, its parts and holes joined by bridges of no width. An object without a mask is a rectangle.
Each region has its confidence as ``score`` and its caption as a note; a prediction's score is the
lowest of its regions, by which tasks can be sorted with the doubtful ones first. Regions come with
the surest last, which is on top.

Format: https://labelstud.io/guide/predictions
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeAlias
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.formats.brush import brush_rles
from grounded_sam2.exporters.image_types import BROWSER_TYPES
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.mask_conversion import convert_masks, mask_stats
from grounded_sam2.exporters.objects import clipped_box, front_to_back
from grounded_sam2.exporters.options import ExportCounter, ExportOptions, ExportSummary
from grounded_sam2.exporters.palette import voc_palette
from grounded_sam2.exporters.xml_text import xml_text
from grounded_sam2.geometry.polygons import masks_to_single_rings
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["export_label_studio"]

_RULES = ImageFileRules(
    suffixes=frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}),
    contents=BROWSER_TYPES,
)
_IMPORT_BYTES = 100 * 10**6
"""Bytes of one file of tasks, about: half of what one import may have."""
_TAGS = {"brushlabels": "BrushLabels", "polygonlabels": "PolygonLabels"}


def export_label_studio(
    store: LabelStore, folder: str | Path, *, options: ExportOptions
) -> ExportSummary:
    """Write tasks for Label Studio. See `grounded_sam2.exporters.Exporter`."""
    kind = "brushlabels" if options.segmentation == "rle" else "polygonlabels"
    with build_dataset(
        "labelstudio",
        store,
        folder,
        options,
        entries=("images", "tasks", "label_config.xml"),
        depends_on=("segmentation", "min_polygon_iou"),
    ) as data:
        (data.new / "tasks").mkdir()
        (data.new / "label_config.xml").write_text(
            "".join(_label_config(data.classes, _TAGS[kind])), encoding="utf-8"
        )
        with _TaskFiles(data.new / "tasks") as tasks:
            shapes_of = partial(_shapes, kind=kind, min_iou=options.min_polygon_iou)
            images = data.images(rules=_RULES)
            for image, shapes in convert_masks(images, shapes_of, workers=options.workers):
                regions = list(_regions(image, shapes, kind, data.counter))
                prediction: dict[str, Any] = {"model_version": f"grounded-sam2 {data.run_key[:8]}"}
                scores = [region["score"] for region in regions if "score" in region]
                if scores:
                    prediction["score"] = min(scores)
                prediction["result"] = regions
                url = quote(f"images/{image.split}/{image.name}")
                tasks.write(
                    {
                        "data": {
                            "image": f"/data/local-files/?d={url}",
                            "file_name": str(image.name),
                            "split": image.split,
                        },
                        "predictions": [prediction],
                    }
                )
        return data.summary()


def _regions(
    image: DatasetImage, shapes: Sequence[_Shape | None], kind: str, counter: ExportCounter
) -> Iterator[dict[str, Any]]:
    """What stands in ``result`` for the objects of an image, the topmost last."""
    height, width = image.labels.size_hw
    objects = image.labels.objects
    for index in reversed(front_to_back(objects)):
        label = objects[index]
        found = _region(label, (height, width), shapes[index], kind)
        if found is None:
            counter.note("objects without extent, left out")
            continue
        region_kind, value = found
        region = {
            "id": f"object-{index + 1}",
            "type": region_kind,
            "from_name": region_kind,
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {**value, region_kind: [label.class_name]},
            "meta": {"text": [label.caption]},
        }
        if label.confidence is not None:
            region["score"] = label.confidence
        counter.add(label)
        yield region


_Shape: TypeAlias = list[int] | NDArray[np.float64]
"""Bytes of a brush stroke, or ``(n, 2)`` points of an outline; none for an empty mask."""


def _shapes(masks: Sequence[Rle], *, kind: str, min_iou: float) -> Sequence[_Shape]:
    if kind == "brushlabels":
        strokes = zip(brush_rles(masks), mask_stats(masks), strict=True)
        return [stroke if measure.area else [] for stroke, measure in strokes]
    return masks_to_single_rings(masks, min_iou=min_iou)


def _region(
    label: Label, size_hw: tuple[int, int], shape: _Shape | None, kind: str
) -> tuple[str, dict[str, Any]] | None:
    """Type and value of a region, in percent of the image; none if it has no extent."""

    height, width = size_hw
    x_percent, y_percent = 100 / width, 100 / height
    if shape is None:
        box = clipped_box(label, size_hw, None)
        if box is None:
            return None
        x_min, y_min, x_max, y_max = box
        return "rectanglelabels", {
            "x": _rounded(x_min * x_percent),
            "y": _rounded(y_min * y_percent),
            "width": _rounded((x_max - x_min) * x_percent),
            "height": _rounded((y_max - y_min) * y_percent),
            "rotation": 0,
        }
    if not len(shape):
        return None
    if isinstance(shape, list):
        return kind, {"format": "rle", "rle": shape}
    points = [[_rounded(x * x_percent), _rounded(y * y_percent)] for x, y in shape.tolist()]
    return kind, {"points": points, "closed": True}


def _rounded(percent: float) -> float:
    return round(percent, 6)  # a thousandth of a pixel in an image 100 000 pixels wide


def _label_config(classes: Sequence[str], masks_tag: str) -> Iterator[str]:
    yield '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
    for tag in (masks_tag, "RectangleLabels"):
        yield f'  <{tag} name="{tag.lower()}" toName="image">\n'
        for name, (red, green, blue) in zip(classes, _colors(len(classes)), strict=True):
            color = f"#{red:02x}{green:02x}{blue:02x}"
            yield f'    <Label value="{xml_text(name)}" background="{color}"/>\n'
        yield f"  </{tag}>\n"
    yield "</View>\n"


def _colors(number: int) -> list[tuple[int, int, int]]:
    """As many colors, none of them black; they come again after 255."""
    palette = voc_palette()[1:].tolist()
    return [tuple(palette[i % len(palette)]) for i in range(number)]


class _TaskFiles:
    """Arrays of tasks, written one by one, a new file whenever one is full. A context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._file: IO[str] | None = None

    def __enter__(self) -> _TaskFiles:
        return self

    def write(self, task: Mapping[str, Any]) -> None:
        """Add a task."""
        separator = ",\n"
        if self._file is None:
            path = self._folder / f"{self._number:05}.json"
            # ASCII with escapes: some readers open it in the encoding of their system.
            self._file = path.open("w", encoding="ascii", newline="\n")
            separator = "[\n"
        self._file.write(separator + json.dumps(task, separators=(",", ":")))
        if self._file.tell() >= _IMPORT_BYTES:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            with self._file:
                self._file.write("\n]\n")
            self._file = None
            self._number += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
