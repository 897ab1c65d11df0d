"""Work items: state transitions from the plan to the outcome, and pickling."""

from __future__ import annotations

import pickle
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from grounded_sam2 import CaptionOntology, Config
from grounded_sam2.engine.work_item import WorkItem, postprocess_item
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Candidate, LoadedImage, RawPredictions
from grounded_sam2.store import Item

SIZE_HW = (20, 30)
ONTOLOGY = CaptionOntology({"cat": "animal", "dog": "animal"})


def candidate(caption: str, left: int, *, size_hw: tuple[int, int] = SIZE_HW) -> Candidate:
    mask = np.zeros(size_hw, bool)
    mask[5:15, left : left + 10] = True
    return Candidate(caption, (left, 5, left + 10, 15), encode(mask)[0], 0.9, 0.8)


def decoded(content_hash: str = "new") -> LoadedImage:
    return LoadedImage("a.png", np.zeros((*SIZE_HW, 3), np.uint8), content_hash=content_hash)


def test_every_state_can_be_pickled() -> None:
    item = WorkItem(Item("a.png", Path("a.png")), "detect", path=Path("a.png"), captions=("cat",))
    loaded = item.with_image(decoded(), ("cat",))
    detected = loaded.with_candidates((candidate("cat", 0),))
    failed = loaded.with_failure("no")
    for work in (item, loaded, detected, failed):
        copy = pickle.loads(pickle.dumps(work))
        for field in fields(WorkItem):
            before, after = getattr(work, field.name), getattr(copy, field.name)
            assert np.array_equal(before, after) if field.name == "image" else before == after


class TestTransitions:
    def test_decoding_adds_size_hash_and_pixels(self) -> None:
        work = WorkItem(Item("a.png", None), "detect").with_image(decoded(), ())
        assert work.state == "detect"
        assert (work.item.size_hw, work.item.content_hash) == (SIZE_HW, "new")
        assert work.image is not None

    def test_inference_adds_candidates_to_earlier_ones_and_drops_the_pixels(self) -> None:
        earlier = RawPredictions(frozenset({"cat"}), (candidate("cat", 0),))
        work = WorkItem(
            Item("a.png", None),
            "detect",
            captions=("dog",),
            predictions=earlier,
            predictions_hash="same",
        )
        work = work.with_image(decoded("same"), ("cat", "dog"))
        work = work.with_candidates((candidate("dog", 15),))
        assert (work.state, work.image, work.used_models) == ("postprocess", None, True)
        assert work.predictions is not None
        assert work.predictions.captions == {"cat", "dog"}
        assert [each.caption for each in work.predictions.candidates] == ["cat", "dog"]

    def test_earlier_predictions_of_a_changed_file_are_dropped(self) -> None:
        earlier = RawPredictions(frozenset({"cat"}), (candidate("cat", 0),))
        work = WorkItem(
            Item("a.png", None),
            "detect",
            captions=("dog",),
            predictions=earlier,
            predictions_hash="old",
        ).with_image(decoded("new"), ("cat", "dog"))
        assert work.predictions is None
        assert work.captions == ("cat", "dog")


class TestOutcome:
    def test_a_skipped_item_has_no_outcome(self) -> None:
        work = postprocess_item(WorkItem(Item("a", None), "skip"), ONTOLOGY, Config())
        assert (work.state, work.outcome) == ("skip", None)

    def test_a_failed_item_keeps_its_reason(self) -> None:
        failed = WorkItem(Item("a", None), "failed", error="no")
        work = postprocess_item(failed, ONTOLOGY, Config())
        outcome = work.outcome
        assert work.state == "done"
        assert outcome is not None
        assert (outcome.labels, outcome.error) == (None, "no")

    def test_predictions_become_labels_with_the_status_of_each_candidate(self) -> None:
        predictions = RawPredictions(
            frozenset({"cat", "dog", "bird"}),
            (candidate("cat", 0), candidate("bird", 15)),
        )
        work = WorkItem(Item("a", None, size_hw=SIZE_HW), "postprocess", predictions=predictions)
        outcome = postprocess_item(work, ONTOLOGY, Config()).outcome
        assert outcome is not None
        assert outcome.labels is not None
        assert [label.class_name for label in outcome.labels.objects] == ["animal"]
        assert outcome.statuses == ("label", "not_wanted")
        assert outcome.predictions == predictions

    def test_a_malformed_mask_fails_its_image(self) -> None:
        predictions = RawPredictions(frozenset({"cat"}), (candidate("cat", 0, size_hw=(40, 40)),))
        work = WorkItem(Item("a", None, size_hw=SIZE_HW), "postprocess", predictions=predictions)
        outcome = postprocess_item(work, ONTOLOGY, Config()).outcome
        assert outcome is not None
        assert outcome.labels is None
        assert outcome.error is not None
        assert "40×40" in outcome.error

    def test_an_item_without_inference_is_an_assertion_error(self) -> None:
        with pytest.raises(AssertionError):
            postprocess_item(WorkItem(Item("a", None), "detect"), ONTOLOGY, Config())
