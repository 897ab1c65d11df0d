"""Result types: the few frozen values that pass between the rooms of the package.

One convention everywhere: images are upright RGB ``uint8`` arrays ``(h, w, 3)``; boxes are
``xyxy`` in pixels, float and half-open (a box around the whole image is ``(0, 0, w, h)``);
masks are run-length encoded (`grounded_sam2.geometry.rle.Rle`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.rle import Rle, decode

if TYPE_CHECKING:
    import supervision as sv

__all__ = [
    "BrokenFrame",
    "Candidate",
    "CandidateStatus",
    "DetectedBoxes",
    "Image",
    "ImageProgress",
    "Label",
    "Labels",
    "LoadedImage",
    "Origin",
    "RawPredictions",
    "ReviewState",
    "SegmentedMasks",
    "TrackOrigin",
    "TrackedFrame",
    "VideoFrame",
    "VideoProgress",
    "to_supervision",
]

Image: TypeAlias = NDArray[np.uint8]
"""Upright RGB image, ``(h, w, 3)`` ``uint8``."""

Origin: TypeAlias = Literal["model", "human"]
"""Who vouches for an object. ``human``: a person made it, corrected it or accepted it."""

ReviewState: TypeAlias = Literal["unreviewed", "accepted", "rejected"]
"""What a person decided about an object: nothing yet, that it stands, or that it does not."""

TrackOrigin: TypeAlias = Literal["detected", "forwards", "backwards"]
"""Where a label of a frame comes from: detected on it, or propagated by the tracker from an earlier
(``forwards``) or a later (``backwards``) frame."""

CandidateStatus: TypeAlias = Literal[
    "label", "not_wanted", "low_confidence", "low_quality", "cleaned_up"
]
"""Whether a `Candidate` is a label, or why not. ``not_wanted``: the ontology no longer holds its
caption. ``cleaned_up``: its mask was empty but for specks, or it duplicates a better candidate."""


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """One upright image of a source, and where it came from."""

    item_id: str
    """Stable name within its source: the POSIX path relative to the source's root."""
    image: Image
    path: Path | None = None
    """The file it was read from; ``None`` for images that were never files."""
    content_hash: str | None = None
    """SHA-256 of the file's bytes, hexadecimal."""
    exif_orientation: int = 1
    """Orientation tag of the file (1 to 8). `image` is upright whatever its value."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the upright image, in pixels."""
        height, width = self.image.shape[:2]
        return height, width


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One upright image of a video."""

    index: int
    """Its number in the video as decoded, from 0, whatever frames are left out."""
    time: float
    """Seconds from the first frame, by the video's timestamps."""
    image: Image

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        height, width = self.image.shape[:2]
        return height, width


@dataclass(frozen=True, slots=True)
class BrokenFrame:
    """A frame, or a part of a video without frames, that could not be read."""

    index: int
    """Number of the frame; for a part that yields no frame, that of the next frame."""
    time: float
    """Seconds from the first frame; for a part that yields no frame, that of the frame before."""
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class DetectedBoxes:
    """Detections of one image, in the order of the detector."""

    boxes_xyxy: NDArray[np.float32]
    """``(n, 4)``, pixels."""
    captions: tuple[str, ...]
    """Caption of each box; for tasks without captions, the text that the model generated."""
    confidence: NDArray[np.float32] | None
    """``(n,)`` in [0, 1]; ``None`` where the model gives none."""

    def __len__(self) -> int:
        return len(self.captions)


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedMasks:
    """Masks of one image, in the order of the prompts."""

    masks: tuple[Rle, ...]
    quality: NDArray[np.float32]
    """``(n,)`` predicted IoU of each mask with the prompted object."""
    complement: NDArray[np.bool_]
    """``(n,)`` true where the mask covers, after any repair, the complement of the object."""
    low_res_logits: NDArray[np.float32] | None = None
    """``(n, s, s)`` in the model's own space, to be passed back as mask prompts; ``None`` unless
    requested."""

    def __len__(self) -> int:
        return len(self.masks)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One detection with its mask, before post-processing.

    Numbers are rounded to their precision: boxes to hundredths of a pixel, confidence and mask
    quality to four decimals.
    """

    caption: str
    box_xyxy: tuple[float, float, float, float]
    """The detector's, clipped to the image."""
    mask: Rle | None
    """The segmenter's; ``None`` where it returned the complement of the object."""
    confidence: float | None
    mask_quality: float | None
    uid: str = field(default="", compare=False)
    """Identity within a label store (`grounded_sam2.store.uids`); empty until it is stored."""


