"""From images that were opened to what the store will say of them: asks, then decides.

The two steps run at the same time, in threads of their own: see `grounded_sam2.engine.stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from grounded_sam2.config import Config
from grounded_sam2.engine.batched_inference import Answer, Asking, reason
from grounded_sam2.engine.loader import Opened, Opening
from grounded_sam2.engine.memory_budget import MemoryBudget
from grounded_sam2.engine.stages import Occupancy
from grounded_sam2.inference.postprocess import postprocess
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import RawPredictions
from grounded_sam2.store import Item, ItemOutcome

__all__ = ["Asked", "Settled", "ask", "settle", "settle_all"]


Asked: TypeAlias = list[tuple[Opened, Answer | None]]
"""Pictures, without their pixels, and what the models said of those that were asked about."""


def ask(
    batch: list[Opening], asking: Asking, budget: MemoryBudget, occupancy: Occupancy
) -> Callable[[], Asked]:
    """Ask the models about the images of a batch as they come.

    Those that fit into half of the budget are asked together, so that the other half can be
    decoded meanwhile; what they took is given back when what is returned was called. Of a batch of
    larger images, all parts but the last are brought to their end here, to make room. The list
    is emptied, since whoever holds on to it would hold on to the images.
    """
    asked: Asked = []
    part: list[Opened] = []
    held = 0
    while batch:
        image = batch.pop(0)
        size = image.size.result()
        if part and 2 * (held + size) > budget.limit:
            with occupancy.at_work("models"):
                asked += _ask(part, asking)()
            budget.release(held)
            part, held = [], 0
        part.append(image.opened.result())
        held += size
        del image
    with occupancy.at_work("models"):
        finish = _ask(part, asking)

    def finished() -> Asked:
        answers = finish()
        budget.release(held)
        return asked + answers

    return finished


def _ask(part: Sequence[Opened], asking: Asking) -> Callable[[], Asked]:
    images = [each.image for each in part if each.image is not None]
    finish = asking.start(images, [each.captions for each in part if each.image is not None])
    needs_answer = [each.image is not None for each in part]
    seen = [replace(each, image=None) for each in part]  # the images have been seen

    def answers() -> Asked:
        given = iter(finish())
        return [
            (each, next(given) if needs else None)
            for each, needs in zip(seen, needs_answer, strict=True)
        ]

    return answers


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an image; without `result` it was settled before."""

    item: Item
    result: ItemOutcome | None = None
    took_model: bool = False
    was_touched: bool = False


def settle_all(
    finish: Callable[[], Asked],
    ontology: CaptionOntology | None,
    config: Config,
    occupancy: Occupancy,
) -> list[Settled]:
    """Bring to its end what `ask` began, and postprocess."""
    with occupancy.at_work("masks"):
        return [settle(opened, answer, ontology, config) for opened, answer in finish()]


def settle(
    opened: Opened, answer: Answer | None, ontology: CaptionOntology | None, config: Config
) -> Settled:
    """Decide about one image, if it needs a decision."""
    item, earlier = opened.item, opened.earlier
    error = answer if isinstance(answer, str) else opened.error
    if error is not None:
        return Settled(item, ItemOutcome(item, None, error), took_model=True)
    if isinstance(answer, str) or (answer is None and earlier is None):
        return Settled(item, was_touched=opened.was_touched)
    before = earlier or RawPredictions(frozenset(), ())
    predictions = RawPredictions(
        before.captions | frozenset(opened.captions), before.candidates + (answer or ())
    )
    assert item.size_hw is not None, "an image that was opened has a size"
    try:
        decision = postprocess(predictions.candidates, item.size_hw, ontology, config)
    except Exception as failure:  # a mask that a model made badly costs its image, not the run
        return Settled(item, ItemOutcome(item, None, reason(failure)), took_model=True)
    result = ItemOutcome(item, decision.labels, predictions=predictions, statuses=decision.statuses)
    return Settled(item, result, took_model=answer is not None)
