"""Edits applied to the proposals of the models: labels are a fold.

    labels = apply_edits(edits, postprocess(candidates, ontology, config), classes)

Both functions are pure, and the store keeps both inputs. Proposals are what post-processing made of
one run's candidates. Whatever the run, a person's decisions stand:

- an object that a person accepted, corrected or made is a label, as the person left it, although
  the run proposes it no more;
- a proposal that the person did not see, and that is the same object, is dropped in its favor;
- so is one that is the same object as a rejected or deleted one;
- a proposal that stood beside them when the person decided, and was left alone, stays;
- on a confirmed image, new proposals of the classes and captions that the run had then are dropped.

Two objects are the same if their masks overlap with an IoU of 0.5 or more and class or caption are
equal; with a person's object that stands, 0.7 suffices whatever the class, since two objects do not
share so many pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from grounded_sam2.geometry.overlap import mixed_iou
from grounded_sam2.results import Label, Labels
from grounded_sam2.store.edit_records import Edit, EditedLabels

__all__ = ["apply_edits", "vouched"]

_SAME_CLASS_IOU = 0.5
_ANY_CLASS_IOU = 0.7


def apply_edits(
    edits: Sequence[Edit], proposals: Labels, classes: Mapping[str, str]
) -> EditedLabels:
    """The labels of an item.

    Args:
        edits: those of the item and, for a frame, those of its video's tracks, without undone
            ones, in order.
        proposals: labels of the item after post-processing, with uids.
        classes: class of each caption of the run's ontology. The class of an accepted object
            follows it, unless a person named the class.

    Returns:
        The labels; `proposals` themselves if there are no edits.
    """
    if not edits:
        return EditedLabels(proposals)
    fold = _Fold({label.uid: label for label in proposals.objects})
    for edit in edits:
        fold.apply(edit)
    if not fold.decisions and not fold.confirmed and fold.flag is None:
        return EditedLabels(proposals)  # of a frame: edits of tracks that it does not show
    for uid in _dropped(fold, proposals):
        del fold.objects[uid]
    in_order = dict.fromkeys([*(each.uid for each in proposals.objects), *fold.objects])
    objects = tuple(
        fold.with_class(fold.objects[uid], classes) for uid in in_order if uid in fold.objects
    )
    return EditedLabels(
        labels=replace(proposals, objects=objects),
        rejected=tuple(fold.rejected.values()),
        is_reviewed=bool(fold.decisions) or fold.confirmed,
        is_confirmed=fold.confirmed,
        flag=fold.flag,
    )


def vouched(label: Label) -> Label:
    """A label as one that a person vouches for."""
    return replace(label, origin="human", review="accepted")


@dataclass(slots=True)
class _Decision:
    """What a person decided about one uid."""

    stands: bool
    """Whether the object is a label; if not, it was rejected or deleted."""
    shapes: list[Label] = field(default_factory=list)
    """The forms and classes it had: a new proposal may be like any of them."""
    seen: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Fold:
    """State of the fold after some edits."""

    objects: dict[str, Label]
    """Labels by uid."""
    rejected: dict[str, Label] = field(default_factory=dict)
    decisions: dict[str, _Decision] = field(default_factory=dict)
    made_by_person: set[str] = field(default_factory=set)
    class_by_person: set[str] = field(default_factory=set)
    confirmed: bool = False
    confirmed_for: set[tuple[str, str]] = field(default_factory=set)
    """Classes and captions, as ``("class", name)`` and ``("caption", text)``."""
    flag: str | None = None

    def apply(self, edit: Edit) -> None:
        """Apply one edit."""
        if edit.action == "flag":
            self.flag = edit.params["note"]
            return
        before, after = edit.before, edit.after
        if not before and not after:  # an edit of tracks, on a frame that it does not show
            reached = {uid: self.rejected.get(uid) for uid in edit.params.get("rejected", ())}
            reached |= self.objects
            before = tuple(each for uid in edit.uids if (each := reached.get(uid)) is not None)
            merged = {each.uid: each for label in reversed(before) for each in _after(label, edit)}
            after = tuple(merged.values())
            if not before and "class_name" in edit.params:  # for an anchor on this frame
                self.class_by_person.update(edit.uids)
        uids_after = {label.uid for label in after}
        for label in before:
            self._decide(label, edit, stands=label.uid in uids_after)
        earlier = {label.uid: label for label in before}
        inherits = any(label.uid in self.class_by_person for label in before)
        for label in after:
            self.objects[label.uid] = label
            self.rejected.pop(label.uid, None)
            self._decide(label, edit, stands=True)
            if not before:
                self.made_by_person.add(label.uid)
            origins = [earlier[label.uid]] if label.uid in earlier else before
            is_renamed = any(each.class_name != label.class_name for each in origins)
            if is_renamed or inherits or edit.action in ("add", "relabel"):
                self.class_by_person.add(label.uid)
        if edit.action == "confirm":
            self.confirmed = True
            self.confirmed_for |= {("class", name) for name in edit.params["classes"]}
            self.confirmed_for |= {("caption", text) for text in edit.params["captions"]}

    def _decide(self, label: Label, edit: Edit, *, stands: bool) -> None:
        uid = label.uid
        decision = self.decisions.setdefault(uid, _Decision(stands))
        decision.stands = stands
        decision.shapes.append(label)
        decision.seen |= edit.seen
        if stands:
            return
        self.objects.pop(uid, None)
        self.rejected.pop(uid, None)
        if edit.action == "reject":
            self.rejected[uid] = replace(label, review="rejected")
        elif edit.action == "delete" and uid in self.made_by_person:
            decision.shapes.clear()  # a mistake of the person says nothing about the models

    def with_class(self, label: Label, classes: Mapping[str, str]) -> Label:
        """A label with the class that its caption has now, unless a person named its class."""
        if label.uid in self.class_by_person or label.uid not in self.decisions:
            return label
        return replace(label, class_name=classes.get(label.caption, label.class_name))


def _after(label: Label, edit: Edit) -> list[Label]:
    """What an edit of a track makes of its label on a frame that was labeled later."""
    if edit.action in ("reject", "delete", "end_track"):
        return []
    params = edit.params
    changed = replace(
        label,
        class_name=params.get("class_name", label.class_name),
        uid=params.get("uid", label.uid),
        track_id=params.get("track_id", label.track_id),
    )
    return [vouched(changed)]


def _dropped(fold: _Fold, proposals: Labels) -> list[str]:
    """Uids of the proposals that people have not seen and that their decisions exclude."""
    decisions = fold.decisions.values()
    seen_by_all = set.intersection(*(each.seen for each in decisions)) if decisions else set()

    def is_excluded(label: Label) -> bool:
        names = {("class", label.class_name), ("caption", label.caption)}
        if not fold.confirmed_for.isdisjoint(names):
            return True  # a confirmation accepts all that was there: this is new
        if label.uid in seen_by_all:
            return False
        return any(label.uid not in each.seen and _is_same(label, each) for each in decisions)

    return [
        label.uid
        for label in proposals.objects
        if label.uid not in fold.decisions and is_excluded(label)
    ]


def _is_same(label: Label, decision: _Decision) -> bool:
    """Whether a proposal is the object that was decided about."""
    if not decision.shapes:
        return False
    others = decision.shapes
    ious = mixed_iou(
        [each.box_xyxy for each in (label, *others)], [each.mask for each in (label, *others)]
    )[0, 1:]
    alike = np.array(
        [each.class_name == label.class_name or each.caption == label.caption for each in others]
    )
    any_class = _ANY_CLASS_IOU if decision.stands else np.inf
    return bool((ious >= np.where(alike, _SAME_CLASS_IOU, any_class)).any())
