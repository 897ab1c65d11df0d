"""How an edit is stored: checked against its version, appended, and applied to its items.

One transaction per edit: the objects are found, the edit is appended to the log
(`grounded_sam2.store.edit_log`), and the labels of its items are computed anew
(`grounded_sam2.store.apply_edits`) in every run that has them.
"""

from __future__ import annotations

import getpass
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, TypeAlias

from grounded_sam2.errors import StaleEditError, StoreError
from grounded_sam2.results import Label
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.store.edit_log import Change, EditLog, EditScope, NewEdit
from grounded_sam2.store.edit_records import Edit, EditAction, undo_stacks
from grounded_sam2.store.edit_targets import EditTargets, StoredObject, version_of
from grounded_sam2.store.items import Items
from grounded_sam2.store.objects import Objects
from grounded_sam2.store.records import Item, ItemRef, Run, id_of
from grounded_sam2.store.runs import Runs

__all__ = ["EditContext", "EditWriter", "Transform"]

Transform: TypeAlias = Callable[[tuple[Label, ...]], tuple[Label, ...]]
"""From the objects of an edit in one item to what they become."""


@dataclass(frozen=True, slots=True)
class EditContext:
    """Who edits, what they saw, and what a mask was made from."""

    run_id: int | None = None
    version: str | None = None
    actor: str | None = None
    prompts: Any = None
    model: str | None = None


