"""People's edits of a label store: accept, correct, add and remove objects, and undo it.

    with LabelStore.open("labeled") as store:
        for label in store.objects("a.jpg"):
            print(label.uid, label.class_name, label.review)
        store.edits.accept(uid)
        store.edits.relabel(uid, "cat")
        store.edits.undo("a.jpg")

Every edit is one transaction, also while another process labels. It is appended to the log
(`grounded_sam2.store.edit_log`), and the labels of its items are computed anew
(`grounded_sam2.store.apply_edits`) in every run that labels them.

An object of a video has one uid in all frames: an edit of the uid concerns the whole track, and
with ``item``, a frame, that frame alone.
"""

from __future__ import annotations

import getpass
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeAlias

from grounded_sam2.errors import StaleEditError, StoreError
from grounded_sam2.geometry.overlap import mask_union
from grounded_sam2.results import Label
from grounded_sam2.store.apply_edits import vouched
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.store.edit_geometry import MaskInput, outline_of, with_outline
from grounded_sam2.store.edit_log import Change, EditLog, EditScope, NewEdit
from grounded_sam2.store.edit_records import Edit, EditAction, undo_stacks
from grounded_sam2.store.edit_targets import EditTargets, StoredObject, version_of
from grounded_sam2.store.items import Items
from grounded_sam2.store.objects import Objects
from grounded_sam2.store.records import Item, Run
from grounded_sam2.store.runs import Runs
from grounded_sam2.store.uids import new_uid, track_number

__all__ = ["Edits"]

_Transform: TypeAlias = Callable[[tuple[Label, ...]], tuple[Label, ...]]
"""From the objects of an edit in one item to what they become."""


