"""Frozen values that go into the label store and come out of it.

A run is identified by its `RunConfig`: what determines its labels besides the ontology. Two runs
with equal configurations are one run, so that repeating a command continues it. Devices, batch
sizes and the number of workers are left out, since a user may change them half way without changing
any label. The ontology is left out as well: captions and class names may change within a run, and
only what has changed is computed again.

A video is named within its run. Each labeled frame of it is an item of its own, with the id
`frame_id` and the name of its video as group. Frames need no files: their images are in the video.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import Repr
from typing import Any, Literal, TypeAlias

from grounded_sam2.config.renames import with_current_keys, with_stored_keys
from grounded_sam2.results import CandidateStatus, Labels, RawPredictions

__all__ = [
    "Item",
    "ItemOutcome",
    "ItemRef",
    "ItemState",
    "ItemStatus",
    "OntologyPairs",
    "Registration",
    "ReviewCounts",
    "Run",
    "RunConfig",
    "StoreSummary",
    "StoredTrack",
    "StoredVideo",
    "VideoRecord",
    "frame_id",
    "id_of",
]

ItemStatus: TypeAlias = Literal["pending", "done", "failed"]

OntologyPairs: TypeAlias = tuple[tuple[str, str], ...]
"""An ontology as the store keeps it: ``(caption, class)`` in order."""

_FRAME_DIGITS = 6
"""Minimum digits of a frame index: names of nine hours of video sort in the order of time."""

_MODEL_ROLES = {"detector", "segmenter", "tracker", "grounder"}

_brief = Repr()
_brief.maxstring = _brief.maxother = 60


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What determines the labels of a run besides its ontology. All values are JSON values."""

    models: Mapping[str, str]
    """Model ids by role, ``{"detector": "florence-community/Florence-2-base", …}``."""
    inference: Mapping[str, Any]
    """Options that change the raw predictions, by section."""
    postprocess: Mapping[str, Any] = field(default_factory=dict)
    """Options of post-processing, by section: thresholds and clean-up."""
    source: str | None = None
    """Where the images are, relative to the store's folder; ``None`` where there is no place."""

    @property
    def key(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal: the identity of a run."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def inference_key(self) -> str:
        """SHA-256 of models and inference options: what gives a candidate its uid.

        The place of the images is left out, of weights in a folder all but their digest, and the
        lowest confidence of candidates: the same model finds the same object wherever both are,
        and whatever else is kept.
        """
        weights = {role: name.rpartition("@")[2] for role, name in self.models.items()}
        inference = {
            section: {key: each for key, each in values.items() if key != "candidate_confidence"}
            if isinstance(values, Mapping)
            else values
            for section, values in self.inference.items()
        }
        return RunConfig(models=weights, inference=inference).key

    @property
    def kind(self) -> str:
        """What kind of run it is: models on images, models on videos, an import, a merge."""
        if not self.has_models:
            return ", ".join(sorted(self.models))
        return "videos" if "tracker" in self.models else "images"

    @property
    def has_models(self) -> bool:
        """Whether models made the labels, not an import or a merge."""
        return not _MODEL_ROLES.isdisjoint(self.models)

    def same_inference(self, other: RunConfig) -> bool:
        """Whether both give the same raw predictions: they differ in `postprocess` at most."""
        return replace(self, postprocess={}) == replace(other, postprocess={})

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces. The keys are those of the first stores."""
        values = {
            "models": self.models,
            "config": self.inference,
            "decisions": self.postprocess,
            "source": self.source,
        }
        return json.dumps(with_stored_keys(values), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """Inverse of `to_json`."""
        values = with_current_keys(json.loads(text))
        return cls(
            models=values["models"],
            inference=values["config"],
            postprocess=values.get("decisions", {}),
            source=values.get("source"),
        )

    def differences(self, other: RunConfig) -> list[str]:
        """Changes from this configuration to `other`: ``option: before → after``, by option."""
        before, after = (each._options() for each in (self, other))
        return [
            f"{key}: {_short_repr(before, key)} → {_short_repr(after, key)}"
            for key in sorted(before.keys() | after.keys())
            if before.get(key, ...) != after.get(key, ...)
        ]

    def _options(self) -> dict[str, Any]:
        """All values by the names that users know: ``detector.min_confidence``."""
        # As JSON holds them: a tuple is a list there.
        values = with_current_keys(json.loads(self.to_json()))
        named = {"models": values["models"], "source": values["source"]}
        return dict(
            option
            for part in (values["config"], values["decisions"], named)
            for option in _flatten(part)
        )


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield prefix, value
        return
    for key, inner in value.items():
        yield from _flatten(inner, f"{prefix}.{key}" if prefix else str(key))


def _short_repr(options: Mapping[str, Any], key: str) -> str:
    return _brief.repr(options[key]) if key in options else "not set"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its configuration, its ontology, and the circumstances of its beginning."""

    id: int
    config: RunConfig
    ontology: OntologyPairs | None
    """``(caption, class)`` in the ontology's order; ``None`` for a task without captions."""
    settings: Mapping[str, Any]
    """The whole configuration when the run began, under the current names of its keys."""
    versions: Mapping[str, str]
    """Versions of the packages installed when the run began."""
    created_at: str
    """ISO 8601, UTC. For people only: no export reads it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image, or one frame of a video."""

    item_id: str
    """Name within its source: a POSIX path relative to the source's root."""
    path: Path | None
    """The image's file; ``None`` for images that were never files. For a frame of a video, the
    file of the video, or the folder of its frames."""
    content_hash: str | None = None
    """SHA-256 of the file's bytes; ``None`` where the file could not be read."""
    size_hw: tuple[int, int] | None = None
    """Height and width of the upright image; ``None`` where it could not be decoded."""
    exif_orientation: int = 1
    group: str | None = None
    """Items of one group (frames of one video) stay together in a split."""
    file_stamp: str | None = None
    """Size and modification time of the file: while they stay, its bytes are not hashed again."""
    frame_index: int | None = None
    """Index of the frame, as `grounded_sam2.results.VideoFrame` counts; ``None`` for an image."""
    time: float | None = None
    """Seconds from the first frame of the video."""
    is_reviewed: bool = False
    """Whether a person decided anything about the item or an object of it."""
    is_confirmed: bool = False
    """Whether a person confirmed that its objects are right and complete, or that it has none."""
    flag: str | None = None
    """A person's note that the item needs attention."""

    @property
    def content_key(self) -> str:
        """Identity of the image content, equal for two items that are the same image."""
        if self.content_hash is None:
            return f"item {self.item_id}"
        if self.frame_index is None:
            return self.content_hash
        return f"{self.content_hash} frame {self.frame_index}"


ItemRef: TypeAlias = str | Item
"""An image or frame, as its id or as a value of the store."""


def id_of(item: ItemRef) -> str:
    """The item id of an image or frame."""
    return item.item_id if isinstance(item, Item) else item


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """Result for one item: its labels, or the reason why there are none."""

    item: Item
    labels: Labels | None
    error: str | None = None
    predictions: RawPredictions | None = None
    """Raw predictions; ``None`` where no model was run."""
    statuses: tuple[CandidateStatus, ...] = ()
    """Status of each candidate of `predictions`."""

    def __post_init__(self) -> None:
        assert (self.labels is None) != (self.error is None), "an item is labeled or failed"
        candidates = self.predictions.candidates if self.predictions is not None else ()
        assert len(self.statuses) == len(candidates), "every candidate has its status"


@dataclass(frozen=True, slots=True)
class ItemState:
    """What is needed of a stored item to decide whether to label it again."""

    status: ItemStatus
    content_hash: str | None
    file_stamp: str | None
    captions: frozenset[str] | None
    """Captions that the detector was run with; ``None`` if it was not run on the item yet."""


@dataclass(frozen=True, slots=True)
class Registration:
    """Result of `LabelStore.register_items`."""

    total: int
    """Items of the source."""
    removed: int
    """Items of the run that are no longer in the source."""
    removed_ids: tuple[str, ...]
    """The first 20 of these."""


@dataclass(frozen=True, slots=True)
class ReviewCounts:
    """How much of a run people have reviewed."""

    accepted: int = 0
    """Objects that a person accepted, corrected or made."""
    rejected: int = 0
    """Objects that a person rejected; they are no labels."""
    unreviewed: int = 0
    """Objects that nobody decided about."""
    reviewed_images: int = 0
    """Items that a person decided anything about."""
    confirmed_images: int = 0
    """Items that a person confirmed as right and complete."""
    flagged_images: int = 0
    """Items with a person's note."""


@dataclass(frozen=True, slots=True)
class StoreSummary:
    """Counts of one run."""

    run_id: int
    images: int
    """Labeled items, those without objects included."""
    background: int
    """Labeled items without objects."""
    failed: int
    pending: int
    """Items of the source that are not labeled yet."""
    objects_per_class: Mapping[str, int] = field(default_factory=dict)
    """In the order of the classes, those without objects included."""
    dropped_candidates: Mapping[CandidateStatus, int] = field(default_factory=dict)
    """Candidates that did not become labels, by status."""
    review: ReviewCounts = field(default_factory=ReviewCounts)

    @property
    def objects(self) -> int:
        """Objects of all classes."""
        return sum(self.objects_per_class.values())


def frame_id(video: str, index: int) -> str:
    """Item id of a frame: ``clip.mp4/000123``."""
    return f"{video}/{index:0{_FRAME_DIGITS}}"


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """Name, file and timing of a video."""

    name: str
    """Name within its source, such as the POSIX path relative to the source's root."""
    path: Path | None
    """Its file, or the folder of its frames; ``None`` for videos that were never files."""
    size_hw: tuple[int, int]
    """Height and width of its upright frames."""
    fps: float | None = None
    """Mean frames per second; ``None`` if unknown."""
    frame_count: int | None = None
    """Number of frames before any stride, as far as known without decoding."""
    stride: int = 1
    """Every ``stride``-th frame is labeled."""
    content_hash: str | None = None
    """SHA-256 of the file's bytes, hexadecimal."""
    file_stamp: str | None = None
    """Size and modification time of the file: while they stay, its bytes are not hashed again."""

    @property
    def is_identifiable(self) -> bool:
        """Whether a later run can recognize the same video; not that of an address or a camera."""
        return self.file_stamp is not None or self.content_hash is not None

    def continues(self, earlier: VideoRecord) -> bool:
        """Whether this is the same video with the same stride, so that its labeling can continue.

        A video that is not identifiable is never the same.
        """
        same_stamp = self.file_stamp is not None and self.file_stamp == earlier.file_stamp
        same_hash = self.content_hash is not None and self.content_hash == earlier.content_hash
        same_frames = (self.stride, self.size_hw) == (earlier.stride, earlier.size_hw)
        return same_frames and (same_stamp or same_hash)


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A video of a run, and its progress."""

    record: VideoRecord
    frames: int
    """Labeled frames, those without objects included."""
    last_index: int | None
    """Index of the last labeled frame; ``None`` if there is none."""
    broken_frames: int
    """Frames that could not be decoded and were skipped."""
    finished: bool
    error: str | None
    """Why the last attempt could not label it further."""


@dataclass(frozen=True, slots=True)
class StoredTrack:
    """One tracked object of a video, over all frames that it is labeled in."""

    track_id: int
    class_name: str
    """The most frequent class of its labels; of equally frequent ones, the first by name."""
    frames: int
    first_index: int
    last_index: int
    """Indices of its first and last frame."""