@dataclass(frozen=True, slots=True)
class RawPredictions:
    """All candidates of one image, and the captions that the detector was run with."""

    captions: frozenset[str]
    """Captions requested; empty for a task without captions."""
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """One labeled object of one image."""

    class_name: str
    caption: str
    box_xyxy: tuple[float, float, float, float]
    mask: Rle | None
    confidence: float | None
    """The detector's, from its token likelihoods; never the mask's."""
    mask_quality: float | None
    """The segmenter's predicted IoU; never the box's."""
    track_id: int | None = None
    origin: Origin = "model"
    detected_box_xyxy: tuple[float, float, float, float] | None = None
    """The detector's box, before `box_xyxy` was made tight around the mask; ``None`` without a
    detector."""
    track_origin: TrackOrigin | None = None
    """Where it comes from, for a frame of a video; ``None`` for images."""
    review: ReviewState = "unreviewed"
    uid: str = field(default="", compare=False)
    """Identity (`grounded_sam2.store.uids`): that of the candidate it was made from; of its track,
    in all frames of a video. Two labels that differ in it alone are equal."""

    @property
    def version(self) -> str:
        """Digest of all values, hexadecimal: changes whenever the label does."""
        values = [getattr(self, each.name) for each in fields(self)]
        return hashlib.sha256(repr(values).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Labels:
    """All labeled objects of one image; an image without objects is background."""

    size_hw: tuple[int, int]
    objects: tuple[Label, ...] = ()

    def __len__(self) -> int:
        return len(self.objects)


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """The labels of one frame of a video. An object has one ``track_id`` in all frames."""

    index: int
    """As of `VideoFrame`."""
    time: float
    labels: Labels


class ImageProgress(Protocol):
    """Receives the progress of whatever goes through images; called in the thread that runs it."""

    def start(self, total: int) -> None:
        """Begin a run over this many images."""
        ...

    def advance(self, *, labeled: int, failed: int, skipped: int) -> None:
        """Add images that are done and committed; skipped ones were done before."""
        ...


class VideoProgress(Protocol):
    """Receives the progress of whatever goes through videos; called in the thread that runs it."""

    def start(self, name: str, total: int | None) -> None:
        """Begin a video of about this many frames; ``None`` if unknown."""
        ...

    def advance(self, frames: int) -> None:
        """Add frames that are done; the first call of a video counts those of earlier runs."""
        ...


def to_supervision(labels: Labels, classes: Sequence[str]) -> sv.Detections:
    """Convert the labels of one image.

    Args:
        labels: the labels.
        classes: class names in the order of their ids; names that are not in it (words of the
            model's own) are numbered after them in the order in which they come.

    Returns:
        Detections with ``xyxy`` ``(n, 4)`` float32, ``mask`` ``(n, h, w)`` bool (all false for an
        object without a mask; ``None`` if no object has one), ``confidence`` ``(n,)`` float32
        (``None`` if the detector gives none), ``class_id`` ``(n,)`` int, ``tracker_id`` ``(n,)``
        int (``None`` where an object has none, as in images), and in ``data``
        ``class_name``, ``caption``, ``uid`` (text) and ``mask_quality`` (float32, ``nan`` for
        unknown).
    """
    import supervision as sv

    names = list(dict.fromkeys([*classes, *(label.class_name for label in labels.objects)]))
    objects = labels.objects
    masks = None
    if any(label.mask is not None for label in objects) or not objects:
        masks = np.zeros((len(objects), *labels.size_hw), np.bool_)
        for row, label in zip(masks, objects, strict=True):
            if label.mask is not None:
                row[:] = decode([label.mask])[0]
    confidence = None
    if all(label.confidence is not None for label in objects):
        confidence = np.array([label.confidence for label in objects], np.float32)
    track_ids = [label.track_id for label in objects if label.track_id is not None]
    quality = [np.nan if label.mask_quality is None else label.mask_quality for label in objects]
    return sv.Detections(
        xyxy=np.array([label.box_xyxy for label in objects], np.float32).reshape(-1, 4),
        mask=masks,
        confidence=confidence,
        class_id=np.array([names.index(label.class_name) for label in objects], int),
        tracker_id=np.array(track_ids, int) if len(track_ids) == len(objects) else None,
        data={
            "class_name": np.array([label.class_name for label in objects], dtype=str),
            "caption": np.array([label.caption for label in objects], dtype=str),
            "mask_quality": np.array(quality, np.float32),
            "uid": np.array([label.uid for label in objects], dtype=str),
        },
    )
