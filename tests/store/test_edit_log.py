"""The log of edits: what is undone and redone, what it reads back, and for which content."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures.stored_values import ONTOLOGY, RUN_CONFIG, ball, done, square_mask

from grounded_sam2.errors import StoreError
from grounded_sam2.store import LabelStore
from grounded_sam2.store.edit_records import effective_ids, undo_stacks

OTHER = ball(class_name="box", caption="blue square", box_xyxy=(0.0, 0.0, 4.0, 4.0), mask=None)


@pytest.fixture
def labeled(store: LabelStore) -> LabelStore:
    """A ball with a mask and a box without one, in each of two images."""
    run = store.begin_run(RUN_CONFIG, ontology=ONTOLOGY)
    store.write_batch(run.id, [done(name, ball(), OTHER) for name in ("a.jpg", "b.jpg")])
    return store


def uids(store: LabelStore, item: str = "a.jpg") -> list[str]:
    return [each.uid for each in store.objects(item)]


def reviews(store: LabelStore, item: str = "a.jpg") -> list[str]:
    return [each.review for each in store.objects(item)]


class TestEffectiveEdits:
    """Of pairs of an edit and the edit that it undoes."""

    @pytest.mark.parametrize(
        ("edits", "effective"),
        [
            ([], set()),
            ([(1, None), (2, None)], {1, 2}),
            ([(1, None), (2, 1)], {2}),
            ([(1, None), (2, 1), (3, 2)], {1, 3}),
            ([(1, None), (2, 1), (3, 2), (4, 1)], {3, 4}),
            ([(1, None), (2, None), (3, 2), (4, 1), (5, 4)], {1, 3, 5}),
        ],
        ids=["none", "no undo", "undo", "redo", "undo again", "redo one of two"],
    )
    def test_an_undone_edit_has_no_effect_and_a_redone_one_has(
        self, edits: list[tuple[int, int | None]], effective: set[int]
    ) -> None:
        assert effective_ids(edits) == effective


class TestUndoStacks:
    def test_the_last_edit_is_undone_first_and_redone_last(self) -> None:
        edits = [(1, "accept", None), (2, "reject", None)]
        assert undo_stacks(edits) == ([1, 2], [])
        edits.append((3, "undo", 2))
        assert undo_stacks(edits) == ([1], [3])
        edits.append((4, "undo", 1))
        assert undo_stacks(edits) == ([], [3, 4])
        edits.append((5, "redo", 4))
        assert undo_stacks(edits) == ([1], [3])
        edits.append((6, "redo", 3))
        assert undo_stacks(edits) == ([1, 2], [])

    def test_a_new_edit_leaves_nothing_to_redo(self) -> None:
        edits = [(1, "accept", None), (2, "undo", 1), (3, "reject", None)]
        assert undo_stacks(edits) == ([3], [])

    def test_a_redone_edit_can_be_undone_again(self) -> None:
        edits = [(1, "accept", None), (2, "undo", 1), (3, "redo", 2), (4, "undo", 1)]
        assert undo_stacks(edits) == ([], [4])

    def test_an_undo_of_one_image_is_redone_after_an_edit_of_another(self) -> None:
        """In the order of the store, in which the edit of the other image has come between."""
        edits = [(1, "accept", None), (2, "undo", 1), (3, "reject", None), (4, "redo", 2)]
        assert undo_stacks(edits) == ([3, 1], [])


class TestUndoOfAStore:
    def test_undos_of_two_images_are_redone_in_reverse_order(self, labeled: LabelStore) -> None:
        first, second = uids(labeled, "a.jpg")[0], uids(labeled, "b.jpg")[0]
        labeled.edits.accept(first)
        labeled.edits.accept(second)
        assert [labeled.edits.undo().uids for _ in range(2)] == [(second,), (first,)]
        assert [labeled.edits.redo().uids for _ in range(2)] == [(first,), (second,)]
        with pytest.raises(StoreError, match="no edit to redo"):
            labeled.edits.redo()

    def test_an_undo_within_a_failed_batch_did_not_happen(self, labeled: LabelStore) -> None:
        labeled.edits.accept(uids(labeled)[0])

        def undo_twice() -> None:
            with labeled.edits.batch():
                labeled.edits.undo()
                labeled.edits.undo()

        with pytest.raises(StoreError, match="no edit to undo"):
            undo_twice()
        assert reviews(labeled) == ["accepted", "unreviewed"]


class TestHistory:
    def test_an_object_is_read_as_it_was_before_and_after(self, labeled: LabelStore) -> None:
        found = labeled.objects("a.jpg")
        labeled.edits.relabel(found[0].uid, "cat")
        labeled.edits.reshape(found[0].uid, box=(1, 2, 9, 9))
        relabel, reshape = labeled.history("a.jpg")
        cat = replace(found[0], class_name="cat", origin="human", review="accepted")
        boxed = replace(cat, box_xyxy=(1.0, 2.0, 9.0, 9.0), mask=None, mask_quality=None)
        assert (relabel.before, relabel.after) == ((found[0],), (cat,))
        assert (reshape.before, reshape.after) == ((cat,), (boxed,))

    def test_an_object_without_a_mask_is_too(self, labeled: LabelStore) -> None:
        [_, boxed] = labeled.objects("a.jpg")
        labeled.edits.accept(boxed.uid)
        labeled.edits.reshape(boxed.uid, square_mask())
        accept, reshape = labeled.history("a.jpg")
        assert (accept.after[0].mask, accept.after[0].box_xyxy) == (None, boxed.box_xyxy)
        assert reshape.after[0].mask == square_mask()

    def test_it_tells_what_the_person_saw_beside_the_object(self, labeled: LabelStore) -> None:
        first, second = uids(labeled)
        labeled.edits.accept(first)
        labeled.edits.relabel(first, "cat")  # nothing else has changed
        labeled.edits.accept(second)
        assert [edit.seen for edit in labeled.history("a.jpg")] == [{second}, {second}, set()]

    def test_undone_edits_and_undos_are_in_it(self, labeled: LabelStore) -> None:
        labeled.edits.accept(uids(labeled)[0])
        labeled.edits.undo("a.jpg")
        labeled.edits.redo("a.jpg")
        history = [(each.action, each.undoes, each.is_undone) for each in labeled.history("a.jpg")]
        assert history == [("accept", None, False), ("undo", 1, True), ("redo", 2, False)]

    def test_edits_of_other_images_are_not(self, labeled: LabelStore) -> None:
        labeled.edits.accept(uids(labeled)[0])
        assert labeled.history("b.jpg") == []


class TestContent:
    def write(self, store: LabelStore, content: str) -> None:
        outcome = done("a.jpg", ball(), OTHER, content_hash=content)
        store.write_batch(store.run().id, [outcome])

    def test_edits_rest_while_another_image_has_the_name(self, labeled: LabelStore) -> None:
        labeled.edits.reject(uids(labeled)[0])
        self.write(labeled, "another image")
        assert reviews(labeled) == ["unreviewed", "unreviewed"]
        assert labeled.history("a.jpg") == []
        with pytest.raises(StoreError, match=r"'a\.jpg' has no edit to undo"):
            labeled.edits.undo("a.jpg")

    def test_and_apply_again_when_the_earlier_one_is_back(self, labeled: LabelStore) -> None:
        labeled.edits.reject(uids(labeled)[0])
        self.write(labeled, "another image")
        labeled.edits.accept(uids(labeled)[0])
        self.write(labeled, "hash of a.jpg")
        assert [each.class_name for each in labeled.objects("a.jpg")] == ["box"]
        labeled.edits.undo("a.jpg")
        assert reviews(labeled) == ["unreviewed", "unreviewed"]
        self.write(labeled, "another image")
        assert reviews(labeled) == ["accepted", "unreviewed"]
