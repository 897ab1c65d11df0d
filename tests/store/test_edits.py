"""Edits of images and videos: what each does, what it refuses, and how it is undone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fixtures.stored_values import ONTOLOGY, RUN_CONFIG

from grounded_sam2.errors import StaleEditError, StoreError
from grounded_sam2.geometry.rle import Rle, encode
from grounded_sam2.results import Candidate, Label, Labels, RawPredictions, TrackedFrame
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig, VideoRecord

SIZE = (20, 30)
VIDEO = "clip.mp4"
VIDEO_CONFIG = RunConfig(models={"detector": "d", "tracker": "t"}, inference={})


def mask(left: int, top: int = 5, width: int = 8, height: int = 8) -> Rle:
    pixels = np.zeros(SIZE, np.bool_)
    pixels[top : top + height, left : left + width] = True
    return encode(pixels[None])[0]


def label(shape: Rle, confidence: float | None = 0.9, **changes: object) -> Label:
    made = Label("ball", "red circle", shape.bbox_xyxy, shape, confidence, 0.8)
    return replace(made, detected_box_xyxy=shape.bbox_xyxy, **changes)  # type: ignore[arg-type]


LEFT, RIGHT, WEAK = mask(2), mask(18), mask(0, 14, 6, 6)


def outcome(item_id: str, *shapes: Rle, weak: tuple[Rle, ...] = ()) -> ItemOutcome:
    """A labeled image; `weak` are candidates below the threshold."""
    candidates = [
        Candidate("red circle", shape.bbox_xyxy, shape, confidence, 0.8)
        for confidence, group in ((0.9, shapes), (0.2, weak))
        for shape in group
    ]
    return ItemOutcome(
        Item(item_id, None, f"hash of {item_id}", SIZE),
        Labels(SIZE, tuple(label(shape) for shape in shapes)),
        predictions=RawPredictions(frozenset({"red circle"}), tuple(candidates)),
        statuses=("label",) * len(shapes) + ("low_confidence",) * len(weak),
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    """Two balls in ``a.jpg``, one in ``b.jpg``, none in ``empty.jpg``."""
    with LabelStore.create(tmp_path) as store:
        run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
        store.write_batch(
            run.id,
            [
                outcome("a.jpg", LEFT, RIGHT, weak=(WEAK,)),
                outcome("b.jpg", LEFT),
                outcome("empty.jpg"),
            ],
        )
    with LabelStore.open(tmp_path) as store:
        yield store


@pytest.fixture
def uid(store: LabelStore) -> str:
    """The left ball of ``a.jpg``."""
    return store.objects("a.jpg")[0].uid


def states(store: LabelStore, item: str = "a.jpg") -> list[tuple[str, str, str]]:
    return [
        (each.class_name, each.review, each.origin)
        for each in store.objects(item, include_rejected=True)
    ]


UNTOUCHED = ("ball", "unreviewed", "model")


class TestObjects:
    def test_accept(self, store: LabelStore, uid: str) -> None:
        edit = store.edits.accept(uid, actor="ann")
        assert states(store) == [("ball", "accepted", "human"), UNTOUCHED]
        assert (edit.action, edit.item_id, edit.uids, edit.actor) == (
            "accept",
            "a.jpg",
            (uid,),
            "ann",
        )
        assert edit.at.endswith("+00:00")
        assert (edit.before[0].review, edit.after[0].review) == ("unreviewed", "accepted")
        assert store.history("a.jpg") == [edit]

    def test_reject_removes_it_from_the_labels(self, store: LabelStore, uid: str) -> None:
        store.edits.reject(uid)
        assert uid not in {each.uid for each in store.objects("a.jpg")}
        assert states(store) == [UNTOUCHED, ("ball", "rejected", "model")]
        assert uid not in {each.uid for _, labels in store.labels() for each in labels.objects}
        assert store.summary().objects_per_class["ball"] == 2

    def test_a_rejected_object_can_be_accepted(self, store: LabelStore, uid: str) -> None:
        store.edits.reject(uid)
        store.edits.accept(uid)
        assert sorted(states(store)) == sorted([("ball", "accepted", "human"), UNTOUCHED])

    def test_delete(self, store: LabelStore, uid: str) -> None:
        store.edits.delete(uid)
        assert states(store) == [UNTOUCHED]

    def test_a_deleted_object_of_a_model_can_be_accepted(self, store: LabelStore, uid: str) -> None:
        before = store.objects("a.jpg")[0]
        store.edits.delete(uid)
        store.edits.accept(uid)
        [accepted] = [each for each in store.objects("a.jpg") if each.uid == uid]
        assert accepted.mask == before.mask

    def test_relabel_to_a_new_class(self, store: LabelStore, uid: str) -> None:
        store.edits.relabel(uid, " cat ")
        assert states(store)[0] == ("cat", "accepted", "human")
        assert store.objects("a.jpg")[0].caption == "red circle"
        assert store.classes() == ["ball", "box", "cat"]

    @pytest.mark.parametrize("shape", [mask(3, 3), mask(3, 3).decode()], ids=["rle", "array"])
    def test_reshape(self, store: LabelStore, uid: str, shape: object) -> None:
        store.edits.reshape(uid, shape, prompts={"points": [[4, 4]]}, model="sam2")
        [edit] = store.history("a.jpg")
        assert (edit.prompts, edit.model) == ({"points": [[4, 4]]}, "sam2")
        found = store.objects("a.jpg")[0]
        assert (found.mask, found.box_xyxy) == (mask(3, 3), (3.0, 3.0, 11.0, 11.0))
        assert (found.confidence, found.mask_quality) == (0.9, None)  # of the earlier mask

    def test_reshape_to_a_box(self, store: LabelStore, uid: str) -> None:
        store.edits.reshape(uid, box=(-4, 2, 10, 99))
        found = store.objects("a.jpg")[0]
        assert (found.mask, found.box_xyxy) == (None, (0.0, 2.0, 10.0, 20.0))

    def test_add(self, store: LabelStore) -> None:
        uid = store.edits.add("empty.jpg", "cat", mask(3))
        [found] = store.objects("empty.jpg")
        assert (found.uid, found.class_name, found.review) == (uid, "cat", "accepted")
        assert (found.confidence, found.mask_quality) == (None, None)

    def test_equal_objects_added_twice_are_two(self, store: LabelStore) -> None:
        uids = {store.edits.add("a.jpg", "cat", mask(3)) for _ in range(2)}
        assert len(uids) == 2
        assert len(store.objects("a.jpg")) == 4

    def test_split(self, store: LabelStore, uid: str) -> None:
        parts = [mask(2, 5, 4), mask(6, 5, 4)]
        uids = store.edits.split(uid, parts)
        found = {each.uid: each for each in store.objects("a.jpg")}
        assert [found[each].mask for each in uids] == parts
        assert uid not in found
        assert {found[each].confidence for each in uids} == {None}

    def test_merge_is_the_union_under_the_first_uid(self, store: LabelStore, uid: str) -> None:
        other = store.objects("a.jpg")[1].uid
        store.edits.merge([other, uid])
        [merged] = store.objects("a.jpg")
        assert (merged.uid, merged.box_xyxy) == (other, (2.0, 5.0, 26.0, 13.0))
        assert merged.mask is not None
        assert merged.mask.area == LEFT.area + RIGHT.area

    def test_a_candidate_below_the_threshold_can_be_accepted(self, store: LabelStore) -> None:
        found = store.predictions(1, "a.jpg")
        assert found is not None
        store.edits.accept(found[1].candidates[2].uid)
        assert states(store)[-1] == ("ball", "accepted", "human")
        assert store.objects("a.jpg")[-1].mask == WEAK


class TestItems:
    def test_confirm_accepts_all_objects(self, store: LabelStore) -> None:
        store.edits.confirm("a.jpg")
        assert states(store) == [("ball", "accepted", "human")] * 2
        items = {item.item_id: item for item, _ in store.labels()}
        assert [items[name].is_confirmed for name in ("a.jpg", "b.jpg")] == [True, False]

    def test_an_image_without_objects_can_be_confirmed(self, store: LabelStore) -> None:
        store.edits.confirm("empty.jpg")
        [item] = [item for item, _ in store.labels() if item.item_id == "empty.jpg"]
        assert (item.is_reviewed, item.is_confirmed) == (True, True)

    def test_flag_and_its_removal(self, store: LabelStore) -> None:
        store.edits.flag("b.jpg", "blurred?")
        assert {i.item_id: i.flag for i, _ in store.labels()}["b.jpg"] == "blurred?"
        assert store.summary().review.reviewed_images == 0
        store.edits.flag("b.jpg", None)
        assert {i.item_id: i.flag for i, _ in store.labels()}["b.jpg"] is None

    def test_counts(self, store: LabelStore, uid: str) -> None:
        store.edits.reject(uid)
        store.edits.confirm("b.jpg")
        store.edits.flag("empty.jpg", "?")
        review = store.summary().review
        assert (review.accepted, review.rejected, review.unreviewed) == (1, 1, 1)
        assert (review.reviewed_images, review.confirmed_images, review.flagged_images) == (2, 1, 1)


def test_an_item_can_be_given_as_the_store_yields_it(store: LabelStore) -> None:
    for item, labels in list(store.labels()):
        assert store.objects(item) == labels.objects
        uid = store.edits.add(item, "cat", mask(3, 1, 2, 2))
        store.edits.relabel(uid, "dog", item=item)
        store.edits.flag(item, "?")
        store.edits.confirm(item, version=store.edits.version(item))
        store.edits.undo(item)
        assert [edit.action for edit in store.history(item)] == [
            *("add", "relabel", "flag", "confirm", "undo"),
        ]


class TestUndo:
    def test_undo_and_redo_go_through_the_edits_of_an_image(
        self, store: LabelStore, uid: str
    ) -> None:
        first = states(store)
        store.edits.accept(uid)
        store.edits.relabel(uid, "cat")
        store.edits.confirm("b.jpg")  # of another image: not in this order
        store.edits.undo("a.jpg")
        assert states(store)[0] == ("ball", "accepted", "human")
        store.edits.undo("a.jpg")
        assert states(store) == first
        with pytest.raises(StoreError, match=r"a\.jpg.*undo"):
            store.edits.undo("a.jpg")
        store.edits.redo("a.jpg")
        store.edits.redo("a.jpg")
        assert states(store)[0] == ("cat", "accepted", "human")
        with pytest.raises(StoreError, match=r"a\.jpg.*redo"):
            store.edits.redo("a.jpg")

    def test_a_new_edit_ends_what_can_be_redone(self, store: LabelStore, uid: str) -> None:
        store.edits.accept(uid)
        store.edits.undo("a.jpg")
        store.edits.relabel(uid, "cat")
        with pytest.raises(StoreError, match="redo"):
            store.edits.redo("a.jpg")

    def test_without_an_image_the_last_edit_of_all_is_undone(
        self, store: LabelStore, uid: str
    ) -> None:
        store.edits.accept(uid)
        store.edits.confirm("b.jpg")
        assert store.edits.undo().item_id == "b.jpg"
        assert store.edits.redo().item_id == "b.jpg"
        assert store.edits.undo().item_id == "b.jpg"
        assert store.edits.undo().item_id == "a.jpg"
        with pytest.raises(StoreError, match="no edit to undo"):
            store.edits.undo()

    def test_history_keeps_what_was_undone(self, store: LabelStore, uid: str) -> None:
        store.edits.accept(uid, actor="ann")
        store.edits.undo("a.jpg", actor="bob")
        accept, undo = store.history("a.jpg")
        assert (accept.is_undone, undo.undoes, undo.is_undone) == (True, accept.id, False)
        assert (accept.actor, undo.actor) == ("ann", "bob")

    def test_undo_survives_a_restart(self, store: LabelStore, uid: str) -> None:
        before = list(store.labels())
        store.edits.reject(uid)
        with LabelStore.open(store.folder) as other:
            other.edits.undo("a.jpg")
        assert list(store.labels()) == before


class TestVersions:
    def test_an_edit_of_what_has_changed_is_refused_with_its_state(
        self, store: LabelStore, uid: str
    ) -> None:
        version = store.edits.version(uid)
        assert version == store.objects("a.jpg")[0].version
        store.edits.relabel(uid, "cat", version=version)
        with pytest.raises(StaleEditError, match="cat, accepted") as refused:
            store.edits.accept(uid, version=version)
        [current] = refused.value.current
        assert (current.class_name, refused.value.version) == ("cat", current.version)
        assert len(store.history("a.jpg")) == 1
        store.edits.accept(uid, version=refused.value.version)

    def test_an_image_has_a_version_of_all_its_objects(self, store: LabelStore, uid: str) -> None:
        version = store.edits.version("a.jpg")
        store.edits.accept(uid)
        for edit in (
            lambda: store.edits.confirm("a.jpg", version=version),
            lambda: store.edits.flag("a.jpg", "?", version=version),
            lambda: store.edits.add("a.jpg", "cat", mask(1), version=version),
        ):
            with pytest.raises(StaleEditError, match="2 objects"):
                edit()
        store.edits.confirm("a.jpg", version=store.edits.version("a.jpg"))

    def test_a_new_decision_of_the_models_is_a_change(self, store: LabelStore, uid: str) -> None:
        version = store.edits.version(uid)
        with LabelStore.create(store.folder) as labeling:
            labeling.write_batch(1, [outcome("a.jpg", LEFT)])
            assert store.edits.version(uid) == version  # as it was
            cleaned_up = Labels(SIZE, (label(mask(2, 5, 7), uid=uid),))
            labeling.write_batch(1, [replace(outcome("a.jpg", LEFT), labels=cleaned_up)])
        with pytest.raises(StaleEditError):
            store.edits.accept(uid, version=version)


class TestRefusals:
    @pytest.mark.parametrize(
        "edit",
        [
            lambda edits: edits.accept("0123456789abcdef"),
            lambda edits: edits.accept("0123456789abcdef", item="a.jpg"),
            lambda edits: edits.confirm("c.jpg"),
            lambda edits: edits.add("c.jpg", "cat", mask(1)),
            lambda edits: edits.undo("c.jpg"),
            lambda edits: edits.history("c.jpg"),
        ],
    )
    def test_an_unknown_object_or_image(
        self, store: LabelStore, edit: Callable[[object], object]
    ) -> None:
        with pytest.raises(StoreError, match=r"0123456789abcdef|c\.jpg"):
            edit(store.edits)
        assert store.edits.count() == 0

    def test_an_object_in_another_image(self, store: LabelStore, uid: str) -> None:
        with pytest.raises(StoreError, match=r"b\.jpg"):
            store.edits.accept(uid, item="b.jpg")

    def test_objects_of_two_images_are_not_merged(self, store: LabelStore, uid: str) -> None:
        [other] = store.objects("b.jpg")
        with pytest.raises(StoreError, match="several images"):
            store.edits.merge([uid, other.uid])
        for uids in ([uid], [uid, uid], uid):
            with pytest.raises(StoreError, match="two or more"):
                store.edits.merge(uids)

    @pytest.mark.parametrize("name", ["", "  ", "a\nb", 7])
    def test_a_class_that_is_no_name(self, store: LabelStore, uid: str, name: object) -> None:
        with pytest.raises(StoreError, match="printable"):
            store.edits.relabel(uid, name)  # type: ignore[arg-type]

    def test_a_note_that_is_no_text(self, store: LabelStore) -> None:
        with pytest.raises(StoreError, match="note 7: give text"):
            store.edits.flag("a.jpg", 7)  # type: ignore[arg-type]

    def test_prompts_that_are_no_json(self, store: LabelStore, uid: str) -> None:
        with pytest.raises(StoreError, match="JSON"):
            store.edits.reshape(uid, mask(1), prompts={1, 2})
        assert states(store)[0] == UNTOUCHED

    def test_edits_of_tracks_on_images(self, store: LabelStore, uid: str) -> None:
        other = store.objects("a.jpg")[1].uid
        for edit in (
            lambda: store.edits.anchor(uid, "a.jpg", mask(1)),
            lambda: store.edits.end_track(uid, "a.jpg"),
            lambda: store.edits.merge_tracks([uid, other]),
        ):
            with pytest.raises(StoreError, match=r"no track|no frame"):
                edit()

    def test_edits_within_a_snapshot(self, store: LabelStore, uid: str) -> None:
        with store.snapshot(), pytest.raises(StoreError, match="snapshot"):
            store.edits.accept(uid)

    def test_a_batch_is_stored_as_a_whole_or_not_at_all(self, store: LabelStore, uid: str) -> None:
        def accept_and_fail() -> None:
            with store.edits.batch():
                store.edits.accept(uid)
                store.edits.accept("unknown")

        with pytest.raises(StoreError, match="unknown"):
            accept_and_fail()
        assert (store.edits.count(), states(store)[0]) == (0, UNTOUCHED)

    def test_the_log_is_append_only(self, store: LabelStore, uid: str) -> None:
        store.edits.accept(uid)
        connection = sqlite3.connect(store.path)
        for statement in (
            "DELETE FROM edits",
            "UPDATE edits SET actor = 'eve'",
            "DELETE FROM edited_objects",
            "UPDATE edited_objects SET class_name = 'eve'",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                connection.execute(statement)
        connection.close()


# Videos


def tracked(index: int, *tracks: int, shift: int = 0) -> TrackedFrame:
    """A frame with a ball of each track, far from each other."""
    labels = [
        label(mask(2 + 14 * (number - 1) + shift, 5), track_id=number, track_origin="forwards")
        for number in tracks
    ]
    return TrackedFrame(index, index / 10, Labels(SIZE, tuple(labels)))


@pytest.fixture
def video(tmp_path: Path) -> Iterator[LabelStore]:
    """Two tracks on frames 0 to 5 of a video that is not finished."""
    with LabelStore.create(tmp_path) as store:
        run = store.begin_run(VIDEO_CONFIG)
        store.begin_video(run.id, VideoRecord(VIDEO, None, SIZE, content_hash="bytes"))
        store.write_frames(run.id, VIDEO, [tracked(index, 1, 2) for index in range(6)])
    with LabelStore.open(tmp_path) as store:
        yield store


def frame(index: int) -> str:
    return f"{VIDEO}/{index:06}"


def tracks(store: LabelStore, run_id: int = 1) -> list[tuple[int, str, int, int, int]]:
    """Track id, class, frames, first and last frame."""
    return [
        (each.track_id, each.class_name, each.frames, each.first_index, each.last_index)
        for each in store.tracks(run_id, VIDEO)
    ]


def go_on(store: LabelStore, *frames: TrackedFrame) -> None:
    """Label further frames of the video, in a process of its own."""
    with LabelStore.create(store.folder) as labeling:
        labeling.write_frames(1, VIDEO, frames)


class TestTracks:
    def uids(self, store: LabelStore) -> list[str]:
        return [each.uid for each in store.objects(frame(0))]

    def test_an_object_has_one_uid_in_all_frames(self, video: LabelStore) -> None:
        assert {tuple(each.uid for each in labels.objects) for _, labels in video.labels()} == {
            tuple(self.uids(video))
        }

    def test_relabel_concerns_all_frames_and_those_to_come(self, video: LabelStore) -> None:
        first, _ = self.uids(video)
        edit = video.edits.relabel(first, "cat")
        assert (edit.item_id, edit.video) == (None, VIDEO)
        go_on(video, tracked(6, 1, 2), tracked(7, 1, 2))
        assert tracks(video) == [(1, "cat", 8, 0, 7), (2, "ball", 8, 0, 7)]
        video.edits.undo(VIDEO)
        assert tracks(video) == [(1, "ball", 8, 0, 7), (2, "ball", 8, 0, 7)]

    def test_reject_concerns_all_frames_and_those_to_come(self, video: LabelStore) -> None:
        _, second = self.uids(video)
        video.edits.reject(second)
        go_on(video, tracked(6, 1, 2))
        assert tracks(video) == [(1, "ball", 7, 0, 6)]
        assert video.summary().review.rejected == 7
        video.edits.undo(frame(6))  # any frame stands for its video
        assert tracks(video) == [(1, "ball", 7, 0, 6), (2, "ball", 7, 0, 6)]

    def test_an_edit_with_a_frame_concerns_it_alone(self, video: LabelStore) -> None:
        first, _ = self.uids(video)
        video.edits.reject(first, item=frame(2))
        assert tracks(video)[0] == (1, "ball", 5, 0, 5)
        assert [each.track_id for each in video.objects(frame(2))] == [2]

    def test_an_edit_of_a_track_leaves_frames_out_where_it_was_rejected(
        self, video: LabelStore
    ) -> None:
        first, second = self.uids(video)
        video.edits.reject(first, item=frame(2))
        video.edits.relabel(first, "cat")
        video.edits.accept(first)
        assert tracks(video)[0] == (1, "cat", 5, 0, 5)
        found = video.objects(frame(2), include_rejected=True)
        assert [(each.uid, each.review) for each in found] == [
            (second, "unreviewed"),
            (first, "rejected"),
        ]
        video.edits.merge_tracks([first, second])  # there, it is the second alone
        assert video.objects(frame(2))[0].box_xyxy[0] == 16.0

    def test_a_track_that_was_rejected_as_a_whole_can_be_accepted(self, video: LabelStore) -> None:
        first, _ = self.uids(video)
        video.edits.reject(first)
        video.edits.accept(first)
        assert tracks(video)[0] == (1, "ball", 6, 0, 5)
        go_on(video, tracked(6, 1, 2))
        assert tracks(video)[0] == (1, "ball", 7, 0, 6)

    def test_accepted_on_one_frame_it_stays_rejected_on_the_others(self, video: LabelStore) -> None:
        first, _ = self.uids(video)
        video.edits.reject(first)
        video.edits.accept(first, item=frame(2))
        video.edits.relabel(first, "cat")
        go_on(video, tracked(6, 1, 2))
        assert tracks(video)[0] == (1, "cat", 1, 2, 2)

    def test_end_track(self, video: LabelStore) -> None:
        first, _ = self.uids(video)
        video.edits.end_track(first, frame(3))
        go_on(video, tracked(6, 1, 2))
        assert tracks(video) == [(1, "ball", 4, 0, 3), (2, "ball", 7, 0, 6)]

    def test_anchor_sets_the_mask_on_one_frame(self, video: LabelStore) -> None:
        first, _ = self.uids(video)
        video.edits.anchor(first, frame(2), mask(0, 0))
        [anchored, other] = video.objects(frame(2))
        assert (anchored.mask, anchored.track_id, anchored.origin) == (mask(0, 0), 1, "human")
        assert other.origin == "model"
        go_on(video, tracked(2, 1, 2))  # the frame is labeled again
        assert video.objects(frame(2))[0].mask == mask(0, 0)

    def test_anchor_on_a_frame_where_the_track_was_lost(self, video: LabelStore) -> None:
        first, _ = self.uids(video)
        go_on(video, tracked(6, 2))
        video.edits.anchor(first, frame(6), mask(1))
        assert tracks(video) == [(1, "ball", 7, 0, 6), (2, "ball", 7, 0, 6)]

    def test_merge_tracks(self, video: LabelStore) -> None:
        first, second = self.uids(video)
        video.edits.relabel(first, "cat")
        video.edits.end_track(first, frame(2))
        video.edits.merge_tracks([first, second])
        assert tracks(video) == [(1, "cat", 6, 0, 5)]
        # On frames with both, the label of the first stays.
        boxes = [video.objects(frame(index))[0].box_xyxy[0] for index in range(6)]
        assert boxes == [2.0, 2.0, 2.0, 16.0, 16.0, 16.0]
        go_on(video, tracked(6, 2))
        assert tracks(video) == [(1, "cat", 7, 0, 6)]

    def test_an_object_that_a_person_adds_is_a_track_of_its_own(self, video: LabelStore) -> None:
        uid = video.edits.add(frame(1), "dog", mask(0, 14, 5, 5))
        number, *rest = tracks(video)[-1]
        assert (number > 1_000_000, rest) == (True, ["dog", 1, 1, 1])
        video.edits.anchor(uid, frame(2), mask(1, 14, 5, 5))
        assert tracks(video)[-1] == (number, "dog", 2, 1, 2)

    def test_a_frame_of_another_video_is_refused(self, video: LabelStore) -> None:
        first, _ = self.uids(video)
        with LabelStore.create(video.folder) as labeling:
            labeling.begin_video(1, VideoRecord("other.mp4", None, SIZE, content_hash="others"))
            labeling.write_frames(1, "other.mp4", [tracked(0, 1), tracked(1, 1)])
        before = list(video.labels())
        for edit in (
            lambda: video.edits.anchor(first, "other.mp4/000001", mask(1)),
            lambda: video.edits.end_track(first, "other.mp4/000000"),
        ):
            with pytest.raises(StoreError, match=r"its own video"):
                edit()
        assert (list(video.labels()), video.edits.count()) == (before, 0)

    def test_undo_goes_through_the_edits_of_the_video(self, video: LabelStore) -> None:
        before = list(video.labels())
        first, second = self.uids(video)
        video.edits.relabel(first, "cat")
        video.edits.anchor(second, frame(1), mask(20, 10))
        video.edits.confirm(frame(4))
        video.edits.merge_tracks([second, first])
        for _ in range(4):
            video.edits.undo(VIDEO)
        assert list(video.labels()) == before

    def test_a_person_s_tracks_stay_in_a_run_with_another_model(self, video: LabelStore) -> None:
        first, second = self.uids(video)
        video.edits.relabel(first, "cat")
        video.edits.reject(second)
        other = replace(VIDEO_CONFIG, models={"detector": "other", "tracker": "t"})
        with LabelStore.create(video.folder) as labeling:
            run = labeling.begin_run(other, new_run=True)
            labeling.begin_video(run.id, VideoRecord(VIDEO, None, SIZE, content_hash="bytes"))
            # It numbers them the other way round, and sees them a pixel further.
            frames = [tracked(index, 1, 2, shift=1) for index in range(8)]
            labeling.write_frames(run.id, VIDEO, frames)
        [(number, *rest), *others] = tracks(video, run.id)[::-1]
        assert (number > 1_000_000, rest) == (True, ["cat", 6, 0, 5])
        # Frames that the person has not seen show what the new model tracks there.
        assert [(first, last) for _, _, _, first, last in others] == [(6, 7), (6, 7)]
        assert tracks(video, 1) == [(1, "cat", 6, 0, 5)]

    def test_a_reshape_needs_the_frame(self, video: LabelStore) -> None:
        first, _ = self.uids(video)
        with pytest.raises(StoreError, match="6 frames"):
            video.edits.reshape(first, mask(1))
        video.edits.reshape(first, mask(1), item=frame(3))
        assert video.objects(frame(3))[0].mask == mask(1)

    def test_edits_wait_for_frames_that_are_labeled_again(self, video: LabelStore) -> None:
        first, second = self.uids(video)
        video.edits.reject(second)
        record = VideoRecord(VIDEO, None, SIZE, content_hash="bytes")
        with LabelStore.create(video.folder) as labeling:
            labeling.begin_video(1, record, restart=True)
            assert list(labeling.labels()) == []
            labeling.write_frames(1, VIDEO, [tracked(index, 1, 2) for index in range(3)])
        assert tracks(video) == [(1, "ball", 3, 0, 2)]
        assert [each.uid for each in video.objects(frame(0))] == [first]


def test_edits_of_an_import_concern_the_import_alone(tmp_path: Path) -> None:
    with LabelStore.create(tmp_path) as store:
        model = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
        store.write_batch(model.id, [outcome("a.jpg", LEFT)])
        imported = store.begin_run(RunConfig({"import": "coco"}, {}), new_run=True)
        drawn = Labels(SIZE, (label(LEFT, None, origin="human"),))
        store.write_batch(imported.id, [replace(outcome("a.jpg"), labels=drawn)])
        [object_] = store.objects("a.jpg")
        store.edits.reject(object_.uid)
        assert store.objects("a.jpg") == ()
        [proposed] = store.objects("a.jpg", run_id=model.id)
        store.edits.relabel(proposed.uid, "cat", run_id=model.id)
        assert store.objects("a.jpg") == ()
