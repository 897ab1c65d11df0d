"""The label store: one SQLite file per output folder, from which every export is made.

`LabelStore.create` opens it for labeling (one process at a time), `LabelStore.open` for reading and
for people's edits (any number of processes, also while it is labeled). `ItemImages` finds and
decodes the images that were labeled.
"""

from grounded_sam2.store.edit_records import Edit, EditAction
from grounded_sam2.store.edits import Edits
from grounded_sam2.store.images import ItemImage, ItemImages
from grounded_sam2.store.label_store import LabelStore
from grounded_sam2.store.records import (
    Item,
    ItemOutcome,
    ItemState,
    OntologyPairs,
    Registration,
    ReviewCounts,
    Run,
    RunConfig,
    StoredTrack,
    StoredVideo,
    StoreSummary,
    VideoRecord,
    frame_id,
)

__all__ = [
    "Edit",
    "EditAction",
    "Edits",
    "Item",
    "ItemImage",
    "ItemImages",
    "ItemOutcome",
    "ItemState",
    "LabelStore",
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
]
