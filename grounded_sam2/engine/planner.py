"""Planning: decide for each image of a source whether to skip, postprocess or detect.

An image is skipped if the store is up to date; post-processed if the stored raw predictions
suffice; otherwise sent to the models, with all captions or only with those that are new. Planning
reads fingerprints, and bytes only where a fingerprint has changed; it decodes nothing.

    for refs in batched(source):
        known = stored_images(store, run_id, [ref.item_id for ref in refs])
        work = [plan_image(ref, known.get(ref.item_id), captions) for ref in refs]
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from grounded_sam2.engine.work_item import WorkItem, failure_reason
from grounded_sam2.errors import SourceError
from grounded_sam2.results import RawPredictions
from grounded_sam2.sources.fingerprint import file_hash
from grounded_sam2.sources.refs import ImageRef
from grounded_sam2.store import Item, ItemState, LabelStore

__all__ = ["StoredImage", "plan_image", "stored_images"]

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors that every later download would raise as well."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What the store holds of an image when a run begins."""

    state: ItemState
    item: Item | None = None
    predictions: RawPredictions | None = None
    """Read only where post-processing is pending."""


def stored_images(
    store: LabelStore, run_id: int, item_ids: Sequence[str]
) -> dict[str, StoredImage]:
    """What a run of the store holds of these images; new ones are left out."""
    images = {}
    for item_id, state in store.item_states(run_id, item_ids).items():
        found = None
        if state.status == "pending" and state.captions is not None:
            found = store.predictions(run_id, item_id)
        images[item_id] = StoredImage(state) if found is None else StoredImage(state, *found)
    return images


def plan_image(
    ref: ImageRef,
    stored: StoredImage | None,
    captions: Sequence[str],
    *,
    retry_failed: bool = False,
) -> WorkItem:
    """Decide what has to be done with one image.

    Args:
        ref: the image in its source.
        stored: see `stored_images`; ``None`` for a new one.
        captions: captions of the ontology; empty for a task without captions.
        retry_failed: plan failed images again although their files have not changed.

    Returns:
        A work item in state ``skip``, ``postprocess``, ``detect`` or ``failed``.

    Raises:
        SourceError: the image has to be downloaded and the disk is full.
    """
    item = Item(ref.item_id, ref.path)
    with suppress(Exception):  # what is wrong with the file is reported when it is opened
        # Before the bytes are read: a change during the read is noticed by the next run.
        item = replace(item, file_stamp=ref.stamp())
    predictions: RawPredictions | None = None
    if stored is not None and _is_unchanged(ref, item.file_stamp, stored.state):
        status = stored.state.status
        if status == "done" or (status == "failed" and not retry_failed):
            touched = item.file_stamp not in (None, stored.state.file_stamp)
            return WorkItem(item, "skip", is_touched=touched)
        predictions = stored.predictions
    wanted = tuple(captions)
    if stored is not None and stored.item is not None and predictions is not None:
        wanted = tuple(caption for caption in captions if caption not in predictions.captions)
        if not wanted:
            stamp = item.file_stamp or stored.item.file_stamp
            item = replace(stored.item, file_stamp=stamp)
            return WorkItem(item, "postprocess", predictions=predictions)
    try:
        path = ref.fetch()
    except Exception as error:  # whatever it is, the run goes on without this image
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise SourceError(
                f"image '{ref.item_id}' cannot be kept in the output folder: "
                f"{error.strerror}; make space and run the same command again"
            ) from error
        return WorkItem(item, "failed", error=failure_reason(error))
    return WorkItem(
        item,
        "detect",
        path=path,
        captions=wanted,
        predictions=predictions,
        predictions_hash=None if stored is None else stored.state.content_hash,
    )


def _is_unchanged(ref: ImageRef, stamp: str | None, state: ItemState) -> bool:
    """Whether the store's labels, predictions or failure belong to this very image."""
    if state.status == "pending" and state.captions is None:
        return False  # the store holds nothing of it
    if stamp is None:
        return True  # a file that cannot be examined counts as unchanged: its labels stay
    if stamp == state.file_stamp and (ref.is_local() or state.status == "failed"):
        return True
    if state.content_hash is None:
        return False
    try:
        return file_hash(ref.fetch()) == state.content_hash
    except Exception:  # as above
        return True
