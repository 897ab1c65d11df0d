"""MOTS: multi-object tracking and segmentation, as text and as images.

    sequences/<split>/<video>/img1/000001.jpg
    sequences/<split>/<video>/gt/gt.txt              frame id class height width runs
    sequences/<split>/<video>/instances/000001.png   the id per pixel, 16 bits
    sequences/<split>/<video>/seqinfo.ini            frame rate, length, size
    seqmaps/<split>.txt                              a video per line
    objects.json                                     classes, and class and track of each id

Frames and classes count from 1. An id is 1000 times the class and the number of the object among
those of its class in the video. Class 10 means "to be ignored" to readers, so none of ours is
called that: the box of an object without a mask is, where nothing else lies. Masks do not overlap:
the object of higher confidence is on top. Of more than 999 tracks of a class in a video, those are
taken that are labeled in the most frames.

Format: https://www.vision.rwth-aachen.de/page/mots
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.dataset_builder import DatasetBuilder, build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.image_types import OPENCV_TYPES
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.objects import paint, visible, write_values
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.exporters.video_sequences import VideoSequence, longest_tracks, video_sequences
from grounded_sam2.geometry.rle import encode
from grounded_sam2.store import LabelStore, StoredTrack

__all__ = ["export_mots"]

_IGNORE = 10
_PER_CLASS = 1000
_MOST_CLASSES = 63
"""With the one to be ignored 64: the next id would not fit into 16 bits."""
_RULES = ImageFileRules(
    suffixes=frozenset({".jpg", ".png"}),
    contents=OPENCV_TYPES,
    lower_case_suffix=True,
    substitute=".jpg",
)


def export_mots(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write a MOTS dataset. See `grounded_sam2.exporters.Exporter`.

    Raises:
        ExportError: also if the run has no videos, or more than 63 classes.
    """
    entries = ("sequences", "seqmaps", "objects.json")
    with (
        build_dataset("mots", store, folder, options, entries=entries) as data,
        ExitStack() as stack,
    ):
        if len(data.classes) > _MOST_CLASSES:
            raise ExportError(
                f"export to '{folder}': MOTS holds at most {_MOST_CLASSES} classes, there are "
                f"{len(data.classes)}; choose youtube-vis"
            )
        numbers = (number for number in count(1) if number != _IGNORE)
        classes = dict(zip(data.classes, numbers, strict=False))
        (data.new / "seqmaps").mkdir()
        lists = {}
        for split in options.split:
            file = (data.new / "seqmaps" / f"{split}.txt").open("w", encoding="utf-8", newline="\n")
            lists[split] = stack.enter_context(file)
            lists[split].write("name\n")
        named: dict[str, Any] = {}
        for sequence in video_sequences(data):
            ids = _ids(sequence, classes)
            if _write_video(sequence, {track.track_id: i for i, track in ids.items()}):
                lists[sequence.split].write(f"{sequence.name}\n")
                named[sequence.name] = _named(sequence, ids)
        text = json.dumps({"classes": classes, "ignore": _IGNORE, "videos": named}, indent=1)
        (data.new / "objects.json").write_text(text + "\n", encoding="ascii")
        return data.summary()


def _ids(sequence: VideoSequence, classes: Mapping[str, int]) -> dict[int, StoredTrack]:
    """The tracks of a video by their ids."""
    found: dict[int, StoredTrack] = {}
    tracks = sequence.tracks()
    for name, number in classes.items():
        of_class = [track for track in tracks if track.class_name == name]
        kept = longest_tracks(of_class, _PER_CLASS - 1)
        found |= {number * _PER_CLASS + place: each for place, each in enumerate(kept, start=1)}
        left_out = len(of_class) - len(kept)
        sequence.data.counter.note("tracks beyond 999 of a class in a video, left out", left_out)
    return found


def _named(sequence: VideoSequence, ids: Mapping[int, StoredTrack]) -> dict[str, Any]:
    return {
        "video": sequence.video.name,
        "objects": {
            number: {"class": track.class_name, "track": track.track_id}
            for number, track in ids.items()
        },
    }


def _write_video(sequence: VideoSequence, ids: Mapping[int, int]) -> int:
    """Write the files of a video; give the number of its frames.

    Args:
        sequence: the video.
        ids: of its tracks, by the tracks' own.
    """
    root = sequence.data.new / "sequences" / sequence.split / sequence.name
    (root / "gt").mkdir(parents=True)
    (root / "instances").mkdir()
    frames, suffix = 0, ""
    with (root / "gt" / "gt.txt").open("w", encoding="ascii", newline="\n") as file:
        placed = sequence.place(
            lambda place, _, suffix: root / "img1" / f"{place + 1:06}{suffix}", _RULES
        )
        for frames, image in enumerate(placed, start=1):
            file.writelines(_rows(frames, image, ids, sequence.data, root / "instances"))
            suffix = suffix or image.name.suffix
    if frames:
        (root / "seqinfo.ini").write_text(
            "".join(_sequence_info(sequence, frames, suffix)), encoding="utf-8"
        )
    return frames


def _rows(
    number: int,
    image: DatasetImage,
    ids: Mapping[int, int],
    data: DatasetBuilder,
    instances: Path,
) -> Iterator[str]:
    """Write the ids of a frame's pixels, and give the lines of the same as text."""
    size_hw = image.labels.size_hw
    objects = [label for label in image.labels.objects if label.track_id in ids]
    data.counter.note("objects without a track, left out", len(image.labels) - len(objects))
    values = [ids[label.track_id] for label in objects if label.track_id is not None]
    ignored = _IGNORE * _PER_CLASS
    pixels = paint(objects, values, size_hw, void=ignored)
    write_values(PIL.Image.fromarray(pixels), instances / f"{number:06}.png")
    for label, value, mask in zip(objects, values, visible(pixels, objects, values), strict=True):
        data.counter.add(label, instead_of_mask="to be ignored where their box is")
        if mask is not None and mask.area:
            runs = mask.counts.decode("ascii")
            yield f"{number} {value} {value // _PER_CLASS} {size_hw[0]} {size_hw[1]} {runs}\n"
        elif mask is not None:
            data.counter.note("objects hidden behind others")
    yield from _ignored_row(number, pixels == ignored)


def _ignored_row(number: int, pixels: NDArray[np.bool_]) -> Sequence[str]:
    if not pixels.any():
        return ()
    (mask,) = encode(pixels[None])
    height, width = pixels.shape
    runs = mask.counts.decode("ascii")
    return (f"{number} {_IGNORE * _PER_CLASS} {_IGNORE} {height} {width} {runs}\n",)


def _sequence_info(sequence: VideoSequence, frames: int, suffix: str) -> Iterator[str]:
    height, width = sequence.video.size_hw
    yield f"[Sequence]\nname={sequence.name}\nimDir=img1\n"
    if sequence.fps is not None:
        yield f"frameRate={sequence.fps:g}\n"
    yield f"seqLength={frames}\nimWidth={width}\nimHeight={height}\nimExt={suffix}\n"
