"""Scan of a run: measures every label, and reduces every image to a signature.

A few hundred bytes per image are kept, its name and the measurements of its objects, so that tens
of thousands fit into memory easily; masks and pixels are released immediately.

Of a video only one frame is decoded, because its frames look alike by nature: the first with
objects, since many videos begin with the same black frames.
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
"""Minimum pixels of the longer side of a decoded image, for a signature of 24 × 24."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """Measurements of all images and objects of a run.

    The number of an image is its index in the arrays. Frames of videos are images too.
    """

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    item_ids: tuple[str, ...]
    videos: tuple[StoredVideo, ...]
    video_ids: NDArray[np.int32]
    """``(images,)`` number of the video; -1 for a still image."""
    frame_indices: NDArray[np.int64]
    """``(images,)`` as in `grounded_sam2.results.VideoFrame`; -1 for a still image."""
    times: NDArray[np.float64]
    """``(images,)`` seconds since the first frame of the video; NaN for a still image."""
    split_ids: NDArray[np.int32]
    """``(images,)`` number of the split."""
    object_counts: NDArray[np.int64]
    """``(images,)`` number of objects; 0 for background."""
    first_objects: NDArray[np.int64]
    """``(images,)`` index of the first object of an image in `objects`; the others follow it."""
    content_ids: NDArray[np.uint64]
    """``(images,)`` equal for identical files; 0 where the content is not known."""
    sample_keys: NDArray[np.uint64]
    """``(images,)`` sort key of the sample: a seeded hash of the file's content."""
    objects: ObjectMeasures
    """``(objects,)`` in the order of the images."""
    duplicates: Duplicates
    unreadable: Counter[str]
    """Number of images that cannot be read, by reason."""

    def object_row(self, image: int, position: int) -> np.void:
        """Return the measurements of one object, a row of `OBJECT_DTYPE`."""
        row: np.void = self.objects[self.first_objects[image] + position]
        return row

    def frames_of(self, images: Iterable[int]) -> dict[str, set[int]]:
        """Return the frame indices of the images that are frames, by the name of their video."""
        indices: dict[str, set[int]] = {}
        for number in images:
            if (video := self.video_ids[number]) >= 0:
                name = self.videos[video].record.name
                indices.setdefault(name, set()).add(int(self.frame_indices[number]))
        return indices

    def tracks(self) -> NDArray[np.int64]:
        """Return a track number for each object, ``(objects,)``, unique within the run: the video
        number in the upper 32 bits. -1 for an object without a track."""
        videos = self.video_ids[self.objects["image"]].astype(np.int64)
        track_ids = self.objects["track_id"].astype(np.int64)
        return np.where((videos >= 0) & (track_ids >= 0), videos << 32 | track_ids, -1)


def scan_run(
    store: LabelStore,
    run_id: int,
    options: ReportOptions,
    advance: Callable[[], None] = lambda: None,
) -> Scan:
    """Scan all labeled images of a run once.

    Args:
        store: the label store.
        run_id: the run.
        options: splits, thresholds, and where the images are.
        advance: called after each image.
    """
    classes = store.classes(run_id)
    class_ids = {name: number for number, name in enumerate(classes)}
    splits = tuple(options.split)
    videos = tuple(store.videos(run_id))
    video_numbers: dict[str | None, int] = {
        v.record.name: number for number, v in enumerate(videos)
    }
    item_ids: list[str] = []
    video_ids = array("i")
    frame_indices = array("q")
    times = array("d")
    split_ids = array("i")
    content_ids = array("Q")
    sample_keys = array("Q")
    measures = bytearray()  # grows in place; concatenating at the end would need twice the memory
    signatures: list[ImageSignature] = []
    signature_images: list[int] = []
    unreadable: Counter[str] = Counter()

    reader = ImageReader(videos, options.images_from)
    represented: set[str | None] = set()

    def read_signature(entry: tuple[Item, Labels]) -> ImageSignature | Unreadable | None:
        item, labels = entry
        if item.frame_index is not None:
            if item.group in represented or not labels.objects:
                return reader.missing(item)
            represented.add(item.group)
        image = reader.read(item, _SIDE)
        return image if isinstance(image, Unreadable) else image_signature(image)

    with closing(reader):
        for (item, labels), signature in prefetch_map(
            read_signature,
            store.labels(run_id),
            options.threads,
            sequential=lambda entry: entry[0].frame_index is not None,
        ):
            number = len(item_ids)
            item_ids.append(item.item_id)
            video_ids.append(-1 if item.frame_index is None else video_numbers[item.group])
            frame_indices.append(-1 if item.frame_index is None else item.frame_index)
            times.append(np.nan if item.time is None else item.time)
            split = assign_split(
                item, options.split, options.seed, by_folder=options.split_by == "folder"
            )
            split_ids.append(splits.index(split))
            content_ids.append(0 if item.content_hash is None else _hash64(item.content_key))
            sample_keys.append(_hash64(f"{options.seed} sample {item.content_key}"))
            measures += measure_objects(labels, number, class_ids).tobytes()
            if isinstance(signature, Unreadable):
                unreadable[signature.reason] += 1
            elif signature is not None:
                signatures.append(signature)
                signature_images.append(number)
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
            signature_images,
            max_bits=options.thresholds.duplicate_bits,
            max_difference=options.thresholds.duplicate_difference,
        ),
        unreadable=unreadable,
    )


def _hash64(text: str) -> int:
    """First 64 bits of the SHA-256 of a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
