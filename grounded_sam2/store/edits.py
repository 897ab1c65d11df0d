"""People's edits of a label store: accept, correct, add and remove objects, and undo it.

    with LabelStore.open("labeled") as store:
        for label in store.objects("a.jpg"):
            print(label.uid, label.class_name, label.review)
        store.edits.accept(uid)
        store.edits.relabel(uid, "cat")
        store.edits.undo("a.jpg")

Every edit is one transaction, also while another process labels.

An object of a video has one uid in all frames: an edit of the uid concerns the whole track, and
with ``item``, a frame, that frame alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from grounded_sam2.errors import StoreError
from grounded_sam2.geometry.overlap import mask_union
from grounded_sam2.results import Label
from grounded_sam2.store.apply_edits import vouched
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.store.edit_geometry import MaskInput, outline_of, with_outline
from grounded_sam2.store.edit_log import EditLog
from grounded_sam2.store.edit_records import Edit
from grounded_sam2.store.edit_writer import EditContext, EditWriter
from grounded_sam2.store.items import Items
from grounded_sam2.store.objects import Objects
from grounded_sam2.store.records import Item, ItemRef
from grounded_sam2.store.rows import utf8_safe
from grounded_sam2.store.runs import Runs
from grounded_sam2.store.uids import new_uid, track_number

__all__ = ["Edits"]


class Edits:
    """What a person can do to the labels of a store.

    Arguments that most methods share:

    - ``uid``: an object, or a candidate that is no label;
    - ``item``: an image or frame, as its id or its `Item`. For an object of a video, a frame;
      without it, the edit concerns the whole track;
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
        self._log = log
        self._writer = EditWriter(connection, runs, items, objects, log)

    # Reading

    def history(self, item: ItemRef, *, run_id: int | None = None) -> list[Edit]:
        """All edits of an image, a frame or a video in order, undone ones included."""
        return self._writer.history(item, EditContext(run_id))

    def objects(self, item: ItemRef, *, run_id: int | None = None) -> list[Label]:
        """Objects of an image or frame in order, with the rejected ones after the others."""
        context = EditContext(run_id)
        run = self._writer.run(context)
        return self._writer.targets.labels(run, self._writer.item(item, context))

    def version(self, target: ItemRef, *, run_id: int | None = None) -> str:
        """Version of an item (by id), or of an object or track (by uid), as it is now."""
        with self._connection.snapshot():
            return self._writer.version(target, EditContext(run_id))

    def count(self) -> int:
        """Number of edits in the store, undos included."""
        return self._log.count()

    # Objects

    def accept(
        self,
        uid: str,
        *,
        item: ItemRef | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Accept an object as it is; also a rejected one, or a candidate that is no label."""
        context = EditContext(run_id, version, actor)
        return self._writer.edit_objects("accept", [uid], _vouch, item, context)

    def reject(
        self,
        uid: str,
        *,
        item: ItemRef | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Reject an object: it is wrong, and whatever proposes it again is wrong as well."""
        context = EditContext(run_id, version, actor)
        return self._writer.edit_objects("reject", [uid], _drop, item, context)

    def delete(
        self,
        uid: str,
        *,
        item: ItemRef | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Delete an object: it is not wanted. A model's object stays deleted in later runs."""
        context = EditContext(run_id, version, actor)
        return self._writer.edit_objects("delete", [uid], _drop, item, context)

    def relabel(
        self,
        uid: str,
        class_name: str,
        *,
        item: ItemRef | None = None,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Give an object another class, which may be new to the store."""
        name = _class_name(class_name)

        def relabeled(labels: tuple[Label, ...]) -> tuple[Label, ...]:
            return tuple(vouched(replace(label, class_name=name)) for label in labels)

        context, params = EditContext(run_id, version, actor), {"class_name": name}
        return self._writer.edit_objects("relabel", [uid], relabeled, item, context, params)

    def reshape(
        self,
        uid: str,
        mask: MaskInput | None = None,
        *,
        box: Sequence[float] | None = None,
        item: ItemRef | None = None,
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
        context = EditContext(run_id, version, actor, prompts, model)
        with self.batch():
            found = self._writer.find(uid, item, context)
            if len(found) > 1:
                raise StoreError(
                    f"'{uid}' is a track with a mask in each of {len(found)} frames; give the "
                    "frame whose mask is replaced (item)"
                )
            image = found[0].item
            outline = outline_of(image, mask, box)
            return self._writer.edit_objects(
                "reshape",
                [uid],
                lambda labels: tuple(vouched(with_outline(each, outline)) for each in labels),
                image.item_id,
                context,
            )

    def add(
        self,
        item: ItemRef,
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
        context = EditContext(run_id, version, actor, prompts, model)
        with self.batch():
            image = self._writer.item(item, context)
            box_xyxy, rle = outline_of(image, mask, box)
            counts = "" if rle is None else rle.counts.hex()
            number = self._writer.number_of_edits(image, context)
            uid = new_uid("added", image.item_id, name, box_xyxy, counts, number)
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
            self._writer.edit_item("add", image, context, uids=[uid], after=(vouched(label),))
        return uid

    def split(
        self,
        uid: str,
        masks: Sequence[MaskInput],
        *,
        item: ItemRef | None = None,
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
        context = EditContext(run_id, version, actor, prompts, model)
        with self.batch():
            found = self._writer.find(uid, item, context)
            if len(found) > 1:
                raise StoreError(f"'{uid}' is a track; give the frame to split it in (item)")
            image = found[0].item
            outlines = [outline_of(image, mask, None) for mask in masks]
            number = self._writer.number_of_edits(image, context)
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

            self._writer.edit_objects("split", [uid], parts, image.item_id, context)
        return uids

    def merge(
        self,
        uids: Sequence[str],
        *,
        item: ItemRef | None = None,
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

        _check_several(uids)
        context = EditContext(run_id, version, actor)
        with self.batch():
            found = [each for uid in uids for each in self._writer.find(uid, item, context)]
            images = {each.item.item_id for each in found}
            if len(images) > 1:
                raise StoreError(
                    f"{', '.join(map(repr, uids))} are in several images or frames; merge objects "
                    "of one, or tracks with merge_tracks"
                )
            return self._writer.edit_objects("merge", uids, merged, images.pop(), context)

    # Items

    def confirm(
        self,
        item: ItemRef,
        *,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Confirm that the objects of an item are right and complete; also that it has none.

        All its objects are accepted. New proposals of the classes that the run has now are dropped
        in later runs; those of classes that come later are not.
        """
        context = EditContext(run_id, version, actor)
        with self.batch():
            image = self._writer.item(item, context)
            run = self._writer.run(context)
            labels = self._writer.targets.labels(run, image)
            before = tuple(each for each in labels if each.review == "unreviewed")
            classes = {name for _, name in run.ontology or ()}
            classes |= {each.class_name for each in labels if each.review != "rejected"}
            return self._writer.edit_item(
                "confirm",
                image,
                context,
                before=before,
                after=_vouch(before),
                params={
                    "classes": sorted(classes),
                    "captions": [caption for caption, _ in run.ontology or ()],
                },
            )

    def flag(
        self,
        item: ItemRef,
        note: str | None,
        *,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """Flag an image or frame with a note, for someone to look at; ``None`` removes the flag."""
        if note is not None and not isinstance(note, str):
            raise StoreError(f"note {note!r}: give text, or None to remove the flag")
        context = EditContext(run_id, version, actor)
        image = self._writer.item(item, context)
        params = {"note": utf8_safe(note) if note else None}
        return self._writer.edit_item("flag", image, context, params=params)

    # Tracks

    def anchor(
        self,
        uid: str,
        item: ItemRef,
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
        context = EditContext(run_id, version, actor, prompts, model)
        with self.batch():
            frame = self._writer.item(item, context)
            found = self._writer.find(uid, None, context)
            index = frame.frame_index
            if index is None or found[0].label.track_id is None:
                raise StoreError(
                    f"'{uid}' on '{frame.item_id}' is no track on a frame of a video; use reshape"
                )
            _check_one_video(uid, found[0].item, frame)
            here = [each.label for each in found if each.item.item_id == frame.item_id]
            self._writer.check_version(uid, frame.item_id if here else None, context)
            nearest = min(found, key=lambda each: abs((each.item.frame_index or 0) - index))
            label = with_outline(nearest.label, outline_of(frame, mask, box))
            if not here:  # the detector saw nothing of it on this frame
                label = replace(label, detected_box_xyxy=None, track_origin=None)
            return self._writer.edit_frame("anchor", frame, here, vouched(label), context)

    def end_track(
        self,
        uid: str,
        item: ItemRef,
        *,
        run_id: int | None = None,
        version: str | None = None,
        actor: str | None = None,
    ) -> Edit:
        """End a track: the frame `item` is the last that it is labeled in."""
        context = EditContext(run_id, version, actor)
        frame = self._writer.item(item, context)
        last = frame.frame_index
        if last is None:
            raise StoreError(
                f"'{frame.item_id}' is no frame of a video; give the last frame of the track"
            )
        _check_one_video(uid, self._writer.find(uid, None, context)[0].item, frame)
        return self._writer.edit_objects(
            "end_track",
            [uid],
            _drop,
            None,
            context,
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
        _check_several(uids)
        context = EditContext(run_id, version, actor)
        first = self._writer.find(uids[0], None, context)[0].label
        if first.track_id is None:
            raise StoreError(f"'{uids[0]}' is no track; merge objects of an image with merge")

        def merged(labels: tuple[Label, ...]) -> tuple[Label, ...]:
            label = min(labels, key=lambda each: list(uids).index(each.uid))
            label = replace(
                label, uid=uids[0], track_id=first.track_id, class_name=first.class_name
            )
            return (vouched(label),)

        params = {"uid": uids[0], "track_id": first.track_id, "class_name": first.class_name}
        return self._writer.edit_objects("merge_tracks", uids, merged, None, context, params)

    # Undo

    def undo(
        self, item: ItemRef | None = None, *, run_id: int | None = None, actor: str | None = None
    ) -> Edit:
        """Undo the last edit of an image or a video, or of the store.

        Args:
            item: an image; a video, or a frame of it: the edits of a video are undone in their
                order, whatever frames they concern.
            run_id, actor: see `Edits`.

        Raises:
            StoreError: there is no edit to undo.
        """
        return self._writer.invert("undo", item, EditContext(run_id, actor=actor))

    def redo(
        self, item: ItemRef | None = None, *, run_id: int | None = None, actor: str | None = None
    ) -> Edit:
        """Redo the edit that was undone last, if none came after it; see `undo`.

        Raises:
            StoreError: there is no undo to invert.
        """
        return self._writer.invert("redo", item, EditContext(run_id, actor=actor))

    def batch(self) -> AbstractContextManager[sqlite3.Connection]:
        """Context in which all edits are one transaction: stored together, or none of them."""
        return self._writer.transaction()


def _vouch(labels: tuple[Label, ...]) -> tuple[Label, ...]:
    return tuple(vouched(label) for label in labels)


def _drop(labels: tuple[Label, ...]) -> tuple[Label, ...]:
    return ()


def _check_one_video(uid: str, place: Item, frame: Item) -> None:
    if place.frame_index is None or place.group != frame.group:
        raise StoreError(
            f"'{uid}' is in '{place.item_id}', and no track of the video of '{frame.item_id}'; "
            "give a frame of its own video"
        )


def _check_several(uids: Sequence[str]) -> None:
    if isinstance(uids, str) or len(set(uids)) < 2 or len(set(uids)) < len(uids):
        raise StoreError(f"objects {uids!r} cannot be merged: give two or more different uids")


def _class_name(name: str) -> str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise StoreError(f"class {name!r}: give a name of printable characters")
    return name.strip()
