"""Label Studio: tasks with predictions, for people to correct.

    images/<split>/sub/a.jpg
    tasks/00000.json               import these; several if they exceed the size of one import
    label_config.xml               labeling interface that matches the predictions

Images are addressed as local files: start Label Studio with this folder as
``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT``, ``LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true``, and
add its ``images`` as a local storage to the project. Images of types that no browser displays, such
as TIFF, become PNG. Masks are brush strokes, which represent holes and parts exactly; with
polygons, each object is one outline, with bridges of zero width between parts and to holes. An
object without a mask is a rectangle. Each region has the uid of its object as ``id``, which Label
Studio keeps, its confidence as ``score`` and its caption as a note; those that a person accepted,
corrected or made have the origin ``manual``. The score of a prediction is the lowest of its
regions, so that tasks can be sorted with the uncertain ones first. Regions are ordered by
confidence, the highest last, which is on top.

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
from grounded_sam2.exporters.image_types import BROWSER_TYPES
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.mask_conversion import convert_masks, mask_stats
from grounded_sam2.exporters.mask_png import voc_palette
from grounded_sam2.exporters.objects import clipped_box, front_to_back, row_major_counts
from grounded_sam2.exporters.options import ExportCounter, ExportOptions, ExportSummary
from grounded_sam2.exporters.xml_text import xml_text
from grounded_sam2.geometry.polygons import masks_to_single_rings
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["brush_rles", "export_label_studio"]

_RULES = ImageFileRules(
    suffixes=frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}),
    types=BROWSER_TYPES,
)
_TAGS = {"brushlabels": "BrushLabels", "polygonlabels": "PolygonLabels"}


def export_label_studio(
    store: LabelStore,
    folder: str | Path,
    *,
    options: ExportOptions,
    max_file_bytes: int = 100 * 10**6,
) -> ExportSummary:
    """Write tasks for Label Studio. See `grounded_sam2.exporters.Exporter`.

    Args:
        store, folder, options: as in `Exporter`.
        max_file_bytes: size at which a file of tasks ends: half of what one import may have.
    """
    kind = "brushlabels" if options.segmentation == "rle" else "polygonlabels"
    with build_dataset(
        "labelstudio",
        store,
        folder,
        options,
        entries=("images", "tasks", "label_config.xml"),
        depends_on=("segmentation", "min_polygon_iou"),
    ) as data:
        (data.staging / "tasks").mkdir()
        (data.staging / "label_config.xml").write_text(
            "".join(_label_config(data.classes, _TAGS[kind])), encoding="utf-8"
        )
        model_version = f"grounded-sam2 {data.run_key[:8]}"
        with _TaskWriter(data.staging / "tasks", max_file_bytes) as tasks:
            convert = partial(_mask_shapes, kind=kind, min_iou=options.min_polygon_iou)
            images = data.write_images(rules=_RULES)
            for image, shapes in convert_masks(images, convert, workers=options.workers):
                regions = list(_regions(image, shapes, kind, data.counter))
                tasks.write(_task(image, regions, model_version))
        return data.summary()


def _task(image: DatasetImage, regions: list[dict[str, Any]], model_version: str) -> dict[str, Any]:
    prediction: dict[str, Any] = {"model_version": model_version}
    scores = [region["score"] for region in regions if "score" in region]
    if scores:
        prediction["score"] = min(scores)
    prediction["result"] = regions
    url = quote(f"images/{image.split}/{image.name}")
    return {
        "data": {
            "image": f"/data/local-files/?d={url}",
            "file_name": str(image.name),
            "split": image.split,
        },
        "predictions": [prediction],
    }


_Shape: TypeAlias = list[int] | NDArray[np.float64]
"""Bytes of a brush stroke, or ``(n, 2)`` points of an outline; empty for an empty mask."""


def _mask_shapes(masks: Sequence[Rle], *, kind: str, min_iou: float) -> Sequence[_Shape]:
    if kind == "brushlabels":
        strokes = zip(brush_rles(masks), mask_stats(masks), strict=True)
        return [stroke if stats.area else [] for stroke, stats in strokes]
    return masks_to_single_rings(masks, min_iou=min_iou)


def _regions(
    image: DatasetImage, shapes: Sequence[_Shape | None], kind: str, counter: ExportCounter
) -> Iterator[dict[str, Any]]:
    """Yield the entries of ``result`` for the objects of an image, the topmost last; count them."""
    height, width = image.labels.size_hw
    objects = image.labels.objects
    for index in reversed(front_to_back(objects)):
        label = objects[index]
        typed_value = _region_value(label, (height, width), shapes[index], kind)
        if typed_value is None:
            counter.note("objects without extent, left out")
            continue
        region_type, value = typed_value
        region = {
            "id": label.uid,
            "type": region_type,
            "from_name": region_type,
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {**value, region_type: [label.class_name]},
            "meta": {"text": [label.caption], "uid": label.uid},
        }
        if label.review == "accepted":
            region["origin"] = "manual"
        if label.confidence is not None:
            region["score"] = label.confidence
        counter.add(label)
        yield region


def _region_value(
    label: Label, size_hw: tuple[int, int], shape: _Shape | None, kind: str
) -> tuple[str, dict[str, Any]] | None:
    """Return type and value of a region, in percent of the image; ``None`` without extent."""
    height, width = size_hw
    x_percent, y_percent = 100 / width, 100 / height
    if shape is None:
        box = clipped_box(label, size_hw, None)
        if box is None:
            return None
        x_min, y_min, x_max, y_max = box
        return "rectanglelabels", {
            "x": _round(x_min * x_percent),
            "y": _round(y_min * y_percent),
            "width": _round((x_max - x_min) * x_percent),
            "height": _round((y_max - y_min) * y_percent),
            "rotation": 0,
        }
    if not len(shape):
        return None
    if isinstance(shape, list):
        return kind, {"format": "rle", "rle": shape}
    points = [[_round(x * x_percent), _round(y * y_percent)] for x, y in shape.tolist()]
    return kind, {"points": points, "closed": True}


def _round(percent: float) -> float:
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
    """Return so many colors, none of them black; they repeat after 255."""
    palette = voc_palette()[1:].tolist()
    return [tuple(palette[i % len(palette)]) for i in range(number)]


class _TaskWriter:
    """Writer of JSON arrays of tasks; a new file begins when one is full. A context manager."""

    def __init__(self, folder: Path, max_file_bytes: int) -> None:
        self._folder = folder
        self._max_file_bytes = max_file_bytes
        self._number = 0
        self._file: IO[str] | None = None

    def __enter__(self) -> _TaskWriter:
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
        if self._file.tell() >= self._max_file_bytes:
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


# Brush strokes: the pixels of an RGBA image, run-length encoded in bits.
#
# A header holds the number of encoded bytes (32 bits), the bits per value less 1 (5 bits), and the
# four possible widths of a run length less 1 (4 bits each). Runs follow: a set bit, the index of
# the width (2 bits), the length less 1 in that width, and the value. A pixel of the mask is four
# bytes of 255, any other four bytes of 0, in row-major order.
#
# Scheme: https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack

_CHANNELS = 4
_VALUE_BITS = 8
_LENGTH_WIDTHS = np.array([3, 4, 8, 16])
_MAX_LENGTH = 2**16
_PREFIX_BITS = 3
"""The bit that marks a run, and two bits for the width of its length."""


def brush_rles(masks: Sequence[Rle]) -> list[list[int]]:
    """Return ``value.rle`` of a brush stroke for each mask: bytes as integers."""
    return [
        _pack(counts * _CHANNELS, mask.size_hw)
        for mask, counts in zip(masks, row_major_counts(masks), strict=True)
    ]


def _pack(counts: NDArray[np.int64], size_hw: tuple[int, int]) -> list[int]:
    height, width = size_hw
    values = 255 * (np.arange(len(counts)) % 2)
    lengths, values = _divide_runs(counts, values)

    width_index = np.searchsorted(2**_LENGTH_WIDTHS, lengths)
    length_bits = _LENGTH_WIDTHS[width_index]
    runs = (((0b100 | width_index) << length_bits | (lengths - 1)) << _VALUE_BITS) | values
    header = [height * width * _CHANNELS, _VALUE_BITS - 1, *(_LENGTH_WIDTHS - 1)]
    bits = _to_bits(
        np.concatenate((header, runs)),
        np.concatenate(([32, 5, 4, 4, 4, 4], _PREFIX_BITS + length_bits + _VALUE_BITS)),
    )
    packed: list[int] = np.packbits(bits).tolist()
    return packed


def _divide_runs(
    counts: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Drop empty runs, and divide those that exceed the largest length."""
    pieces = -(-counts // _MAX_LENGTH)
    lengths = np.full(pieces.sum(), _MAX_LENGTH)
    filled = pieces > 0
    last = np.cumsum(pieces)[filled] - 1
    lengths[last] = counts[filled] - (pieces[filled] - 1) * _MAX_LENGTH
    return lengths, np.repeat(values, pieces)


def _to_bits(numbers: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Concatenate numbers of the given bit widths, most significant bit first."""
    ends = np.cumsum(widths)
    number = np.repeat(np.arange(len(numbers)), widths)
    place = ends[number] - 1 - np.arange(len(number))
    bits: NDArray[np.uint8] = (numbers[number] >> place & 1).astype(np.uint8)
    return bits
