"""DAVIS: for each frame of a video, an image whose pixels are object numbers.

    JPEGImages/<video>/00000.jpg
    Annotations/<video>/00000.png      palette: 0 background, 1 … 254 objects, 255 void
    ImageSets/<split>.txt              one video per line
    objects.json                       class and track of each number, by video

Frames are numbered from 0 without gaps, as readers expect. Where objects overlap, the one with the
higher confidence is on top. The box of an object without a mask is void where no mask is. Of more
than 254 tracks in a video, those that are labeled in the most frames are exported.

Format: https://davischallenge.org/davis2017/code.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.image_types import OPENCV_TYPES
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.mask_png import voc_palette, write_mask_png
from grounded_sam2.exporters.objects import rasterize_objects
from grounded_sam2.exporters.options import ExportCounter, ExportOptions, ExportSummary
from grounded_sam2.exporters.video_sequences import VideoSequence, longest_tracks, video_sequences
from grounded_sam2.store import LabelStore, StoredTrack

__all__ = ["export_davis"]

_VOID = 255
_RULES = ImageFileRules(
    suffixes=frozenset({".jpg"}),
    types=OPENCV_TYPES,
    fallback_suffix=".jpg",
    lower_case_suffix=True,
)


def export_davis(
    store: LabelStore,
    folder: str | Path,
    *,
    options: ExportOptions,
    max_tracks: int = _VOID - 1,
) -> ExportSummary:
    """Write a DAVIS dataset. See `grounded_sam2.exporters.Exporter`.

    Args:
        store, folder, options: as in `Exporter`.
        max_tracks: number of tracks to export per video, at most 254.

    Raises:
        ExportError: also if the run has no videos.
    """
    entries = ("JPEGImages", "Annotations", "ImageSets", "objects.json")
    with (
        build_dataset("davis", store, folder, options, entries=entries) as data,
        ExitStack() as stack,
    ):
        image_sets = data.staging / "ImageSets"
        image_sets.mkdir()
        lists = {
            split: stack.enter_context(
                (image_sets / f"{split}.txt").open("w", encoding="utf-8", newline="\n")
            )
            for split in options.split
        }
        videos: dict[str, Any] = {}
        for sequence in video_sequences(data):
            tracks = sequence.tracks()
            kept = longest_tracks(tracks, max_tracks)
            data.counter.note(
                f"tracks beyond {max_tracks} of a video, left out", len(tracks) - len(kept)
            )
            if _write_frames(sequence, kept):
                lists[sequence.split].write(f"{sequence.name}\n")
                videos[sequence.name] = _video_record(sequence, kept)
        text = json.dumps({"void": _VOID, "videos": videos}, indent=1)
        (data.staging / "objects.json").write_text(text + "\n", encoding="ascii")
        return data.summary()


def _write_frames(sequence: VideoSequence, tracks: list[StoredTrack]) -> int:
    """Write the frames of a video and their masks; return the number of frames."""
    data, written = sequence.data, 0
    images = data.staging / "JPEGImages" / sequence.name
    masks = data.staging / "Annotations" / sequence.name
    numbers = {track.track_id: number for number, track in enumerate(tracks, start=1)}
    palette = voc_palette()
    frames = sequence.write_frames(
        lambda position, _, suffix: images / f"{position:05}{suffix}", _RULES
    )
    with closing(frames):
        for image in frames:
            mask = _object_mask(image, numbers, data.counter)
            write_mask_png(mask, masks / image.name.with_suffix(".png"), palette=palette)
            written += 1
    return written


def _object_mask(
    image: DatasetImage, numbers: Mapping[int, int], counter: ExportCounter
) -> NDArray[np.uint8]:
    """Return the object numbers of a frame's pixels, ``(h, w)``; count its objects.

    Args:
        image: the frame.
        numbers: object number of each track.
        counter: counts the objects.
    """
    objects = [label for label in image.labels.objects if label.track_id in numbers]
    counter.note("objects without a track, left out", len(image.labels) - len(objects))
    values = [numbers[label.track_id] for label in objects if label.track_id is not None]
    for label in objects:
        counter.add(label, without_mask="void where their box is")
    return rasterize_objects(objects, values, image.labels.size_hw, void=_VOID).astype(np.uint8)


def _video_record(sequence: VideoSequence, tracks: list[StoredTrack]) -> dict[str, Any]:
    return {
        "video": sequence.video.name,
        "objects": {
            number: {"class": track.class_name, "track": track.track_id}
            for number, track in enumerate(tracks, start=1)
        },
    }
