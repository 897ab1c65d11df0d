"""From pictures that were opened to what the store will say of them: asks, then decides.

The two steps run at the same time, in threads of their own: see `grounded_sam2.stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from grounded_sam2.asking import Answer, Asking, reason
from grounded_sam2.config import Config
from grounded_sam2.decisions import decide
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.prefetch import Opened
from grounded_sam2.results import Findings
from grounded_sam2.store import Item, ItemResult

__all__ = ["Settled", "ask", "settle"]


def ask(
    batch: Sequence[Opened], asking: Asking
) -> Callable[[], list[tuple[Opened, Answer | None]]]:
    """Ask the models about those that need it. What is returned gives each its answer, if any."""
    images = [each.image for each in batch if each.image is not None]
    finish = asking.start(images, [each.captions for each in batch if each.image is not None])
    needs_answer = [each.image is not None for each in batch]
    seen = [replace(each, image=None) for each in batch]  # the pictures have been seen

    def answers() -> list[tuple[Opened, Answer | None]]:
        given = iter(finish())
        return [
            (each, next(given) if needs else None)
            for each, needs in zip(seen, needs_answer, strict=True)
        ]

    return answers


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a picture; without `result` it was settled before."""

    item: Item
    result: ItemResult | None = None
    took_model: bool = False
    was_touched: bool = False


def settle(
    opened: Opened, answer: Answer | None, ontology: CaptionOntology | None, config: Config
) -> Settled:
    """Decide about one picture, if it needs a decision."""
    item, earlier = opened.item, opened.earlier
    error = answer if isinstance(answer, str) else opened.error
    if error is not None:
        return Settled(item, ItemResult(item, None, error), took_model=True)
    if isinstance(answer, str) or (answer is None and earlier is None):
        return Settled(item, was_touched=opened.was_touched)
    before = earlier or Findings(frozenset(), ())
    findings = Findings(
        before.asked | frozenset(opened.captions), before.candidates + (answer or ())
    )
    assert item.size_hw is not None, "a picture that was opened has a size"
    try:
        decision = decide(findings.candidates, item.size_hw, ontology, config)
    except Exception as failure:  # a mask that a model made badly costs its picture, not the run
        return Settled(item, ItemResult(item, None, reason(failure)), took_model=True)
    result = ItemResult(item, decision.labels, findings=findings, verdicts=decision.verdicts)
    return Settled(item, result, took_model=answer is not None)