class Edits:
    """What a person can do to the labels of a store.

    Arguments that most methods share:

    - ``uid``: an object, or a candidate that is no label;
    - ``item``: item id of an image or frame. For an object of a video, a frame; without it, the
      edit concerns the whole track;
    - ``run_id``: the run whose labels the person sees; ``None`` for the current one;
    - ``version``: what `version` returned when the person saw the object, or the item; an edit of
      something that has changed since is refused. ``None`` does not check;
    - ``actor``: who edits; ``None`` for the user's login name.

    All methods raise `StoreError` if there is no such object or item, and `StaleEditError` with the
    current objects and version for a stale edit; nothing is written then.
    """

    def __init__(
        self,
        connection: StoreConnection,
        runs: Runs,
        items: Items,
        objects: Objects,
        log: EditLog,
    ) -> None:
        self._connection = connection
        self._runs = runs
        self._objects = objects
        self._log = log
        self._targets = EditTargets(connection, items, objects)

    # Reading

    def history(self, item: str, *, run_id: int | None = None) -> list[Edit]:
        """All edits of an image, a frame or a video in order, undone ones included."""
        return self._log.history(self._scope(item, run_id), item)

    def objects(self, item: str, *, run_id: int | None = None) -> list[Label]:
        """Objects of an image or frame in order, with the rejected ones after the others."""
        run = self._runs.get(run_id)
        return self._targets.labels(run, self._targets.item(run, item))

    def version(self, target: str, *, run_id: int | None = None) -> str:
        """Version of an item (by id), or of an object or track (by uid), as it is now."""
        with self._connection.snapshot():
            run = self._runs.get(run_id)
            if self._targets.is_item(run, target):
                return self._item_version(run, self._targets.item(run, target))
            return version_of([each.label for each in self._targets.objects(run, target)])

    def count(self) -> int:
        """Number of edits in the store, undos included."""
        return self._log.count()

    # Objects

    def accept(
        self,
        uid: str,
        *,
        item: str | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Accept an object as it is; also a rejected one, or a candidate that is no label."""
        return self._edit_objects("accept", [uid], _vouch, item, run_id, version, actor)

    def reject(
        self,
        uid: str,
        *,
        item: str | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Reject an object: it is wrong, and whatever proposes it again is wrong as well."""
        return self._edit_objects("reject", [uid], _drop, item, run_id, version, actor)

    def delete(
        self,
        uid: str,
        *,
        item: str | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Delete an object: it is not wanted. A model's object stays deleted in later runs."""
        return self._edit_objects("delete", [uid], _drop, item, run_id, version, actor)

    def relabel(
        self,
        uid: str,
        class_name: str,
        *,
        item: str | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Give an object another class, which may be new to the store."""
        name = _class_name(class_name)

        def relabeled(labels: tuple[Label, ...]) -> tuple[Label, ...]:
            return tuple(vouched(replace(label, class_name=name)) for label in labels)

        return self._edit_objects(
            "relabel", [uid], relabeled, item, run_id, version, actor, {"class_name": name}
        )

    def reshape(
        self,
        uid: str,
        mask: MaskInput | None = None,
        *,
        box: Sequence[float] | None = None,
        item: str | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
        prompts: Any = None,
        model: str | None = None,
    ) -> Edit:
        """Replace the mask of an object, or its box if it is to have no mask.

        The box of a mask is tight around it. A mask quality is the earlier mask's, and is dropped.

        Args:
            uid, item, run_id, version, actor: see `Edits`.
            mask: of the upright image.
            box: xyxy in pixels, half-open, instead of a mask.
            prompts: points, boxes and texts that the mask was made from, as JSON values.
            model: the model that made it from them.
        """
        with self.batch():
            found = self._targets.objects(*self._run_and_item(run_id, uid, item))
            if len(found) > 1:
                raise StoreError(
                    f"'{uid}' is a track with a mask in each of {len(found)} frames; give the "
                    "frame whose mask is replaced (item)"
                )
            outline = outline_of(found[0].item, mask, box)
            return self._edit_objects(
                "reshape",
                [uid],
                lambda labels: tuple(vouched(with_outline(each, outline)) for each in labels),
                found[0].item.item_id,
                run_id,
                version,
                actor,
                prompts=prompts,
                model=model,
            )

    def add(
        self,
        item: str,
        class_name: str,
        mask: MaskInput | None = None,
        *,
        box: Sequence[float] | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
        prompts: Any = None,
        model: str | None = None,
    ) -> str:
        """Add an object to an image or frame, and return its uid.

        Args:
            item, run_id, version, actor: see `Edits`.
            class_name: its class, which may be new to the store.
            mask, box, prompts, model: see `reshape`.
        """
        name = _class_name(class_name)
        with self.batch() as sql:
            run = self._runs.get(run_id)
            image = self._targets.item(run, item)
            self._check_item_version(run, image, version)
            box_xyxy, rle = outline_of(image, mask, box)
            counts = b"" if rle is None else rle.counts
            number = len(self._log.heads(self._objects.scope(run.id, image)))
            uid = new_uid("added", image.item_id, name, box_xyxy, counts.hex(), number)
            label = Label(
                class_name=name,
                caption=name,
                box_xyxy=box_xyxy,
                mask=rle,
                confidence=None,
                mask_quality=None,
                track_id=None if image.frame_index is None else track_number(uid),
                uid=uid,
            )
            change = Change(image.item_id, (), (vouched(label),))
            self._append(
                sql,
                run,
                image,
                NewEdit(
                    action="add",
                    item_id=image.item_id,
                    uids=(uid,),
                    actor=_actor(actor),
                    changes=[change],
                    prompts=prompts,
                    model=model,
                ),
            )
        return uid

    def split(
        self,
        uid: str,
        masks: Sequence[MaskInput],
        *,
        item: str | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
        prompts: Any = None,
        model: str | None = None,
    ) -> list[str]:
        """Replace an object by several with these masks, and return their uids.

        They have its class and caption. Its scores are not theirs.
        """
        if len(masks) < 2:
            raise StoreError(f"'{uid}' is split into {len(masks)} masks; give two or more")
        with self.batch():
            run, _, place = self._run_and_item(run_id, uid, item)
            found = self._targets.objects(run, uid, place)
            if len(found) > 1:
                raise StoreError(f"'{uid}' is a track; give the frame to split it in (item)")
            image = found[0].item
            outlines = [outline_of(image, mask, None) for mask in masks]
            number = len(self._log.heads(self._objects.scope(run.id, image)))
            uids = [new_uid("split", uid, index, number) for index in range(len(masks))]

            def parts(labels: tuple[Label, ...]) -> tuple[Label, ...]:
                return tuple(
                    vouched(
                        replace(
                            with_outline(label, outline),
                            uid=part,
                            confidence=None,
                            detected_box_xyxy=None,
                            track_id=None if label.track_id is None else track_number(part),
                        )
                    )
                    for label in labels
                    for part, outline in zip(uids, outlines, strict=True)
                )

            self._edit_objects(
                "split",
                [uid],
                parts,
                image.item_id,
                run_id,
                version,
                actor,
                prompts=prompts,
                model=model,
            )
        return uids

    def merge(
        self,
        uids: Sequence[str],
        *,
        item: str | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Merge objects of one image or frame into the first: the union of their masks.

        With an object that has no mask, the merged one has only the box around all.
        """

        def merged(labels: tuple[Label, ...]) -> tuple[Label, ...]:
            masks = [label.mask for label in labels if label.mask is not None]
            boxes = [label.box_xyxy for label in labels]
            mask = mask_union(masks) if len(masks) == len(labels) else None
            left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
            right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
            box_xyxy = (left, top, right, bottom) if mask is None else mask.bbox_xyxy
            first = next(label for label in labels if label.uid == uids[0])
            return (vouched(with_outline(first, (box_xyxy, mask))),)

        _check_several(uids, "merged")
        with self.batch():
            run, _, place = self._run_and_item(run_id, uids[0], item)
            images = {
                each.item.item_id for uid in uids for each in self._targets.objects(run, uid, place)
            }
            if len(images) > 1:
                raise StoreError(
                    f"{', '.join(map(repr, uids))} are in several images or frames; merge objects "
                    "of one, or tracks with merge_tracks"
                )
            return self._edit_objects("merge", uids, merged, images.pop(), run_id, version, actor)

    # Items

    def confirm(
        self,
        item: str,
        *,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Confirm that the objects of an item are right and complete; also that it has none.

        All its objects are accepted. New proposals of the classes that the run has now are dropped
        in later runs; those of classes that come later are not.
        """
        with self.batch() as sql:
            run = self._runs.get(run_id)
            image = self._targets.item(run, item)
            self._check_item_version(run, image, version)
            labels = [
                each for each in self._targets.labels(run, image) if each.review != "rejected"
            ]
            before = tuple(each for each in labels if each.review == "unreviewed")
            classes = {name for _, name in run.ontology or ()} | {
                each.class_name for each in labels
            }
            return self._append(
                sql,
                run,
                image,
                NewEdit(
                    action="confirm",
                    item_id=image.item_id,
                    uids=(),
                    actor=_actor(actor),
                    changes=[Change(image.item_id, before, _vouch(before))],
                    params={"classes": sorted(classes)},
                ),
            )

    def flag(
        self,
        item: str,
        note: str | None,
        *,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Flag an image or frame with a note, for someone to look at; ``None`` removes the flag."""
        with self.batch() as sql:
            run = self._runs.get(run_id)
            image = self._targets.item(run, item)
            self._check_item_version(run, image, version)
            edit = NewEdit(
                action="flag",
                item_id=image.item_id,
                uids=(),
                actor=_actor(actor),
                params={"note": note or None},
            )
            return self._append(sql, run, image, edit)

    # Tracks

    def anchor(
        self,
        uid: str,
        item: str,
        mask: MaskInput | None = None,
        *,
        box: Sequence[float] | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
        prompts: Any = None,
        model: str | None = None,
    ) -> Edit:
        """Set the mask of a track on a frame, also on one where it had none.

        The mask is the person's, and no propagation replaces it.

        Args:
            uid: the track.
            item: the frame.
            mask, box, run_id, version, actor, prompts, model: see `reshape`.
        """
        with self.batch() as sql:
            run = self._runs.get(run_id)
            frame = self._targets.item(run, item)
            found = self._targets.objects(run, uid)
            if frame.frame_index is None or found[0].label.track_id is None:
                raise StoreError(
                    f"'{uid}' on '{item}' is no track on a frame of a video; use reshape"
                )
            here = [each for each in found if each.item.item_id == frame.item_id]
            self._check_version(uid, here or found, version)
            nearest = min(
                found, key=lambda each: abs((each.item.frame_index or 0) - (frame.frame_index or 0))
            )
            label = with_outline(nearest.label, outline_of(frame, mask, box))
            if not here:  # the detector saw nothing of it on this frame
                label = replace(label, detected_box_xyxy=None, track_origin=None)
            change = Change(frame.item_id, tuple(each.label for each in here), (vouched(label),))
            return self._append(
                sql,
                run,
                frame,
                NewEdit(
                    action="anchor",
                    item_id=frame.item_id,
                    uids=(uid,),
                    actor=_actor(actor),
                    changes=[change],
                    prompts=prompts,
                    model=model,
                ),
            )

    def end_track(
        self,
        uid: str,
        item: str,
        *,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """End a track: the frame `item` is the last that it is labeled in."""
        run = self._runs.get(run_id)
        last = self._targets.item(run, item).frame_index
        if last is None:
            raise StoreError(f"'{item}' is no frame of a video; give the last frame of the track")
        return self._edit_objects(
            "end_track",
            [uid],
            _drop,
            None,
            run_id,
            version,
            actor,
            {"last_frame": last},
            only=lambda frame: (frame.frame_index or 0) > last,
        )

    def merge_tracks(
        self,
        uids: Sequence[str],
        *,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Merge tracks that are one object into the first, which keeps its uid, number and class.

        On a frame with several of them, the label of the first given stays.
        """
        _check_several(uids, "merged")
        first = self._targets.objects(self._runs.get(run_id), uids[0])[0].label
        if first.track_id is None:
            raise StoreError(f"'{uids[0]}' is no track; merge objects of an image with merge")

        def merged(labels: tuple[Label, ...]) -> tuple[Label, ...]:
            label = min(labels, key=lambda each: list(uids).index(each.uid))
            label = replace(
                label, uid=uids[0], track_id=first.track_id, class_name=first.class_name
            )
            return (vouched(label),)

        params = {"uid": uids[0], "track_id": first.track_id, "class_name": first.class_name}
        return self._edit_objects(
            "merge_tracks", uids, merged, None, run_id, version, actor, params
        )

    # Undo

    def undo(
        self, item: str | None = None, *, run_id: int | None = None, actor: str | None = None
    ) -> Edit:
        """Undo the last edit of an image or a video, or of the store.

        Args:
            item: an image; a video, or a frame of it: the edits of a video are undone in their
                order, whatever frames they concern.
            run_id, actor: see `Edits`.

        Raises:
            StoreError: there is no edit to undo.
        """
        with self.batch() as sql:
            scope = self._scope_to_undo(item, run_id)
            to_undo, _ = undo_stacks(self._log.heads(scope))
            if not to_undo:
                raise StoreError(f"no edit of '{scope.name}' is left to undo")
            return self._invert(sql, scope, "undo", to_undo[-1], run_id, actor)

    def redo(
        self, item: str | None = None, *, run_id: int | None = None, actor: str | None = None
    ) -> Edit:
        """Redo the edit that was undone last, if none came after it; see `undo`.

        Raises:
            StoreError: there is no undo to invert.
        """
        with self.batch() as sql:
            scope = self._scope_to_redo(item, run_id)
            _, to_redo = undo_stacks(self._log.heads(scope))
            if not to_redo:
                raise StoreError(f"no undone edit of '{scope.name}' is left to redo")
            return self._invert(sql, scope, "redo", to_redo[-1], run_id, actor)

    def batch(self) -> AbstractContextManager[sqlite3.Connection]:
        """Context in which all edits are one transaction: stored together, or none of them."""
        return self._connection.edit_transaction()

    def _scope_to_undo(self, item: str | None, run_id: int | None) -> EditScope:
        if item is not None:
            return self._scope(item, run_id)
        to_undo, _ = undo_stacks(self._log.heads())
        if not to_undo:
            raise StoreError(f"label store '{self._connection.path}' has no edit to undo")
        return self._log.scope_of(to_undo[-1])

    def _scope_to_redo(self, item: str | None, run_id: int | None) -> EditScope:
        if item is not None:
            return self._scope(item, run_id)
        heads = self._log.heads()
        if not heads or heads[-1][1] not in ("undo", "redo"):
            raise StoreError(
                f"label store '{self._connection.path}': the last edit is no undo: nothing to redo"
            )
        return self._log.scope_of(heads[-1][0])

    def _invert(
        self,
        sql: sqlite3.Connection,
        scope: EditScope,
        action: EditAction,
        undoes: int,
        run_id: int | None,
        actor: str | None,
    ) -> Edit:
        original = self._log.original(undoes)
        edit = NewEdit(
            action=action,
            item_id=original.item_id,
            uids=original.uids,
            actor=_actor(actor),
            undoes=undoes,
        )
        edit_id = self._log.append(sql, scope, original.size_hw, edit)
        self._apply(sql, scope, original.id, original.item_id, original.uids)
        return self._log.get(scope, edit_id)

    # Shared

    def _scope(self, name: str, run_id: int | None) -> EditScope:
        """The scope of an item or video: of the run, or of the last one that labels it."""
        runs = [self._runs.get(run_id), *reversed(self._runs.all())]
        return self._targets.scope(runs, name)

    def _run_and_item(
        self, run_id: int | None, uid: str, item: str | None
    ) -> tuple[Run, str, Item | None]:
        run = self._runs.get(run_id)
        return run, uid, None if item is None else self._targets.item(run, item)

    def _edit_objects(
        self,
        action: EditAction,
        uids: Sequence[str],
        transform: _Transform,
        item: str | None,
        run_id: int | None,
        version: str | None,
        actor: str | None,
        params: dict[str, Any] | None = None,
        *,
        only: Callable[[Item], bool] = lambda item: True,
        prompts: Any = None,
        model: str | None = None,
    ) -> Edit:
        """Append an edit of objects: of one item, or of tracks in all frames."""
        with self.batch() as sql:
            run, _, place = self._run_and_item(run_id, uids[0], item)
            found = [each for uid in uids for each in self._targets.objects(run, uid, place)]
            self._check_version(uids[0], found, version)
            first = found[0].item
            of_tracks = place is None and first.frame_index is not None
            if len({_scope_name(each.item) for each in found}) > 1:
                raise StoreError(f"{', '.join(map(repr, uids))} are not all of one image or video")
            changes = [
                Change(item_id, labels, transform(labels))
                for item_id, labels in _by_item(each for each in found if only(each.item))
            ]
            return self._append(
                sql,
                run,
                first,
                NewEdit(
                    action=action,
                    item_id=None if of_tracks else first.item_id,
                    uids=tuple(uids),
                    actor=_actor(actor),
                    changes=changes,
                    params=params,
                    prompts=prompts,
                    model=model,
                ),
            )

    def _append(self, sql: sqlite3.Connection, run: Run, item: Item, edit: NewEdit) -> Edit:
        """Append an edit, and compute the labels of its items anew."""
        assert item.size_hw is not None, "a labeled item has a size"
        try:
            json.dumps(edit.prompts)
        except (TypeError, ValueError) as error:
            raise StoreError(f"prompts of an edit must be JSON values: {error}") from error
        seen = self._targets.unreviewed(run, item, in_video=edit.item_id is None)
        scope = self._objects.scope(run.id, item)
        edit_id = self._log.append(
            sql, scope, item.size_hw, replace(edit, seen=seen - set(edit.uids))
        )
        self._apply(sql, scope, edit_id, edit.item_id, edit.uids)
        return self._log.get(scope, edit_id)

    def _apply(
        self,
        sql: sqlite3.Connection,
        scope: EditScope,
        edit_id: int,
        item_id: str | None,
        uids: Sequence[str],
    ) -> None:
        """Compute the labels of all items of an edit anew, in every run that has them."""
        item_ids = dict.fromkeys(self._log.items_of(edit_id))
        if item_id is None:  # also on frames that were labeled after the edit
            item_ids |= dict.fromkeys(self._targets.frames_with(scope, uids))
        runs = self._runs.all()
        for each in item_ids:
            for run_id, key, item in self._targets.runs_with(runs, scope, each):
                self._objects.apply_edits(sql, run_id, key, item)

    def _check_version(self, uid: str, found: Sequence[StoredObject], version: str | None) -> None:
        labels = [each.label for each in found if each.label.uid == uid]
        current = version_of(labels)
        if version not in (None, current):
            raise StaleEditError(
                f"object '{uid}' has changed since version {version}; its version is {current}: "
                f"{labels[0].class_name}, {labels[0].review}. Look at it again, and edit with its "
                "version now",
                labels,
                current,
            )

    def _check_item_version(self, run: Run, item: Item, version: str | None) -> None:
        current = self._item_version(run, item)
        if version not in (None, current):
            labels = self._targets.labels(run, item)
            raise StaleEditError(
                f"'{item.item_id}' has changed since version {version}; its version is {current}, "
                f"with {len(labels)} objects. Look at it again, and edit with its version now",
                labels,
                current,
            )

    def _item_version(self, run: Run, item: Item) -> str:
        return version_of(self._targets.labels(run, item), item.is_confirmed, item.flag)


def _vouch(labels: tuple[Label, ...]) -> tuple[Label, ...]:
    return tuple(vouched(label) for label in labels)


def _drop(labels: tuple[Label, ...]) -> tuple[Label, ...]:
    return ()


def _scope_name(item: Item) -> str | None:
    return item.item_id if item.frame_index is None else item.group


def _by_item(found: Any) -> list[tuple[str, tuple[Label, ...]]]:
    """Labels of each item, in the order of the items."""
    ordered = sorted(found, key=lambda each: (each.item.frame_index or 0, each.item.item_id))
    return [
        (item_id, tuple(each.label for each in group))
        for item_id, group in groupby(ordered, key=lambda each: each.item.item_id)
    ]


def _check_several(uids: Sequence[str], verb: str) -> None:
    if isinstance(uids, str) or len(set(uids)) < 2 or len(set(uids)) < len(uids):
        raise StoreError(f"objects {uids!r} cannot be {verb}: give two or more different uids")


def _class_name(name: str) -> str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise StoreError(f"class {name!r}: give a name of printable characters")
    return name.strip()


def _actor(actor: str | None) -> str:
    if actor is not None:
        return actor
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a process without a user, as in some containers
        return "unknown"
