"""The label store: one SQLite file per output folder, from which every export is made.

`LabelStore.create` opens it for labeling (one process at a time), `LabelStore.open` for reading
(any number of processes, also while it is written).
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
    StoredTrack,
    StoredVideo,
    StoreSummary,
    VideoRecord,
    frame_id,
)

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
