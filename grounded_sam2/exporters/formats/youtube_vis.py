"""YouTube-VIS: video instance segmentation, a JSON file of tracks per split.

    JPEGImages/<split>/<video>/000123.jpg     the number is the frame's in the video
    annotations/instances_<split>.json

A video lists its frames; an annotation is a track, with a segmentation, a box (xywh) and an area
for each frame of its video, null where it is not to be seen. Ids begin at 1, and ``iscrowd`` is
always 0. Segmentations are run lengths as lists of numbers, as in the dataset that the format is
named after: not all readers take compressed ones there. An object without a mask is its box. Each
annotation also has its ``track_id`` and, where its labels have any, ``score``: the mean of their
confidence.

What is in memory are a few labels, and some numbers per frame of one video.

Format: https://youtube-vos.org/dataset/vis/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.exporters.coco_json import AnnotationFile, to_json
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

__all__ = ["export_youtube_vis"]

_RULES = ImageFileRules(
    suffixes=frozenset({".jpg", ".jpeg", ".png"}), contents=OPENCV_TYPES, substitute=".jpg"
)

_CHUNK = 32
"""Masks to measure at once: enough to share the calls, few enough if they are noise."""


def export_youtube_vis(
    store: LabelStore, folder: str | Path, *, options: ExportOptions
) -> ExportSummary:
    """Write a YouTube-VIS dataset. See `grounded_sam2.exporters.Exporter`.

    There is a file of annotations for each split, also for one that came out empty.

    Raises:
        ExportError: also if the run has no videos.
    """
    entries = ("JPEGImages", "annotations")
    with build_dataset("youtube-vis", store, folder, options, entries=entries) as data:
        (data.new / "annotations").mkdir()
        ids = {name: i for i, name in enumerate(data.classes, start=1)}
        with ExitStack() as stack:
            files = {
                split: stack.enter_context(
                    _VisFile(data.new / "annotations" / f"instances_{split}.json", "videos", ids)
                )
                for split in options.split
            }
            for sequence in video_sequences(data):
                _write_video(sequence, files[sequence.split])
        return data.summary()


def _write_video(sequence: VideoSequence, file: _VisFile) -> None:
    data = sequence.data
    folder = data.new / "JPEGImages" / sequence.split / sequence.name
    indices: list[int] = []

    def names() -> Iterator[str]:
        for image in sequence.place(
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

    file.add_video(names(), sequence.video.size_hw)
    classes = {track.track_id: track.class_name for track in sequence.tracks()}
    labels = data.store.labels_by_track(data.run_id, sequence.video.name)
    frames = np.array(indices, np.int64)
    for track_id, of_track in groupby(labels, key=lambda each: each[1].track_id):
        assert track_id is not None, "labels of tracks only"
        taken = ((index, label) for index, label in of_track if data.options.takes(label))
        file.add_track(
            _on_frames(taken, frames),
            len(frames),
            sequence.video.size_hw,
            track_id,
            classes[track_id],
        )


def _on_frames(
    labels: Iterable[tuple[int, Label]], frames: NDArray[np.int64]
) -> Iterator[tuple[int, Label]]:
    """Those labels whose frame is in the dataset, by its place there, each place once."""
    last = -1
    for index, label in labels:
        place = int(np.searchsorted(frames, index))
        if place > last and place < len(frames) and frames[place] == index:
            yield place, label
            last = place


class _VisFile(AnnotationFile):
    """The annotations of one split."""

    def add_video(self, names: Iterable[str], size_hw: tuple[int, int]) -> None:
        """The tracks that follow are of this video; one without frames is left out."""
        length = 0
        for length, name in enumerate(names, start=1):
            if length == 1:
                number = self._begin_entry()
                self._file.write('{"file_names":[')
            self._file.write("," * (length > 1) + json.dumps(name))
        if length:
            height, width = size_hw
            rest = {"id": number, "width": width, "height": height, "length": length}
            self._file.write(f"],{to_json(rest)[1:]}")

    def add_track(
        self,
        labels: Iterator[tuple[int, Label]],
        length: int,
        size_hw: tuple[int, int],
        track_id: int,
        class_name: str,
    ) -> None:
        """One track of the video added last; left out if nothing of it is to be seen.

        Args:
            labels: by place among the frames, rising.
            length: number of frames.
            size_hw: height and width of the video.
            track_id: as the store has it.
            class_name: its class.
        """
        boxes: list[Any] = [None] * length
        areas: list[Any] = [None] * length
        confidences: list[float] = []
        ends = -1
        for place, label, (runs, measure) in _seen(labels, size_hw):
            if ends < 0:
                self._begin_track(length, size_hw, track_id, class_name)
            self._waiting.write("null," * (place - ends - 1))
            separator = "," * (place < length - 1)
            self._waiting.write(to_json({"counts": runs, "size": size_hw}) + separator)
            ends = place
            x_min, y_min, x_max, y_max = measure.box_xyxy
            boxes[place] = [x_min, y_min, x_max - x_min, y_max - y_min]
            areas[place] = measure.area
            if label.confidence is not None:
                confidences.append(label.confidence)
        if ends < 0:
            return
        self._waiting.write(",".join(["null"] * (length - ends - 1)))
        rest: dict[str, Any] = {"bboxes": boxes, "areas": areas}
        if confidences:
            rest["score"] = round(sum(confidences) / len(confidences), 4)
        self._waiting.write(f"],{to_json(rest)[1:]}")

    def _begin_track(
        self, length: int, size_hw: tuple[int, int], track_id: int, class_name: str
    ) -> None:
        begin = {
            **self._begin_annotation(class_name),
            "iscrowd": 0,
            "height": size_hw[0],
            "width": size_hw[1],
            "length": length,
            "track_id": track_id,
        }
        self._waiting.write(f'{to_json(begin)[:-1]},"segmentations":[')


def _seen(
    labels: Iterator[tuple[int, Label]], size_hw: tuple[int, int]
) -> Iterator[tuple[int, Label, tuple[list[int], MaskStats]]]:
    """Labels that have pixels, with the runs of their masks, and the masks' mask_stats."""
    while chunk := list(islice(labels, _CHUNK)):
        masks = [_mask_of(label, size_hw) for _, label in chunk]
        runs, spans = decode_run_lengths(masks)
        for (place, label), of_mask, measure in zip(
            chunk, spans.split(runs), mask_stats(masks), strict=True
        ):
            if measure.area:
                yield place, label, (of_mask.tolist(), measure)


def _mask_of(label: Label, size_hw: tuple[int, int]) -> Rle:
    if label.mask is not None:
        return label.mask
    box = clipped_box(label, size_hw, None)
    return rectangle((0, 0, 0, 0) if box is None else covered_pixels(box), size_hw)
