"""DAVIS: for each frame of a video, an image whose pixels are numbers of objects.

    JPEGImages/<video>/00000.jpg
    Annotations/<video>/00000.png      palette: 0 background, 1 … 254 objects, 255 void
    ImageSets/<split>.txt              a video per line
    objects.json                       class and track of each number, video by video

Frames are numbered from 0 without gaps, as readers count them. Where objects overlap, the one of
higher confidence is on top. The box of an object without a mask is void where nothing else lies. Of
more than 254 tracks of a video, those are taken that are labeled in the most frames.

Format: https://davischallenge.org/davis2017/code.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from grounded_sam2.exporters.dataset_builder import DatasetBuilder, build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.image_types import OPENCV_TYPES
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.objects import paint, write_values
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.exporters.palette import voc_palette
from grounded_sam2.exporters.video_sequences import VideoSequence, longest_tracks, video_sequences
from grounded_sam2.store import LabelStore, StoredTrack

__all__ = ["export_davis"]

_VOID = 255
_MOST = _VOID - 1
_RULES = ImageFileRules(
    suffixes=frozenset({".jpg"}), contents=OPENCV_TYPES, substitute=".jpg", lower_case_suffix=True
)


def export_davis(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write a DAVIS dataset. See `grounded_sam2.exporters.Exporter`.

    Raises:
        ExportError: also if the run has no videos.
    """
    entries = ("JPEGImages", "Annotations", "ImageSets", "objects.json")
    with (
        build_dataset("davis", store, folder, options, entries=entries) as data,
        ExitStack() as stack,
    ):
        (data.new / "ImageSets").mkdir()
        lists = {
            split: stack.enter_context(
                (data.new / "ImageSets" / f"{split}.txt").open("w", encoding="utf-8", newline="\n")
            )
            for split in options.split
        }
        named: dict[str, Any] = {}
        for sequence in video_sequences(data):
            tracks = sequence.tracks()
            kept = longest_tracks(tracks, _MOST)
            data.counter.note("tracks beyond 254 of a video, left out", len(tracks) - len(kept))
            if _write_frames(sequence, kept):
                lists[sequence.split].write(f"{sequence.name}\n")
                named[sequence.name] = _named(sequence, kept)
        text = json.dumps({"void": _VOID, "videos": named}, indent=1)
        (data.new / "objects.json").write_text(text + "\n", encoding="ascii")
        return data.summary()


def _write_frames(sequence: VideoSequence, tracks: list[StoredTrack]) -> int:
    """Write the frames of a video and their objects; give the number of frames."""
    data, written = sequence.data, 0
    images = data.new / "JPEGImages" / sequence.name
    numbers = {track.track_id: number for number, track in enumerate(tracks, start=1)}
    placed = sequence.place(lambda place, _, suffix: images / f"{place:05}{suffix}", _RULES)
    for image in placed:
        values = _painted(image, numbers, data)
        values.putpalette(voc_palette().tobytes())
        name = image.name.with_suffix(".png")
        write_values(values, data.new / "Annotations" / sequence.name / name)
        written += 1
    return written


def _painted(
    image: DatasetImage, numbers: Mapping[int, int], data: DatasetBuilder
) -> PIL.Image.Image:
    objects = [label for label in image.labels.objects if label.track_id in numbers]
    data.counter.note("objects without a track, left out", len(image.labels) - len(objects))
    values = [numbers[label.track_id] for label in objects if label.track_id is not None]
    for label in objects:
        data.counter.add(label, instead_of_mask="void where their box is")
    pixels = paint(objects, values, image.labels.size_hw, void=_VOID)
    return PIL.Image.fromarray(pixels.astype(np.uint8))


def _named(sequence: VideoSequence, tracks: list[StoredTrack]) -> dict[str, Any]:
    return {
        "video": sequence.video.name,
        "objects": {
            number: {"class": track.class_name, "track": track.track_id}
            for number, track in enumerate(tracks, start=1)
        },
    }
