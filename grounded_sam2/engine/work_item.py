"""The work item: one image on its way from the source to the store.

    skip ───────────────────────────────────────► nothing to write, or a new fingerprint
    failed ─────────────────────────────────────► done: a failure
    detect ─ load ─ models ─► postprocess ─ pure ─► done: labels
                              postprocess ─ pure ─► done: labels (earlier predictions suffice)

A work item is a plain frozen value: it holds no closure, future, lock or model and can be pickled,
so that any thread, process or machine can take it up where another one left it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from grounded_sam2.config import Config
from grounded_sam2.errors import one_line
from grounded_sam2.inference.postprocess import postprocess
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Candidate, Image, LoadedImage, RawPredictions
from grounded_sam2.store import Item, ItemOutcome

__all__ = ["WorkItem", "WorkState", "failure_reason", "postprocess_item"]

WorkState: TypeAlias = Literal["skip", "detect", "postprocess", "failed", "done"]
"""What has to be done next. ``skip``: nothing, the store is up to date. ``detect``: decode the
image, then run the models. ``postprocess``: turn `WorkItem.predictions` into labels. ``failed``:
record `WorkItem.error`. ``done``: write `WorkItem.outcome`."""


@dataclass(frozen=True, slots=True, eq=False)
class WorkItem:
    """One image of a run, and what has to be done with it."""

    item: Item
    """The record of the store. Size, content hash and orientation are known once it was decoded."""
    state: WorkState
    path: Path | None = None
    """``detect``: the local file to decode."""
    captions: tuple[str, ...] = ()
    """``detect``: captions to request; empty for a task without captions."""
    predictions: RawPredictions | None = None
    """Raw predictions so far. ``detect``: of an earlier run, for other captions."""
    predictions_hash: str | None = None
    """Content hash of the image that `predictions` were made from."""
    image: Image | None = None
    """``detect``: the decoded image, ``(h, w, 3)`` ``uint8``; ``None`` before and after."""
    error: str | None = None
    """``failed``: the reason, one line."""
    is_touched: bool = False
    """``skip``: the file's fingerprint changed, its content did not."""
    used_models: bool = False
    """Whether the models ran in this run."""
    outcome: ItemOutcome | None = None
    """``done``: what to write to the store."""

    def with_image(self, loaded: LoadedImage, all_captions: tuple[str, ...]) -> WorkItem:
        """The item after decoding.

        Args:
            loaded: the decoded file.
            all_captions: requested instead of `captions` if the file is not the one that the
                earlier predictions were made from.
        """
        item = replace(
            self.item,
            content_hash=loaded.content_hash,
            size_hw=loaded.size_hw,
            exif_orientation=loaded.exif_orientation,
        )
        if self.predictions is not None and loaded.content_hash != self.predictions_hash:
            return replace(
                self, item=item, image=loaded.image, captions=all_captions, predictions=None
            )
        return replace(self, item=item, image=loaded.image)

    def with_candidates(self, candidates: tuple[Candidate, ...]) -> WorkItem:
        """The item after inference: ready for post-processing, without its pixels."""
        earlier = self.predictions or RawPredictions(frozenset(), ())
        return replace(
            self,
            state="postprocess",
            image=None,
            predictions=RawPredictions(
                earlier.captions | frozenset(self.captions), earlier.candidates + candidates
            ),
            used_models=True,
        )

    def with_failure(self, reason: str) -> WorkItem:
        """The item after an error, without its pixels."""
        return replace(self, state="failed", image=None, error=reason)


def failure_reason(error: Exception) -> str:
    """An error as the store records it: one line, with its type unless it is one of ours."""
    return one_line(error, with_type=True, max_length=500)


def postprocess_item(work: WorkItem, ontology: CaptionOntology | None, config: Config) -> WorkItem:
    """An item that has passed the models, with its outcome: labels or a failure.

    Returns:
        The item in state ``done``; one that is skipped stays as it is.
    """
    if work.state == "skip":
        return work
    return replace(work, state="done", outcome=_outcome(work, ontology, config))


def _outcome(work: WorkItem, ontology: CaptionOntology | None, config: Config) -> ItemOutcome:
    if work.state == "failed":
        return ItemOutcome(work.item, None, work.error)
    assert work.state == "postprocess", "an item is post-processed after inference"
    assert work.predictions is not None, "post-processing starts from raw predictions"
    assert work.item.size_hw is not None, "an image that was decoded has a size"
    try:
        result = postprocess(work.predictions.candidates, work.item.size_hw, ontology, config)
    except Exception as error:  # a malformed mask fails its image, not the run
        return ItemOutcome(work.item, None, failure_reason(error))
    return ItemOutcome(
        work.item, result.labels, predictions=work.predictions, statuses=result.statuses
    )
