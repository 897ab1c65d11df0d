"""The fold of edits and proposals, with literals: whose word counts, and for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grounded_sam2.geometry.rle import Rle, encode
from grounded_sam2.results import Label, Labels
from grounded_sam2.store.apply_edits import apply_edits, vouched
from grounded_sam2.store.edit_records import Edit, EditAction, EditedLabels

SIZE = (20, 40)
CLASSES = {"red ball": "ball", "blue box": "box"}


def mask(left: int, width: int = 10) -> Rle:
    pixels = np.zeros(SIZE, np.bool_)
    pixels[5:15, left : left + width] = True
    return encode(pixels[None])[0]


def label(uid: str, left: int = 5, width: int = 10, **changes: object) -> Label:
    shape = mask(left, width)
    made = Label("ball", "red ball", shape.bbox_xyxy, shape, 0.9, 0.8, uid=uid)
    return replace(made, **changes)  # type: ignore[arg-type]


def edit(
    action: EditAction,
    before: Sequence[Label] = (),
    after: Sequence[Label] = (),
    **changes: object,
) -> Edit:
    uids = tuple(dict.fromkeys(each.uid for each in (*before, *after)))
    made = Edit(1, action, "a.jpg", None, uids, "ann", "", tuple(before), tuple(after))
    return replace(made, **changes)  # type: ignore[arg-type]


def accept(each: Label, **changes: object) -> Edit:
    return edit("accept", [each], [vouched(each)], **changes)


def reject(each: Label, **changes: object) -> Edit:
    return edit("reject", [each], **changes)


def fold(
    proposals: Sequence[Label], *edits: Edit, classes: dict[str, str] = CLASSES
) -> EditedLabels:
    return apply_edits(edits, Labels(SIZE, tuple(proposals)), classes)


def found(edited: EditedLabels) -> list[tuple[str, str, str]]:
    return [(each.uid, each.class_name, each.review) for each in edited.labels.objects]


BALL = label("a")


class TestWithoutDecisions:
    def test_no_edits_give_the_proposals_themselves(self) -> None:
        proposals = Labels(SIZE, (BALL,))
        assert apply_edits([], proposals, CLASSES).labels is proposals

    def test_so_do_edits_of_tracks_that_a_frame_does_not_show(self) -> None:
        proposals = Labels(SIZE, (BALL,))
        elsewhere = edit("accept", uids=("b",), item_id=None)
        assert apply_edits([elsewhere], proposals, CLASSES).labels is proposals

    def test_a_flag_changes_no_label(self) -> None:
        edited = fold([BALL], edit("flag", params={"note": "?"}))
        assert (edited.flag, edited.is_reviewed, found(edited)) == (
            "?",
            False,
            [("a", "ball", "unreviewed")],
        )


class TestWhatStands:
    def test_an_accepted_object_keeps_its_mask(self) -> None:
        [kept] = fold([label("a", width=8)], accept(BALL)).labels.objects
        assert kept.mask == BALL.mask

    def test_it_stays_where_it_is_no_longer_proposed(self) -> None:
        assert found(fold([], accept(BALL))) == [("a", "ball", "accepted")]

    def test_the_same_object_of_another_model_is_dropped(self) -> None:
        assert found(fold([label("b", left=6)], accept(BALL))) == [("a", "ball", "accepted")]

    def test_half_the_pixels_suffice_for_one_class(self) -> None:
        # 15 columns of which 10 are those of the ball: IoU 0.67; 4 of 16: 0.25
        assert len(found(fold([label("b", width=15)], accept(BALL)))) == 1
        assert len(found(fold([label("b", left=11)], accept(BALL)))) == 2

    def test_another_class_needs_more(self) -> None:
        box = label("b", width=15, class_name="box", caption="blue box")
        assert len(found(fold([box], accept(BALL)))) == 2
        assert len(found(fold([replace(box, mask=mask(5, 13))], accept(BALL)))) == 1

    def test_objects_without_masks_are_compared_by_their_boxes(self) -> None:
        boxed = replace(BALL, mask=None)
        other = replace(label("b", left=6), mask=None)
        assert found(fold([other], accept(boxed))) == [("a", "ball", "accepted")]

    def test_what_was_seen_and_left_alone_stays(self) -> None:
        beside = label("b", left=6)
        assert len(found(fold([BALL, beside], accept(BALL, seen=frozenset({"b"}))))) == 2

    def test_both_forms_of_a_reshaped_object_are_known(self) -> None:
        reshaped = edit("reshape", [BALL], [vouched(label("a", left=25))])
        for left in (5, 25):
            assert [uid for uid, *_ in found(fold([label("b", left)], reshaped))] == ["a"]

    def test_the_order_of_proposals_stays(self) -> None:
        first, second, third = label("a"), label("b", 16), label("c", 28)
        edited = fold([first, second, third], accept(second), accept(label("d", 35, 4)))
        assert [uid for uid, *_ in found(edited)] == ["a", "b", "c", "d"]


class TestWhatWasRejected:
    def test_it_is_no_label(self) -> None:
        edited = fold([BALL], reject(BALL))
        assert (found(edited), [each.review for each in edited.rejected]) == ([], ["rejected"])

    def test_neither_is_the_same_of_another_model(self) -> None:
        assert found(fold([label("b", left=6)], reject(BALL))) == []

    def test_another_class_in_its_place_is_another_claim(self) -> None:
        box = label("b", class_name="box", caption="blue box")
        assert found(fold([box], reject(BALL))) == [("b", "box", "unreviewed")]

    def test_a_renamed_class_is_the_same_claim(self) -> None:
        assert found(fold([label("b", class_name="sphere")], reject(BALL))) == []

    def test_accepted_after_all(self) -> None:
        edited = fold([BALL], reject(BALL), accept(replace(BALL, review="rejected")))
        assert (found(edited), edited.rejected) == ([("a", "ball", "accepted")], ())

    def test_accepted_after_all_it_has_its_place_among_the_proposals(self) -> None:
        edited = fold(
            [BALL, label("b", left=25)], reject(BALL), accept(replace(BALL, review="rejected"))
        )
        assert [uid for uid, *_ in found(edited)] == ["a", "b"]

    def test_deleted_after_all_it_is_not_listed_as_rejected(self) -> None:
        edited = fold([BALL], reject(BALL), edit("delete", [replace(BALL, review="rejected")]))
        assert (found(edited), edited.rejected) == ([], ())

    def test_a_deleted_object_of_a_model_stays_deleted(self) -> None:
        edited = fold([BALL, label("b", left=6)], edit("delete", [BALL]))
        assert (found(edited), edited.rejected) == ([], ())

    def test_a_deleted_object_of_a_person_leaves_nothing_behind(self) -> None:
        drawn = vouched(label("x"))
        edits = edit("add", [], [drawn]), edit("delete", [drawn])
        assert found(fold([label("b", left=6)], *edits)) == [("b", "ball", "unreviewed")]

    def test_one_that_was_merged_or_split_is_still_known(self) -> None:
        drawn, other = vouched(label("x")), vouched(label("y", left=25))
        add = edit("add", [], [drawn])
        whole = replace(other, mask=mask(5, 30), box_xyxy=mask(5, 30).bbox_xyxy)
        merge = edit("merge", [other, drawn], [whole])
        assert [uid for uid, *_ in found(fold([label("b", left=6)], add, merge))] == ["y"]
        parts = [vouched(label("p", 5, 4)), vouched(label("q", 9, 6))]
        split = edit("split", [drawn], parts)
        assert [uid for uid, *_ in found(fold([label("b", left=6)], add, split))] == ["p", "q"]


class TestClasses:
    def test_the_class_of_an_accepted_object_follows_its_caption(self) -> None:
        renamed = {"red ball": "sphere"}
        assert found(fold([], accept(BALL), classes=renamed)) == [("a", "sphere", "accepted")]

    def test_it_stays_where_the_caption_is_gone(self) -> None:
        assert found(fold([], accept(BALL), classes={})) == [("a", "ball", "accepted")]

    def test_a_class_that_a_person_named_stays(self) -> None:
        cat = vouched(replace(BALL, class_name="cat"))
        relabel = edit("relabel", [BALL], [cat])
        renamed = {"red ball": "sphere"}
        assert found(fold([BALL], relabel, classes=renamed)) == [("a", "cat", "accepted")]
        reshaped = edit("reshape", [cat], [vouched(label("a", 20, class_name="cat"))])
        assert found(fold([BALL], relabel, reshaped, classes=renamed))[0][1] == "cat"

    def test_confirmed_by_name_it_is_named(self) -> None:
        relabel = edit("relabel", [BALL], [vouched(BALL)])  # to the class it has
        assert found(fold([BALL], relabel, classes={"red ball": "sphere"}))[0][1] == "ball"

    def test_parts_have_the_class_of_the_whole(self) -> None:
        parts = [vouched(label("b", 5, 5)), vouched(label("c", 10, 5))]
        split = edit("split", [BALL], parts)
        assert [name for _, name, _ in found(fold([BALL], split))] == ["ball", "ball"]
        renamed = {"red ball": "sphere"}
        assert [name for _, name, _ in found(fold([BALL], split, classes=renamed))] == [
            "sphere",
            "sphere",
        ]
        cats = [replace(part, class_name="cat") for part in parts]
        cat = vouched(replace(BALL, class_name="cat"))
        edits = edit("relabel", [BALL], [cat]), edit("split", [cat], cats)
        assert [name for _, name, _ in found(fold([BALL], *edits, classes=renamed))] == [
            "cat",
            "cat",
        ]

    def test_an_anchored_object_follows_its_caption_as_the_rest_of_its_track(self) -> None:
        anchor = edit("anchor", [], [vouched(BALL)])
        renamed = {"red ball": "sphere"}
        assert found(fold([], anchor, classes=renamed)) == [("a", "sphere", "accepted")]

    def test_anchored_after_its_track_was_relabeled_it_has_the_class_that_the_person_named(
        self,
    ) -> None:
        relabel = edit("relabel", uids=("a",), item_id=None, params={"class_name": "cat"})
        anchor = edit("anchor", [], [vouched(replace(BALL, class_name="cat"))])
        assert found(fold([], relabel, anchor)) == [("a", "cat", "accepted")]

    def test_a_merged_track_has_the_class_of_the_first_where_the_first_is_not(self) -> None:
        second = label("b")
        third = label("c", left=25, class_name="box", caption="blue box")
        merged = vouched(replace(second, uid="a", class_name="box"))
        merge = edit("merge_tracks", [second, third], [merged])
        assert found(fold([second, third], merge)) == [("a", "box", "accepted")]


class TestConfirmation:
    def test_new_objects_of_its_classes_are_dropped(self) -> None:
        confirm = edit(
            "confirm",
            [BALL],
            [vouched(BALL)],
            params={"classes": ["ball"], "captions": ["red ball"]},
        )
        edited = fold([label("b", left=25)], confirm)
        assert (found(edited), edited.is_confirmed) == ([("a", "ball", "accepted")], True)

    def test_nothing_here(self) -> None:
        confirm = edit("confirm", params={"classes": ["ball"], "captions": ["red ball"]})
        assert found(fold([BALL], confirm)) == []

    def test_classes_that_came_later_are_not(self) -> None:
        confirm = edit("confirm", params={"classes": ["ball"], "captions": ["red ball"]})
        box = label("b", class_name="box", caption="blue box")
        assert found(fold([box], confirm)) == [("b", "box", "unreviewed")]

    def test_a_class_renamed_later_is(self) -> None:
        confirm = edit("confirm", params={"classes": ["ball"], "captions": ["red ball"]})
        assert found(fold([label("b", class_name="sphere")], confirm)) == []


class TestTracksOnLaterFrames:
    """Frames that were labeled after the edit: it has no objects of theirs."""

    def later(self, action: EditAction, *uids: str, **params: object) -> Edit:
        return edit(action, uids=uids, item_id=None, video="clip.mp4", params=params)

    def test_relabel(self) -> None:
        relabel = self.later("relabel", "a", class_name="cat")
        assert found(fold([BALL], relabel)) == [("a", "cat", "accepted")]

    def test_reject_and_end(self) -> None:
        assert len(fold([BALL], self.later("reject", "a")).rejected) == 1
        assert found(fold([BALL], self.later("end_track", "a", last_frame=3))) == []

    def test_merge(self) -> None:
        merge = self.later("merge_tracks", "b", "a", uid="b", track_id=7, class_name="cat")
        [one] = fold([BALL], merge).labels.objects
        assert (one.uid, one.track_id, one.class_name) == ("b", 7, "cat")
        both = fold([BALL, label("b", left=25)], merge).labels.objects
        assert [(each.uid, each.mask) for each in both] == [("b", mask(25))]
