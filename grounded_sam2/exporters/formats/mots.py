"""MOTS: multi-object tracking and segmentation, as text and as images.

    sequences/<split>/<video>/img1/000001.jpg
    sequences/<split>/<video>/gt/gt.txt              frame id class height width rle
    sequences/<split>/<video>/instances/000001.png   the id per pixel, 16 bits
    sequences/<split>/<video>/seqinfo.ini            frame rate, length, size
    seqmaps/<split>.txt                              one video per line
    objects.json                                     classes, and class and track of each id

Frames and classes count from 1. An id is 1000 times the class plus the number of the object among
those of its class in the video. Readers ignore class 10, so no class of the store gets this number;
the box of an object without a mask does, where no mask is. Masks do not overlap: the object with
the higher confidence is on top. Of more than 999 tracks of a class in a video, those that are
labeled in the most frames are exported.

Format: https://www.vision.rwth-aachen.de/page/mots
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.image_types import OPENCV_TYPES
from grounded_sam2.exporters.mask_png import write_mask_png
from grounded_sam2.exporters.objects import rasterize_objects, visible_masks
from grounded_sam2.exporters.options import ExportCounter, ExportOptions, ExportSummary
from grounded_sam2.exporters.video_sequences import VideoSequence, longest_tracks, video_sequences
from grounded_sam2.geometry.rle import Rle, encode
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore, StoredTrack

__all__ = ["export_mots"]

_IGNORED_CLASS = 10
_IDS_PER_CLASS = 1000
_IGNORED_ID = _IGNORED_CLASS * _IDS_PER_CLASS
_MAX_CLASSES = 63
"""64 with the ignored one: the ids of the next would not fit into 16 bits."""
_RULES = ImageFileRules(
    suffixes=frozenset({".jpg", ".png"}),
    types=OPENCV_TYPES,
    fallback_suffix=".jpg",
    lower_case_suffix=True,
)


def export_mots(
    store: LabelStore,
    folder: str | Path,
    *,
    options: ExportOptions,
    max_tracks: int = _IDS_PER_CLASS - 1,
) -> ExportSummary:
    """Write a MOTS dataset. See `grounded_sam2.exporters.Exporter`.

    Args:
        store, folder, options: as in `Exporter`.
        max_tracks: number of tracks to export per class and video, at most 999.

    Raises:
        ExportError: also if the run has no videos, or more than 63 classes.
    """
    entries = ("sequences", "seqmaps", "objects.json")
    with (
        build_dataset("mots", store, folder, options, entries=entries) as data,
        ExitStack() as stack,
    ):
        if len(data.classes) > _MAX_CLASSES:
            raise ExportError(
                f"export to '{folder}': MOTS holds at most {_MAX_CLASSES} classes, there are "
                f"{len(data.classes)}; choose youtube-vis"
            )
        class_ids = (number for number in count(1) if number != _IGNORED_CLASS)
        classes = dict(zip(data.classes, class_ids, strict=False))
        seqmaps = data.staging / "seqmaps"
        seqmaps.mkdir()
        lists = {}
        for split in options.split:
            file = (seqmaps / f"{split}.txt").open("w", encoding="utf-8", newline="\n")
            lists[split] = stack.enter_context(file)
            lists[split].write("name\n")
        videos: dict[str, Any] = {}
        for sequence in video_sequences(data):
            tracks = _tracks_by_object_id(sequence, classes, max_tracks)
            if _write_video(sequence, {track.track_id: i for i, track in tracks.items()}):
                lists[sequence.split].write(f"{sequence.name}\n")
                videos[sequence.name] = _video_record(sequence, tracks)
        content = {"classes": classes, "ignore": _IGNORED_CLASS, "videos": videos}
        (data.staging / "objects.json").write_text(
            json.dumps(content, indent=1) + "\n", encoding="ascii"
        )
        return data.summary()


def _tracks_by_object_id(
    sequence: VideoSequence, classes: Mapping[str, int], max_tracks: int
) -> dict[int, StoredTrack]:
    """Return the exported tracks of a video by their object ids; count those left out."""
    numbered: dict[int, StoredTrack] = {}
    tracks = sequence.tracks()
    for name, class_id in classes.items():
        of_class = [track for track in tracks if track.class_name == name]
        kept = longest_tracks(of_class, max_tracks)
        first = class_id * _IDS_PER_CLASS + 1
        numbered |= dict(enumerate(kept, start=first))
        sequence.data.counter.note(
            f"tracks beyond {max_tracks} of a class in a video, left out",
            len(of_class) - len(kept),
        )
    return numbered


def _video_record(sequence: VideoSequence, tracks: Mapping[int, StoredTrack]) -> dict[str, Any]:
    return {
        "video": sequence.video.name,
        "objects": {
            object_id: {"class": track.class_name, "track": track.track_id}
            for object_id, track in tracks.items()
        },
    }


def _write_video(sequence: VideoSequence, object_ids: Mapping[int, int]) -> int:
    """Write the files of a video; return the number of its frames.

    Args:
        sequence: the video.
        object_ids: object id of each track.
    """
    counter = sequence.data.counter
    root = sequence.data.staging / "sequences" / sequence.split / sequence.name
    (root / "gt").mkdir(parents=True)
    (root / "instances").mkdir()
    number, suffix = 0, ""
    frames = sequence.write_frames(
        lambda position, _, suffix: root / "img1" / f"{position + 1:06}{suffix}", _RULES
    )
    with (
        closing(frames),
        (root / "gt" / "gt.txt").open("w", encoding="ascii", newline="\n") as file,
    ):
        for number, image in enumerate(frames, start=1):
            size_hw = image.labels.size_hw
            objects = [label for label in image.labels.objects if label.track_id in object_ids]
            counter.note("objects without a track, left out", len(image.labels) - len(objects))
            ids = [object_ids[label.track_id] for label in objects if label.track_id is not None]
            pixels = rasterize_objects(objects, ids, size_hw, void=_IGNORED_ID)
            write_mask_png(pixels, root / "instances" / f"{number:06}.png")
            file.writelines(_rows(number, pixels, objects, ids, counter))
            suffix = suffix or image.name.suffix
    if number:
        (root / "seqinfo.ini").write_text(
            "".join(_sequence_info(sequence, number, suffix)), encoding="utf-8"
        )
    return number


def _rows(
    frame: int,
    pixels: NDArray[np.uint16],
    objects: Sequence[Label],
    ids: Sequence[int],
    counter: ExportCounter,
) -> Iterator[str]:
    """Yield the text rows of a frame; count its objects, and those of which no pixel is visible.

    Args:
        frame: number of the frame.
        pixels: object id per pixel.
        objects: objects of the frame.
        ids: object id of each.
        counter: counts the objects.
    """
    masks = visible_masks(pixels, objects, ids)
    for label, object_id, mask in zip(objects, ids, masks, strict=True):
        counter.add(label, without_mask="to be ignored where their box is")
        if mask is not None and mask.area:
            yield _row(frame, object_id, mask)
        elif mask is not None:
            counter.note("objects hidden behind others")
    ignored = pixels == _IGNORED_ID
    if ignored.any():
        (mask,) = encode(ignored[None])
        yield _row(frame, _IGNORED_ID, mask)


def _row(frame: int, object_id: int, mask: Rle) -> str:
    height, width = mask.size_hw
    counts = mask.counts.decode("ascii")
    return f"{frame} {object_id} {object_id // _IDS_PER_CLASS} {height} {width} {counts}\n"


def _sequence_info(sequence: VideoSequence, frames: int, suffix: str) -> Iterator[str]:
    height, width = sequence.video.size_hw
    yield f"[Sequence]\nname={sequence.name}\nimDir=img1\n"
    if sequence.fps is not None:
        yield f"frameRate={sequence.fps:g}\n"
    yield f"seqLength={frames}\nimWidth={width}\nimHeight={height}\nimExt={suffix}\n"