class EditWriter:
    """Appends edits and applies them.

    Args:
        connection, runs, items, objects: of the store.
        log: the edits so far.
    """

    def __init__(
        self,
        connection: StoreConnection,
        runs: Runs,
        items: Items,
        objects: Objects,
        log: EditLog,
    ) -> None:
        self.targets = EditTargets(connection, items, objects)
        self._connection = connection
        self._runs = runs
        self._objects = objects
        self._log = log

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Context in which all edits are one transaction."""
        return self._connection.edit_transaction()

    # Reading

    def run(self, context: EditContext) -> Run:
        """The run whose labels the person sees."""
        return self._runs.get(context.run_id)

    def item(self, item: ItemRef, context: EditContext) -> Item:
        """A labeled image or frame of the run, as it is now."""
        return self.targets.item(self.run(context), id_of(item))

    def find(self, uid: str, item: ItemRef | None, context: EditContext) -> list[StoredObject]:
        """All places of an object in the run, or that in one item; see `EditTargets.objects`."""
        place = None if item is None else self.item(item, context)
        return self.targets.objects(self.run(context), uid, place)

    def scope(self, name: str, context: EditContext) -> EditScope:
        """The scope of an item or video: in the run, or in the last one that has it."""
        runs = [self.run(context), *reversed(self._runs.all())]
        return self.targets.scope(runs, name)

    def history(self, item: ItemRef, context: EditContext) -> list[Edit]:
        """All edits of an image, a frame or a video in order, undone ones included."""
        name = id_of(item)
        return self._log.history(self.scope(name, context), name)

    def number_of_edits(self, item: Item, context: EditContext) -> int:
        """Number of edits in the scope of an item, undos included."""
        return len(self._log.heads(self._objects.scope(self.run(context).id, item)))

    def version(self, item_or_uid: ItemRef, context: EditContext) -> str:
        """Version of an item, or of an object or track by its uid."""
        run, target = self.run(context), id_of(item_or_uid)
        if self.targets.is_item(run, target):
            return self._item_version(run, self.targets.item(run, target))
        return version_of([each.label for each in self.targets.objects(run, target)])

    # Writing

    def edit_objects(
        self,
        action: EditAction,
        uids: Sequence[str],
        transform: Transform,
        item: ItemRef | None,
        context: EditContext,
        params: Mapping[str, Any] | None = None,
        *,
        only: Callable[[Item], bool] = lambda item: True,
    ) -> Edit:
        """Append an edit of objects: of one item, or of tracks in all frames of a video.

        Args:
            action: its name.
            uids: the objects; of the first, the version is checked.
            transform: what becomes of them, item by item.
            item: the item that it is limited to; ``None`` for images and whole tracks.
            context: who edits.
            params: values of the action.
            only: which frames of tracks it changes.
        """
        with self.transaction():
            places = [self.find(uid, item, context) for uid in uids]
            self._check_version(uids[0], places[0], context)
            found = [each for of_one in places for each in _standing(of_one)]
            first = found[0].item
            if len({_scope_name(each.item) for each in found}) > 1:
                raise StoreError(f"{', '.join(map(repr, uids))} are not all of one image or video")
            of_tracks = item is None and first.frame_index is not None
            changes = [
                Change(place, labels, transform(labels))
                for place, labels in _by_item(each for each in found if only(each.item))
            ]
            rejected = [uid for uid, of_one in zip(uids, places, strict=True) if _is_out(of_one)]
            if of_tracks and rejected:  # so that the edit reaches frames to come, as rejected there
                params = {**(params or {}), "rejected": rejected}
            target = None if of_tracks else first.item_id
            return self._append(first, action, target, uids, changes, context, params)

    def edit_item(
        self,
        action: EditAction,
        item: Item,
        context: EditContext,
        *,
        uids: Sequence[str] = (),
        before: tuple[Label, ...] = (),
        after: tuple[Label, ...] = (),
        params: Mapping[str, Any] | None = None,
    ) -> Edit:
        """Append an edit of an item as a whole, whose version is checked."""
        with self.transaction():
            self._check_item_version(item, context)
            changes = [Change(item.item_id, before, after)] if before or after else []
            return self._append(item, action, item.item_id, uids, changes, context, params)

    def edit_frame(
        self,
        action: EditAction,
        frame: Item,
        before: list[Label],
        after: Label,
        context: EditContext,
    ) -> Edit:
        """Append an edit of a track on one frame, where it may not have been."""
        with self.transaction():
            change = Change(frame.item_id, tuple(before), (after,))
            return self._append(frame, action, frame.item_id, [after.uid], [change], context)

    def invert(
        self, action: Literal["undo", "redo"], item: ItemRef | None, context: EditContext
    ) -> Edit:
        """Append an undo of the last edit of an item, or of the store; or a redo of the last undo.

        Raises:
            StoreError: there is nothing to invert.
        """
        with self.transaction() as sql:
            scope = None if item is None else self.scope(id_of(item), context)
            to_undo, to_redo = undo_stacks(self._log.heads(scope))
            inverted = to_undo if action == "undo" else to_redo
            if not inverted:
                store = f"label store '{self._connection.path}'"
                where = store if item is None else f"'{id_of(item)}'"
                raise StoreError(f"{where} has no edit to {action}")
            scope = scope or self._log.scope_of(inverted[-1])
            original = self._log.original(inverted[-1])
            edit = NewEdit(
                action=action,
                item_id=original.item_id,
                uids=original.uids,
                actor=_actor(context),
                undoes=inverted[-1],
            )
            edit_id = self._log.append(sql, scope, original.size_hw, edit)
            self._apply(sql, scope, original.id, original.item_id, original.uids)
            return self._log.get(scope, edit_id)

    def _append(
        self,
        item: Item,
        action: EditAction,
        item_id: str | None,
        uids: Sequence[str],
        changes: Sequence[Change],
        context: EditContext,
        params: Mapping[str, Any] | None = None,
    ) -> Edit:
        """Append an edit of an item, or of tracks of its video, and apply it."""
        assert item.size_hw is not None, "a labeled item has a size"
        try:
            json.dumps(context.prompts)
        except (TypeError, ValueError) as error:
            raise StoreError(f"prompts of an edit must be JSON values: {error}") from error
        with self.transaction() as sql:
            run = self.run(context)
            seen = self.targets.unreviewed(run, item, in_video=item_id is None)
            scope = self._objects.scope(run.id, item)
            edit = NewEdit(
                action=action,
                item_id=item_id,
                uids=tuple(uids),
                actor=_actor(context),
                changes=changes,
                params=params,
                prompts=context.prompts,
                model=context.model,
                seen=seen - set(uids),
            )
            edit_id = self._log.append(sql, scope, item.size_hw, edit)
            self._apply(sql, scope, edit_id, item_id, uids)
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
            item_ids |= dict.fromkeys(self.targets.frames_with(scope, uids))
        runs = self._runs.all()
        for each in item_ids:
            for run_id, key, item in self.targets.runs_with(runs, scope, each):
                self._objects.apply_edits(sql, run_id, key, item)

    # Versions

    def _check_version(self, uid: str, found: Sequence[StoredObject], context: EditContext) -> None:
        labels = [each.label for each in found if each.label.uid == uid]
        current = version_of(labels)
        if context.version not in (None, current):
            raise StaleEditError(
                f"object '{uid}' has changed since version {context.version}; its version is "
                f"{current}: {labels[0].class_name}, {labels[0].review}. Look at it again, and "
                "edit with its version now",
                labels,
                current,
            )

    def check_version(self, uid: str, item_id: str | None, context: EditContext) -> None:
        """Raise `StaleEditError` if an object or track has another version than the person saw."""
        if context.version is not None:
            self._check_version(uid, self.find(uid, item_id, context), context)

    def _check_item_version(self, item: Item, context: EditContext) -> None:
        if context.version is None:
            return
        run = self.run(context)
        current = self._item_version(run, item)
        if context.version != current:
            labels = self.targets.labels(run, item)
            raise StaleEditError(
                f"'{item.item_id}' has changed since version {context.version}; its version is "
                f"{current}, with {len(labels)} objects. Look at it again, and edit with its "
                "version now",
                labels,
                current,
            )

    def _item_version(self, run: Run, item: Item) -> str:
        return version_of(self.targets.labels(run, item), item.is_confirmed, item.flag)


def _standing(places: Sequence[StoredObject]) -> Sequence[StoredObject]:
    """Places of an object without the frames where a person rejected it; all, if it was in all."""
    if _is_out(places):
        return places
    return [each for each in places if each.label.review != "rejected"]


def _is_out(places: Sequence[StoredObject]) -> bool:
    """Whether an object is rejected in all its places."""
    return all(each.label.review == "rejected" for each in places)


def _scope_name(item: Item) -> str | None:
    return item.item_id if item.frame_index is None else item.group


def _by_item(found: Iterable[StoredObject]) -> list[tuple[str, tuple[Label, ...]]]:
    """Labels of each item, in the order of the items."""
    ordered = sorted(found, key=lambda each: (each.item.frame_index or 0, each.item.item_id))
    return [
        (item_id, tuple(each.label for each in group))
        for item_id, group in groupby(ordered, key=lambda each: each.item.item_id)
    ]


def _actor(context: EditContext) -> str:
    if context.actor is not None:
        return context.actor
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a process without a user, as in some containers
        return "unknown"
