"""Identities: what they depend on, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grounded_sam2.geometry.rle import Rle, encode
from grounded_sam2.results import Candidate, Label, Labels
from grounded_sam2.store import RunConfig
from grounded_sam2.store.uids import candidates_with_uids, track_number, track_uid, with_uids

SIZE = (20, 30)


def mask(width: int = 8) -> Rle:
    pixels = np.zeros(SIZE, np.bool_)
    pixels[5:13, 2 : 2 + width] = True
    return encode(pixels[None])[0]


BALL = Candidate("red ball", (2.0, 5.0, 10.0, 13.0), mask(), 0.9, 0.8)
OTHER = replace(BALL, box_xyxy=(12.0, 5.0, 20.0, 13.0))


def uids(*candidates: Candidate, key: str = "k", item: str = "a.jpg") -> list[str]:
    return [each.uid for each in candidates_with_uids(key, item, candidates)]


def label_of(candidate: Candidate) -> Label:
    return Label(
        "ball",
        candidate.caption,
        (2.0, 5.0, 9.0, 13.0),
        mask(7),  # after clean-up
        candidate.confidence,
        candidate.mask_quality,
        detected_box_xyxy=candidate.box_xyxy,
    )


class TestCandidates:
    def test_pinned_values(self) -> None:
        """A uid that changed would lose its edits in every store there is."""
        assert uids(BALL, OTHER) == ["ae2d015adb9a2d14", "63ac9aa3fd655c5c"]

    def test_the_order_of_detections_does_not_matter(self) -> None:
        assert uids(BALL, OTHER) == uids(OTHER, BALL)[::-1]

    def test_neither_do_scores_and_masks(self) -> None:
        assert uids(replace(BALL, confidence=0.5, mask_quality=None, mask=None)) == uids(BALL)

    @pytest.mark.parametrize(
        "other",
        [
            {"key": "another model"},
            {"item": "b.jpg"},
        ],
    )
    def test_run_and_item_do(self, other: dict[str, str]) -> None:
        assert uids(BALL, **other) != uids(BALL)

    def test_caption_and_box_do(self) -> None:
        assert len({*uids(BALL), *uids(OTHER), *uids(replace(BALL, caption="ball"))}) == 3

    def test_of_twins_the_more_confident_comes_first(self) -> None:
        weaker = replace(BALL, confidence=0.5)
        assert uids(weaker, BALL) == uids(BALL, weaker)[::-1]
        assert uids(BALL, weaker)[0] == uids(BALL)[0]
        assert len(set(uids(BALL, weaker))) == 2

    def test_minus_zero_is_zero(self) -> None:
        box = (-0.0, 5.0, 10.0, 13.0)
        zero = (0.0, 5.0, 10.0, 13.0)
        assert uids(replace(BALL, box_xyxy=box)) == uids(replace(BALL, box_xyxy=zero))

    def test_names_that_are_no_utf_8(self) -> None:
        """The store escapes them, and finds the same uid when it is upgraded."""
        assert uids(BALL, item="a\udcff.jpg") == uids(BALL, item="a\\udcff.jpg")


class TestRuns:
    CONFIG = RunConfig(
        {"detector": "demo@1f0c44d2a9be", "segmenter": "s"},
        {"detector": {"task": "t", "candidate_confidence": 0.1}, "tiling": {"mode": "auto"}},
        {"detector": {"min_confidence": 0.3}},
        "../images",
    )

    @pytest.mark.parametrize(
        "changes",
        [
            {"source": "/elsewhere"},
            {"postprocess": {"detector": {"min_confidence": 0.9}}},
            {"models": {"detector": "/models/demo@1f0c44d2a9be", "segmenter": "s"}},
            {
                "inference": {
                    "detector": {"task": "t", "candidate_confidence": 0.05},
                    "tiling": {"mode": "auto"},
                }
            },
        ],
        ids=["place of the images", "threshold", "place of the weights", "candidates kept"],
    )
    def test_what_does_not_change_the_objects(self, changes: dict[str, object]) -> None:
        changed = replace(self.CONFIG, **changes)  # type: ignore[arg-type]
        assert changed.key != self.CONFIG.key
        assert changed.inference_key == self.CONFIG.inference_key

    @pytest.mark.parametrize(
        "changes",
        [
            {"models": {"detector": "demo@000000000000", "segmenter": "s"}},
            {"inference": {"detector": {"task": "u"}}},
        ],
    )
    def test_what_does(self, changes: dict[str, object]) -> None:
        changed = replace(self.CONFIG, **changes)  # type: ignore[arg-type]
        assert changed.inference_key != self.CONFIG.inference_key

    @pytest.mark.parametrize(
        ("models", "kind"),
        [
            ({"detector": "d", "segmenter": "s"}, "images"),
            ({"grounder": "g"}, "images"),
            ({"detector": "d", "tracker": "t"}, "videos"),
            ({"import": "coco", "name": "n"}, "import, name"),
        ],
    )
    def test_kind(self, models: dict[str, str], kind: str) -> None:
        assert RunConfig(models, {}).kind == kind


class TestLabels:
    def labels(self, *labels: Label, video: str | None = None) -> list[str]:
        candidates = candidates_with_uids("k", "a.jpg", [OTHER, BALL])
        found = with_uids("k", "a.jpg", Labels(SIZE, labels), candidates, video=video)
        return [each.uid for each in found.objects]

    def test_a_label_has_the_uid_of_its_candidate(self) -> None:
        assert self.labels(label_of(BALL), label_of(OTHER)) == uids(BALL, OTHER)

    def test_without_a_candidate_the_content_gives_it(self) -> None:
        drawn = Label("cat", "cat", (2.0, 5.0, 10.0, 13.0), mask(), None, None)
        moved = replace(drawn, box_xyxy=(3.0, 5.0, 10.0, 13.0))
        first, second, twin = self.labels(drawn, moved, drawn)
        assert len({first, second, twin}) == 3
        assert self.labels(moved, drawn)[1] == first

    def test_a_uid_that_is_given_is_kept(self) -> None:
        assert self.labels(replace(label_of(BALL), uid="given")) == ["given"]

    def test_equal_ones_are_told_apart(self) -> None:
        given = replace(label_of(BALL), uid="given")
        first, second = self.labels(given, replace(given, class_name="box"))
        assert (first, second != "given", len(second)) == ("given", True, 16)

    def test_one_with_the_uid_that_its_content_gives_and_its_twin_are_told_apart(self) -> None:
        drawn = Label("cat", "cat", (2.0, 5.0, 10.0, 13.0), mask(), None, None)
        [first] = self.labels(drawn)
        assert self.labels(replace(drawn, uid=first), drawn)[0] == first
        assert len(set(self.labels(replace(drawn, uid=first), drawn))) == 2

    def test_of_equal_ones_the_more_confident_comes_first_in_any_order(self) -> None:
        strong = Label("cat", "cat", (2.0, 5.0, 10.0, 13.0), mask(), 0.9, None)
        weak = replace(strong, confidence=0.5)
        assert self.labels(strong, weak) == self.labels(weak, strong)[::-1]

    def test_pinned_value_without_a_candidate(self) -> None:
        drawn = Label("cat", "cat", (2.0, 5.0, 10.0, 13.0), None, None, None)
        assert self.labels(drawn) == ["016e0cb0afca0717"]

    def test_tracks(self) -> None:
        tracked = replace(label_of(BALL), track_id=3)
        assert self.labels(tracked, video="clip.mp4") == [track_uid("k", "clip.mp4", 3)]
        assert track_uid("k", "clip.mp4", 3) == "e4e917590bd9a80e"

    def test_numbers_of_tracks_that_no_tracker_numbered(self) -> None:
        assert track_number("given") > 1_000_000
        assert track_number("given") < 2**31
        assert track_number("given") == track_number("given") != track_number("other")
