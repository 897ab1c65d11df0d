"""YouTube-VIS: video instance segmentation, a JSON file of tracks per split.

    JPEGImages/<split>/<video>/000123.jpg     the number is the index of the frame in the video
    annotations/instances_<split>.json

A video lists its frames; an annotation is a track, with a segmentation, a box (xywh) and an area
for each frame of its video, null where it is not visible. Ids begin at 1, and ``iscrowd`` is always
0. Segmentations are uncompressed run lengths, as in the dataset that the format is named after: not
all readers accept compressed ones there. An object without a mask is its box. Each annotation also
has its ``track_id`` and, where its labels have any, ``score``: their mean confidence.

Memory holds a few labels, and some numbers per frame of one video.

Format: https://youtube-vos.org/dataset/vis/
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.exporters.coco_json import CocoJsonWriter, to_json
from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.image_types import OPENCV_TYPES
from grounded_sam2.exporters.mask_conversion import MaskStats, mask_stats
from grounded_sam2.exporters.objects import clipped_box, covered_pixels
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.exporters.video_sequences import VideoSequence, video_sequences
from grounded_sam2.geometry.rle import Rle, decode_run_lengths, rectangle
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["export_youtube_vis", "write_track", "write_video"]

_RULES = ImageFileRules(
    suffixes=frozenset({".jpg", ".jpeg", ".png"}), types=OPENCV_TYPES, fallback_suffix=".jpg"
)

_CHUNK = 32
"""Masks to decode at once: enough to share the calls, few enough for memory if they are noise."""


def export_youtube_vis(
    store: LabelStore, folder: str | Path, *, options: ExportOptions
) -> ExportSummary:
    """Write a YouTube-VIS dataset. See `grounded_sam2.exporters.Exporter`.

    Each split has a file of annotations, even an empty one.

    Raises:
        ExportError: also if the run has no videos.
    """
    entries = ("JPEGImages", "annotations")
    with build_dataset("youtube-vis", store, folder, options, entries=entries) as data:
        annotations = data.staging / "annotations"
        annotations.mkdir()
        ids = {name: i for i, name in enumerate(data.classes, start=1)}
        with ExitStack() as stack:
            files = {
                split: stack.enter_context(
                    CocoJsonWriter(annotations / f"instances_{split}.json", "videos", ids)
                )
                for split in options.split
            }
            for sequence in video_sequences(data):
                _write_sequence(sequence, files[sequence.split])
        return data.summary()


def _write_sequence(sequence: VideoSequence, file: CocoJsonWriter) -> None:
    """Write the frames and the tracks of a video."""
    data = sequence.data
    folder = data.staging / "JPEGImages" / sequence.split / sequence.name
    indices: list[int] = []

    def write_frames() -> Generator[str, None, None]:
        for image in sequence.write_frames(
            lambda _, index, suffix: folder / f"{index:06}{suffix}", _RULES
        ):
            assert image.frame_index is not None, "it is a frame"
            indices.append(image.frame_index)
            for label in image.labels.objects:
                if label.track_id is None:
                    data.counter.note("objects without a track, left out")
                else:
                    data.counter.add(label)
            yield f"{sequence.name}/{image.name}"

    with closing(write_frames()) as file_names:
        write_video(file, file_names, sequence.video.size_hw)
    classes = {track.track_id: track.class_name for track in sequence.tracks()}
    labels = data.store.labels_by_track(data.run_id, sequence.video.name)
    frames = np.array(indices, np.int64)
    for track_id, track_labels in groupby(labels, key=lambda each: each[1].track_id):
        assert track_id is not None, "labels of tracks only"
        accepted = ((index, label) for index, label in track_labels if data.options.accepts(label))
        write_track(
            file,
            _at_exported_frames(accepted, frames),
            length=len(frames),
            size_hw=sequence.video.size_hw,
            track_id=track_id,
            class_name=classes[track_id],
        )


def _at_exported_frames(
    labels: Iterable[tuple[int, Label]], frames: NDArray[np.int64]
) -> Iterator[tuple[int, Label]]:
    """Yield the first label of each exported frame, with the frame's position in the dataset.

    Args:
        labels: index of the frame in the video, ascending, and label.
        frames: indices of the exported frames, ascending.
    """
    last = -1
    for index, label in labels:
        position = int(np.searchsorted(frames, index))
        if position > last and position < len(frames) and frames[position] == index:
            yield position, label
            last = position


def write_video(file: CocoJsonWriter, file_names: Iterable[str], size_hw: tuple[int, int]) -> None:
    """Write the entry of a video, whose tracks follow; a video without frames is left out.

    Args:
        file: the file.
        file_names: file name of each frame; written as they come.
        size_hw: height and width of the video.
    """
    length = 0
    for length, name in enumerate(file_names, start=1):
        if length == 1:
            video_id = file.begin_entry()
            file.write_entry('{"file_names":[')
        file.write_entry("," * (length > 1) + json.dumps(name))
    if length:
        height, width = size_hw
        rest = {"id": video_id, "width": width, "height": height, "length": length}
        file.write_entry(f"],{to_json(rest)[1:]}")


def write_track(
    file: CocoJsonWriter,
    labels: Iterator[tuple[int, Label]],
    *,
    length: int,
    size_hw: tuple[int, int],
    track_id: int,
    class_name: str,
) -> None:
    """Write a track of the last video; a track without a visible pixel is left out.

    Args:
        file: the file.
        labels: position among the frames of the dataset, ascending, and label.
        length: number of frames.
        size_hw: height and width of the video.
        track_id: id in the store.
        class_name: its class.
    """
    boxes: list[Any] = [None] * length
    areas: list[Any] = [None] * length
    confidences: list[float] = []
    last = -1
    for position, label, (run_lengths, stats) in _visible_labels(labels, size_hw):
        if last < 0:
            _begin_track(file, length, size_hw, track_id, class_name)
        file.write_annotation("null," * (position - last - 1))
        segmentation = to_json({"counts": run_lengths, "size": size_hw})
        file.write_annotation(segmentation + "," * (position < length - 1))
        last = position
        x_min, y_min, x_max, y_max = stats.box_xyxy
        boxes[position] = [x_min, y_min, x_max - x_min, y_max - y_min]
        areas[position] = stats.area
        if label.confidence is not None:
            confidences.append(label.confidence)
    if last < 0:
        return
    file.write_annotation(",".join(["null"] * (length - last - 1)))
    rest: dict[str, Any] = {"bboxes": boxes, "areas": areas}
    if confidences:
        rest["score"] = round(sum(confidences) / len(confidences), 4)
    file.write_annotation(f"],{to_json(rest)[1:]}")


def _begin_track(
    file: CocoJsonWriter, length: int, size_hw: tuple[int, int], track_id: int, class_name: str
) -> None:
    first_fields = {
        **file.begin_annotation(class_name),
        "iscrowd": 0,
        "height": size_hw[0],
        "width": size_hw[1],
        "length": length,
        "track_id": track_id,
    }
    file.write_annotation(f'{to_json(first_fields)[:-1]},"segmentations":[')


def _visible_labels(
    labels: Iterator[tuple[int, Label]], size_hw: tuple[int, int]
) -> Iterator[tuple[int, Label, tuple[list[int], MaskStats]]]:
    """Yield the labels that have pixels, with run lengths and stats of their masks."""
    while chunk := list(islice(labels, _CHUNK)):
        masks = [_mask_or_box(label, size_hw) for _, label in chunk]
        run_lengths, offsets = decode_run_lengths(masks)
        for (position, label), counts, stats in zip(
            chunk, offsets.split(run_lengths), mask_stats(masks), strict=True
        ):
            if stats.area:
                yield position, label, (counts.tolist(), stats)


def _mask_or_box(label: Label, size_hw: tuple[int, int]) -> Rle:
    if label.mask is not None:
        return label.mask
    box = clipped_box(label, size_hw, None)
    return rectangle((0, 0, 0, 0) if box is None else covered_pixels(box), size_hw)
