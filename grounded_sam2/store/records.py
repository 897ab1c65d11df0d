"""What goes into the label store and comes out of it, as frozen values.

A *recipe* is everything that determines labels, and nothing else: two runs with equal recipes are
one run, so that repeating a command continues it. Devices, batch sizes and the number of workers
are no part of it, since a user may change them half way without changing what is labeled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import Repr
from typing import Any, Literal, TypeAlias

from grounded_sam2.results import Labels

__all__ = [
    "Item",
    "ItemResult",
    "ItemStatus",
    "KnownItem",
    "Recipe",
    "Run",
    "StoreSummary",
]

ItemStatus: TypeAlias = Literal["pending", "done", "failed"]

_brief = Repr()
_brief.maxstring = _brief.maxother = 60


@dataclass(frozen=True, slots=True)
class Recipe:
    """What determines the labels of a run. All values are what JSON can hold."""

    models: Mapping[str, str]
    """Model ids by role, ``{"detector": "florence-community/Florence-2-base", …}``."""
    config: Mapping[str, Any]
    """The parts of the configuration that change labels."""
    ontology: tuple[tuple[str, str], ...] | None
    """``(caption, class)`` in the ontology's order; ``None`` for a task without captions."""
    source: str | None = None
    """Where the pictures are, relative to the store's folder; ``None`` where there is no place."""

    @property
    def key(self) -> str:
        """SHA-256 of the recipe's canonical JSON, hexadecimal: the identity of a run."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, the order of the ontology kept."""
        value = {
            "config": self.config,
            "models": self.models,
            "ontology": self.ontology,
            "source": self.source,
        }
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Inverse of `to_json`."""
        value = json.loads(text)
        ontology = value["ontology"]
        return cls(
            models=value["models"],
            config=value["config"],
            ontology=None if ontology is None else tuple((c, n) for c, n in ontology),
            source=value["source"],
        )

    def differences(self, other: Recipe) -> list[str]:
        """Say what changed from this recipe to ``other``, one readable line per key."""
        before, after = (dict(_flat(json.loads(r.to_json()))) for r in (self, other))
        return [
            f"{key}: {_show(before, key)} → {_show(after, key)}"
            for key in sorted(before.keys() | after.keys())
            if before.get(key, ...) != after.get(key, ...)
        ]


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
    recipe: Recipe
    settings: Mapping[str, Any]
    """The whole configuration as it was when the run began, for the record."""
    versions: Mapping[str, str]
    """Versions of the packages that were installed when the run began."""
    created_at: str
    """ISO 8601, UTC. For people only: no export reads it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One picture as the store knows it."""

    item_id: str
    """Name within its source: a POSIX path relative to the source's root."""
    path: Path | None
    """The picture's file; ``None`` for pictures that were never files."""
    content_hash: str | None = None
    """SHA-256 of the file's bytes; ``None`` where the file could not be read."""
    size_hw: tuple[int, int] | None = None
    """Height and width of the upright picture; ``None`` where it could not be decoded."""
    exif_orientation: int = 1
    group: str | None = None
    """Items of one group (frames of one video) stay together in a split."""
    file_stamp: str | None = None
    """Size and modification time of the file: while they stand, its bytes need no hashing."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one item: its labels, or the reason why there are none."""

    item: Item
    labels: Labels | None
    error: str | None = None

    def __post_init__(self) -> None:
        assert (self.labels is None) != (self.error is None), "an item is labeled or failed"


@dataclass(frozen=True, slots=True)
class KnownItem:
    """As much of a stored item as it takes to decide whether to label it again."""

    status: ItemStatus
    content_hash: str | None
    file_stamp: str | None


@dataclass(frozen=True, slots=True)
class StoreSummary:
    """Counts of one run."""

    run_id: int
    images: int
    """Labeled pictures, those without objects included."""
    background: int
    """Labeled pictures without objects."""
    failed: int
    pending: int
    """Pictures of the source that the run has not come to."""
    objects_per_class: Mapping[str, int] = field(default_factory=dict)
    """In the order of the classes, those without objects included."""

    @property
    def objects(self) -> int:
        """Objects of all classes."""
        return sum(self.objects_per_class.values())
