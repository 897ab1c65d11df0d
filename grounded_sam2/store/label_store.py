"""The label store: reads and writes the runs, items, objects and videos of one output folder.

    with LabelStore.create("labeled") as store:
        run = store.begin_run(run_config)
        store.register_items(run.id, [("a.jpg", Path("images/a.jpg"))])
        store.write_batch(run.id, outcomes)

    with LabelStore.open("labeled") as store:
        for item, labels in store.labels():
            ...

A batch is one transaction, so that an item is stored whole or not at all, however the process ends.
The tables are read and written by one class each: `Runs`, `Items`, `Objects`, `Edits`, `Videos`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from grounded_sam2.results import BrokenFrame, Label, Labels, RawPredictions, TrackedFrame
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.store.edit_log import EditLog
from grounded_sam2.store.edit_records import Edit
from grounded_sam2.store.edits import Edits
from grounded_sam2.store.items import Items
from grounded_sam2.store.objects import Objects
from grounded_sam2.store.records import (
    Item,
    ItemOutcome,
    ItemRef,
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
)
from grounded_sam2.store.rows import relative_path, utf8_safe
from grounded_sam2.store.runs import Runs
from grounded_sam2.store.videos import Videos

__all__ = ["LabelStore"]


class LabelStore:
    """The labels of one output folder. Open with `create` or `open`; a context manager.

    Where `run_id` is ``None``, the current run is meant: the one that was begun last. All methods
    raise `StoreError` for a run that does not exist and for a damaged file; those that write, for a
    store opened with `open`. Iterators hold one item or one label in memory at a time, so that a
    store of any size can be read.
    """

    FILE_NAME = "labels.db"

    def __init__(self, connection: StoreConnection) -> None:
        self._connection = connection
        log = EditLog(connection)
        self._objects = Objects(connection, log)
        self._items = Items(connection, self._objects)
        self._videos = Videos(connection, self._items, self._objects)
        self._runs = Runs(connection, self._items, self._videos)
        self.edits = Edits(connection, self._runs, self._items, self._objects, log)
        """People's edits."""

    @classmethod
    def create(cls, folder: str | Path) -> LabelStore:
        """Open the store of a folder for labeling; make folder and store where they are missing.

        Raises:
            StoreError: another process is labeling; the file is not a label store, is damaged, or
                was written by a later version.
        """
        return cls(StoreConnection.create(Path(folder) / cls.FILE_NAME))

    @classmethod
    def open(cls, folder: str | Path) -> LabelStore:
        """Open the store of a folder for reading and for edits, also while another process labels.

        A store of an earlier version is upgraded.

        Raises:
            StoreError: there is none; the file is not a label store, is damaged, was written by a
                later version, or by an earlier one and cannot be written.
        """
        return cls(StoreConnection.open(Path(folder) / cls.FILE_NAME))

    def close(self) -> None:
        """Close the file and release the writer lock. Calling it again has no effect."""
        self._connection.close()

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The file of the store."""
        return self._connection.path

    @property
    def folder(self) -> Path:
        """The output folder. Paths in the store are relative to it."""
        return self.path.parent

    def relative_path(self, location: Path | str) -> str:
        """A path relative to the store, which stays valid when images and labels move together.

        An address (text) is returned as it is.
        """
        if isinstance(location, Path):
            location = relative_path(location, self._connection.root)
        return utf8_safe(location)

    def snapshot(self) -> AbstractContextManager[None]:
        """Context in which all reads see one state of the store, also while others write.

        Nested, the outermost applies.
        """
        return self._connection.snapshot()

    # Runs

    def runs(self) -> list[Run]:
        """All runs, the current one last; ``[]`` if nothing was ever labeled."""
        return self._runs.all()

    def run(self, run_id: int | None = None) -> Run:
        """One run."""
        return self._runs.get(run_id)

    def run_of(self, run_config: RunConfig) -> Run | None:
        """The run of a configuration, if there is one."""
        return self._runs.find(run_config)

    def begin_run(
        self,
        run_config: RunConfig,
        *,
        ontology: OntologyPairs | None = None,
        settings: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
        new_run: bool = False,
    ) -> Run:
        """Continue the run of a configuration, or begin it; either way it becomes the current run.

        If its ontology has changed, all its labeled items become pending: their raw predictions
        stay, and post-processing is repeated. With videos that is impossible, since a detection on
        one frame changes the next: the configuration of a run of videos holds its ontology as well.
        A new run copies the raw predictions of the last run with the same inference options
        (`RunConfig.same_inference`).

        Args:
            run_config: what determines the labels.
            ontology: captions and classes; ``None`` for a task without captions.
            settings: the whole configuration, kept for the record.
            versions: package versions, kept for the record.
            new_run: begin another run beside those of other configurations. Without it, an unknown
                configuration is an error: an option changed by mistake should not start hours of
                work again.

        Raises:
            StoreError: the store holds runs of the same kind (`RunConfig.kind`), all with other
                configurations, and `new_run` is false. The message names each difference to the
                last one. Runs that ended before anything was written do not count, and are deleted.
                Or the run has videos, and its ontology has changed.
        """
        return self._runs.begin(
            run_config,
            ontology=ontology,
            settings=settings or {},
            versions=versions or {},
            new_run=new_run,
        )

    # Items

    def register_items(
        self, run_id: int, items: Iterable[tuple[str, Path | None]], *, prune: bool = False
    ) -> Registration:
        """Add the items of a source to a run as pending, so that an interrupted run can continue.

        Args:
            run_id: the run.
            items: item id and file of every image of the source, in the source's order. Items
                that the run has stay as they are.
            prune: delete items that are no longer in the source, with their labels. Without it,
                only those without labels and raw predictions are deleted.
        """
        return self._items.register(run_id, items, prune=prune)

    def write_batch(self, run_id: int, outcomes: Sequence[ItemOutcome]) -> None:
        """Write the outcomes of a batch of items in one transaction; earlier ones are replaced.

        Boxes are rounded to hundredths of a pixel, confidence and mask quality to four decimals.

        Raises:
            StoreError: a mask has another size than its image.
        """
        self._items.write_batch(run_id, outcomes)

    def update_file_stamps(self, run_id: int, items: Sequence[Item]) -> None:
        """Replace the file stamps of items whose content has not changed."""
        self._items.update_file_stamps(run_id, items)

    def item_states(self, run_id: int, item_ids: Sequence[str]) -> dict[str, ItemState]:
        """Stored states of items, by the ids given; items that the run does not have are absent."""
        return self._items.states(run_id, item_ids)

    def predictions(self, run_id: int, item_id: str) -> tuple[Item, RawPredictions] | None:
        """An item and its raw predictions; ``None`` if the detector was not run on it."""
        return self._items.predictions(run_id, item_id)

    def pending_postprocess(self, run_id: int) -> list[str]:
        """Ids of items that have raw predictions and no labels, in order."""
        return self._items.pending_postprocess(run_id)

    def done_items(self, run_id: int | None = None) -> Iterator[Item]:
        """Labeled items, in the order of `labels`."""
        run_id = self.run(run_id).id
        yield from self._items.done_images(run_id)
        yield from self._videos.done_frames(run_id)

    def failures(self, run_id: int | None = None) -> Iterator[tuple[Item, str]]:
        """Items that could not be labeled, and why, by item id."""
        yield from self._items.failures(self.run(run_id).id)

    # Labels

    def labels(self, run_id: int | None = None) -> Iterator[tuple[Item, Labels]]:
        """Labeled items and their objects: images by item id (by code point), then frames by video.

        Items without objects have empty `Labels`; pending and failed items are left out.
        """
        run_id = self.run(run_id).id
        yield from self._objects.of_images(run_id)
        yield from self._videos.all_labels(run_id)

    def labels_of(self, run_id: int, item_id: str) -> Labels | None:
        """Objects of one item; ``None`` if it is not labeled."""
        return self._objects.of_item(run_id, item_id)

    def objects(
        self, item: ItemRef, *, run_id: int | None = None, include_rejected: bool = False
    ) -> tuple[Label, ...]:
        """Objects of one image or frame in order, with uid and review state.

        Args:
            item: the item, or its id.
            run_id: the run.
            include_rejected: also those that a person rejected, after the others.

        Raises:
            StoreError: the run has no labels of the item.
        """
        found = self.edits.objects(item, run_id=run_id)
        return tuple(each for each in found if include_rejected or each.review != "rejected")

    def history(self, item: ItemRef, *, run_id: int | None = None) -> list[Edit]:
        """All edits of one image, frame or video in order, undone ones included."""
        return self.edits.history(item, run_id=run_id)

    def with_edits(self, run_id: int, item: Item, proposals: Labels) -> Labels:
        """Labels that were post-processed anew, with people's edits applied.

        Args:
            run_id: the run.
            item: an item of it.
            proposals: its labels before edits, from candidates of `predictions`, whose uids they
                have.
        """
        return self._objects.with_edits(run_id, item, proposals).labels

    def classes(self, run_id: int | None = None) -> list[str]:
        """Classes in the ontology's order, then, sorted, those that only objects have."""
        run = self.run(run_id)
        return _classes(run.ontology, self._objects.count_by_class(run.id))

    def summary(self, run_id: int | None = None) -> StoreSummary:
        """Counts of a run."""
        with self.snapshot():
            run = self.run(run_id)
            items = self._items.count_by_status(run.id)
            reviews = self._objects.count_by_review(run.id)
            objects = self._objects.count_by_class(run.id)
            return StoreSummary(
                run_id=run.id,
                images=items.get("done", 0),
                background=self._items.count_background(run.id),
                failed=items.get("failed", 0),
                pending=items.get("pending", 0),
                objects_per_class={
                    name: objects.get(name, 0) for name in _classes(run.ontology, objects)
                },
                dropped_candidates=self._items.count_dropped_candidates(run.id),
                review=ReviewCounts(
                    reviews.get("accepted", 0),
                    reviews.get("rejected", 0),
                    reviews.get("unreviewed", 0),
                    *self._items.count_reviewed(run.id),
                ),
            )

    # Videos

    def videos(self, run_id: int | None = None) -> list[StoredVideo]:
        """All videos of a run, by name; ``[]`` for a run of images."""
        return self._videos.all(self.run(run_id).id)

    def video(self, run_id: int, name: str) -> StoredVideo | None:
        """One video; ``None`` if the run has none of this name."""
        return self._videos.get(run_id, name)

    def begin_video(
        self, run_id: int, record: VideoRecord, *, restart: bool = False
    ) -> StoredVideo:
        """Continue a video, or begin it.

        A video whose file or stride has changed begins from the start: its frames are deleted
        (`VideoRecord.continues`). The error of an earlier attempt is deleted too.

        Args:
            run_id: the run.
            record: the video.
            restart: begin it from the start in any case.

        Returns:
            The video, and its progress.
        """
        return self._videos.begin(run_id, record, restart=restart)

    def write_frames(
        self,
        run_id: int,
        video: str,
        frames: Sequence[TrackedFrame],
        *,
        state: bytes | None = None,
        broken_frames: int | None = None,
        broken: Sequence[BrokenFrame] = (),
        finished: bool = False,
    ) -> None:
        """Write a batch of frames in one transaction; stored frames of these indices are replaced.

        Args:
            run_id: the run.
            video: name of a video of the run.
            frames: labels, rounded as by `write_batch`; may be empty.
            state: tracker state to continue from after these frames; replaces the earlier one.
            broken_frames: number of frames of the video that could not be decoded so far;
                unchanged if ``None``.
            broken: those not passed in earlier calls, with their reasons; the first 100 of a video
                are kept.
            finished: whether these were the last frames of the video.

        Raises:
            StoreError: the run has no such video, or a frame has another size than its video.
        """
        self._videos.write_frames(
            run_id,
            video,
            frames,
            state=state,
            broken_frames=broken_frames,
            broken=broken,
            finished=finished,
        )

    def fail_video(self, run_id: int, name: str, error: str) -> None:
        """Record why a video cannot be labeled further. Its frames and tracker state stay.

        Raises:
            StoreError: the run has no such video.
        """
        self._videos.fail(run_id, name, error)

    def tracker_state(self, run_id: int, name: str) -> bytes | None:
        """Tracker state to continue an unfinished video from; ``None`` if there is none."""
        return self._videos.tracker_state(run_id, name)

    def broken_frames(self, run_id: int, name: str) -> list[BrokenFrame]:
        """The first 100 frames of one video that could not be decoded, in order.

        Their total number is `StoredVideo.broken_frames`.

        Raises:
            StoreError: the run has no such video.
        """
        return self._videos.broken_frames(run_id, name)

    def frames(self, run_id: int, name: str) -> Iterator[tuple[Item, Labels]]:
        """Labeled frames of one video in order, those without objects included.

        Raises:
            StoreError: the run has no such video.
        """
        return self._videos.labels(run_id, name)

    def tracks(self, run_id: int, name: str) -> list[StoredTrack]:
        """Tracks of one video, by track id; ``[]`` if it has none.

        Raises:
            StoreError: the run has no such video.
        """
        return self._videos.tracks(run_id, name)

    def labels_by_track(self, run_id: int, name: str) -> Iterator[tuple[int, Label]]:
        """Frame index and label of every tracked object of one video, by track id and frame.

        Raises:
            StoreError: the run has no such video.
        """
        return self._videos.labels_by_track(run_id, name)


def _classes(ontology: OntologyPairs | None, in_objects: Iterable[str]) -> list[str]:
    named = (name for _, name in ontology or ())
    return list(dict.fromkeys([*named, *in_objects]))
