"""The label store: one SQLite file per output folder, the truth that every export is made from.

`LabelStore.create` opens it for labeling (one process at a time), `LabelStore.open` for reading
(any number, also while it is being written).
"""

from grounded_sam2.store.label_store import LabelStore
from grounded_sam2.store.records import (
    Item,
    ItemOutcome,
    ItemState,
    OntologyPairs,
    Registration,
    Run,
    RunConfig,
    StoreSummary,
)
from grounded_sam2.store.video_records import StoredTrack, StoredVideo, VideoRecord, frame_id

__all__ = [
    "Item",
    "ItemOutcome",
    "ItemState",
    "LabelStore",
    "OntologyPairs",
    "Registration",
    "Run",
    "RunConfig",
    "StoreSummary",
    "StoredTrack",
    "StoredVideo",
    "VideoRecord",
    "frame_id",
]
