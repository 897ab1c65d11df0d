"""What goes into the label store and comes out of it, as frozen values.

A *recipe* is what determines the labels of a run besides its ontology: two runs with equal recipes
are one run, so that repeating a command continues it. Devices, batch sizes and the number of
workers are no part of it, since a user may change them half way without changing what is labeled.
The ontology is none either: what is asked and how it is called may change within a run, and only
what changed is done.
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
    "ItemState",
    "ItemStatus",
    "OntologyPairs",
    "Registration",
    "Run",
    "RunConfig",
    "StoreSummary",
]

ItemStatus: TypeAlias = Literal["pending", "done", "failed"]

OntologyPairs: TypeAlias = tuple[tuple[str, str], ...]
"""An ontology as the store keeps it: ``(caption, class)`` in order."""

_brief = Repr()
_brief.maxstring = _brief.maxother = 60


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What determines the labels of a run besides its ontology. All values are what JSON can hold.

    Runs that differ in ``decisions`` only share what the models said.
    """

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
        """SHA-256 of the recipe's canonical JSON, hexadecimal: the identity of a run."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def same_inference(self, other: RunConfig) -> bool:
        """Whether the models say the same under both recipes."""
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
        """Say what changed from this recipe to ``other``, one readable line per key."""
        before, after = (r._options() for r in (self, other))
        return [
            f"{key}: {_show(before, key)} → {_show(after, key)}"
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
            for option in _flat(part)
        )


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield prefix, value
        return
    for key, inner in value.items():
        yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))


def _show(flat: Mapping[str, Any], key: str) -> str:
    return _brief.repr(flat[key]) if key in flat else "not set"


@dataclass(frozen=True, slots=True)
class Run:
    """One recipe applied to one source, and the circumstances of its beginning."""

    id: int
    config: RunConfig
    ontology: OntologyPairs | None
    """``(caption, class)`` in the ontology's order; ``None`` for a task without captions."""
    settings: Mapping[str, Any]
    """The whole configuration as it was when the run began, for the record."""
    versions: Mapping[str, str]
    """Versions of the packages that were installed when the run began."""
    created_at: str
    """ISO 8601, UTC. For people only: no export reads it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image as the store knows it."""

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
    """Size and modification time of the file: while they stand, its bytes need no hashing."""
    frame_index: int | None = None
    """Its number in the video, as of `grounded_sam2.results.VideoFrame`; ``None`` for an image of
    its own."""
    time: float | None = None
    """Seconds from the first frame of the video."""

    @property
    def content_key(self) -> str:
        """What two items share that are the same image, whatever they are called."""
        if self.content_hash is None:
            return f"item {self.item_id}"
        if self.frame_index is None:
            return self.content_hash
        return f"{self.content_hash} frame {self.frame_index}"


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of one item: its labels, or the reason why there are none."""

    item: Item
    labels: Labels | None
    error: str | None = None
    predictions: RawPredictions | None = None
    """What the models said; ``None`` where no model was asked."""
    statuses: tuple[CandidateStatus, ...] = ()
    """What became of each candidate of the findings."""

    def __post_init__(self) -> None:
        assert (self.labels is None) != (self.error is None), "an item is labeled or failed"
        candidates = self.predictions.candidates if self.predictions is not None else ()
        assert len(self.statuses) == len(candidates), "every candidate has its status"


@dataclass(frozen=True, slots=True)
class ItemState:
    """As much of a stored item as it takes to decide whether to label it again."""

    status: ItemStatus
    content_hash: str | None
    file_stamp: str | None
    captions: frozenset[str] | None
    """Captions that the detector was run with; ``None`` if it was not run on the item yet."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What `LabelStore.register_items` found."""

    total: int
    """Items of the source."""
    removed: int
    """Items of the run that the source no longer holds."""
    removed_ids: tuple[str, ...]
    """The first of these."""


@dataclass(frozen=True, slots=True)
class StoreSummary:
    """Counts of one run."""

    run_id: int
    images: int
    """Labeled images, those without objects included."""
    background: int
    """Labeled images without objects."""
    failed: int
    pending: int
    """Pictures of the source that the run has not come to."""
    objects_per_class: Mapping[str, int] = field(default_factory=dict)
    """In the order of the classes, those without objects included."""
    dropped_candidates: Mapping[CandidateStatus, int] = field(default_factory=dict)
    """Candidates that are no labels, by what became of them."""

    @property
    def objects(self) -> int:
        """Objects of all classes."""
        return sum(self.objects_per_class.values())
