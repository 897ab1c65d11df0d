"""The first look at a run: every label measured, every image shrunk to an image_signature.

What is kept of an image are some hundred bytes, its name and its objects' numbers, so that tens
of thousands fit into memory with room to spare; masks and pixels are let go at once.

A video is not decoded for that. Its frames look alike by nature, so one of them stands for it: the
first with objects, since many videos begin with the same black.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.exporters.splits import assign_split
from grounded_sam2.report.duplicates import (
    Duplicates,
    ImageSignature,
    find_duplicates,
    image_signature,
)
from grounded_sam2.report.images import ImageReader, Unreadable, prefetch_map
from grounded_sam2.report.measures import OBJECT_DTYPE, ObjectMeasures, measure_objects
from grounded_sam2.report.options import ReportOptions
from grounded_sam2.results import Labels
from grounded_sam2.store import Item, LabelStore, StoredVideo

__all__ = ["Scan", "scan_run"]

_SIDE = 72
"""Pixels that an image is decoded to at least, before it becomes an signature of 24 a side."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """All images and objects of a run as numbers. An image's number is its place in here.

    Frames of videos are images too.
    """

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    item_ids: tuple[str, ...]
    videos: tuple[StoredVideo, ...]
    video_ids: NDArray[np.int32]
    """``(images,)`` number of the video; -1 for an image of its own."""
    frame_indices: NDArray[np.int64]
    """``(images,)`` as of `grounded_sam2.results.VideoFrame`; -1 for an image of its own."""
    times: NDArray[np.float64]
    """``(images,)`` seconds from the first frame of the video; NaN for an image of its own."""
    split_ids: NDArray[np.int32]
    """``(images,)`` number of the split."""
    object_counts: NDArray[np.int64]
    """``(images,)``; 0 is background."""
    first_objects: NDArray[np.int64]
    """``(images,)`` place of the first object of an image in `objects`, where the others follow.
    """
    content_ids: NDArray[np.uint64]
    """``(images,)`` equal where the files are equal, byte by byte; 0 where that is not known."""
    sample_keys: NDArray[np.uint64]
    """``(images,)`` what the sample is drawn by: a seeded hash of the file's content."""
    objects: ObjectMeasures
    """``(objects,)`` in the order of the images."""
    duplicates: Duplicates
    unreadable: Counter[str]
    """Pictures that cannot be shown, by reason."""

    def object_row(self, image: int, position: int) -> np.void:
        """The row of `OBJECT_DTYPE` of one object."""
        row: np.void = self.objects[self.first_objects[image] + position]
        return row

    def frames_of(self, images: Iterable[int]) -> dict[str, set[int]]:
        """Indices of those of some images that are frames, by the name of their video."""
        indices: dict[str, set[int]] = {}
        for number in images:
            if (video := self.video_ids[number]) >= 0:
                name = self.videos[video].record.name
                indices.setdefault(name, set()).add(int(self.frame_indices[number]))
        return indices

    def tracks(self) -> NDArray[np.int64]:
        """``(objects,)`` a number for each track of the run, those of one video together: that of
        the video in the upper 32 bits. -1 for an object of no track."""
        videos = self.video_ids[self.objects["image"]].astype(np.int64)
        track_ids = self.objects["track_id"].astype(np.int64)
        return np.where((videos >= 0) & (track_ids >= 0), videos << 32 | track_ids, -1)


def scan_run(
    store: LabelStore,
    run_id: int,
    options: ReportOptions,
    advance: Callable[[], None] = lambda: None,
) -> Scan:
    """Go through all labeled images of a run once.

    Args:
        store: the labels.
        run_id: the run.
        options: splits, thresholds, where the images are.
        advance: called when an image is done.
    """
    classes = store.classes(run_id)
    class_ids = {name: number for number, name in enumerate(classes)}
    splits = tuple(options.split)
    videos = tuple(store.videos(run_id))
    numbers: dict[str | None, int] = {v.record.name: number for number, v in enumerate(videos)}
    item_ids: list[str] = []
    video_ids = array("i")
    frame_indices = array("q")
    times = array("d")
    split_ids = array("i")
    content_ids = array("Q")
    sample_keys = array("Q")
    measures = bytearray()  # grows in place: rows joined at the end would be there twice
    signatures: list[ImageSignature] = []
    seen: list[int] = []
    unreadable: Counter[str] = Counter()

    reader = ImageReader(videos, options.images_from)
    stood_for: set[str | None] = set()

    def look(given: tuple[Item, Labels]) -> ImageSignature | Unreadable | None:
        item, labels = given
        if item.frame_index is not None:
            if item.group in stood_for or not labels.objects:
                return reader.missing(item)
            stood_for.add(item.group)
        image = reader.read(item, _SIDE)
        return image if isinstance(image, Unreadable) else image_signature(image)

    with closing(reader):
        for (item, labels), seen_as in prefetch_map(
            look,
            store.labels(run_id),
            options.threads,
            in_turn=lambda given: given[0].frame_index is not None,
        ):
            number = len(item_ids)
            item_ids.append(item.item_id)
            video_ids.append(-1 if item.frame_index is None else numbers[item.group])
            frame_indices.append(-1 if item.frame_index is None else item.frame_index)
            times.append(np.nan if item.time is None else item.time)
            split = assign_split(
                item, options.split, options.seed, by_folder=options.split_by == "folder"
            )
            split_ids.append(splits.index(split))
            content_ids.append(0 if item.content_hash is None else _number(item.content_key))
            sample_keys.append(_number(f"{options.seed} sample {item.content_key}"))
            measures += measure_objects(labels, number, class_ids).tobytes()
            if isinstance(seen_as, Unreadable):
                unreadable[seen_as.reason] += 1
            elif seen_as is not None:
                signatures.append(seen_as)
                seen.append(number)
            advance()
    objects = np.frombuffer(measures, OBJECT_DTYPE)
    object_counts = np.bincount(objects["image"], minlength=len(item_ids))
    return Scan(
        classes=tuple(classes),
        splits=splits,
        item_ids=tuple(item_ids),
        videos=videos,
        video_ids=np.array(video_ids, np.int32),
        frame_indices=np.array(frame_indices, np.int64),
        times=np.array(times, np.float64),
        split_ids=np.array(split_ids, np.int32),
        object_counts=object_counts,
        first_objects=np.cumsum(object_counts) - object_counts,
        content_ids=np.array(content_ids, np.uint64),
        sample_keys=np.array(sample_keys, np.uint64),
        objects=objects,
        duplicates=find_duplicates(
            signatures,
            seen,
            max_bits=options.thresholds.duplicate_bits,
            max_difference=options.thresholds.duplicate_difference,
        ),
        unreadable=unreadable,
    )


def _number(text: str) -> int:
    """64 bits that are the same for the same text only."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
