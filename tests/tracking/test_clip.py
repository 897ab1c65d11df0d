"""Text to tracks: what becomes of things that enter, leave, cross and are mistaken."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.errors import ConfigError, OntologyError, SourceError
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import VideoFrame
from grounded_sam2.testing import FakeDetector, FakeTracker
from grounded_sam2.tracking import ClipTracker

RED_BOX = (5, 5, 15, 15)


def still(index: int):
    return [("red", *RED_BOX)]


def test_a_video_without_frames(studio):
    assert studio.track([]) == []


def test_a_video_of_one_frame_is_labeled_as_an_image_is(studio):
    [frame] = studio.track(studio.clip(1, still), studio.ToldDetector(confidence=0.35))
    assert (frame.index, frame.time, frame.labels.size_hw) == (0, 0.0, (40, 60))
    [label] = frame.labels.objects
    assert (label.class_name, label.caption, label.track_id) == ("ball", "red thing", 1)
    assert (label.confidence, label.mask_quality) == (0.35, 0.8)
    assert label.box_xyxy == label.detected_box_xyxy == RED_BOX
    assert (label.mask.area, label.track_origin, label.origin) == (100, "detected", "model")


def test_every_frame_comes_out_once_in_order_with_its_index_and_time(studio):
    frames = [
        VideoFrame(3 * i + 2, i / 7, studio.draw_image(i, still(i))) for i in range(35)
    ]  # a stride of three
    tracked = studio.track(frames)
    assert [(f.index, f.time) for f in tracked] == [(f.index, f.time) for f in frames]
    assert studio.story(tracked) == {1: "d" + 3 * "fffffffffd" + "ffff"}


def test_a_detector_that_finds_nothing_leaves_background(studio):
    detector = studio.ToldDetector()
    tracked = studio.track(studio.clip(25, lambda i: []), detector)
    assert [len(frame.labels) for frame in tracked] == [0] * 25
    assert detector.looked == [0, 10, 20]


def test_labels_between_detections_are_carried_and_say_so(studio):
    told = {10: [("yellow thing", 0.6, (14.5, 4, 26, 16))]}

    def moving(index):
        return [("red", 5 + index, 5, 15 + index, 15)]

    tracked = studio.track(studio.clip(15, moving), studio.ToldDetector(told))
    ninth, tenth, eleventh = (tracked[i].labels.objects[0] for i in (9, 10, 11))
    assert (ninth.caption, ninth.confidence) == ("red thing", 0.9)
    assert ninth.detected_box_xyxy is None
    assert (tenth.caption, tenth.confidence) == ("yellow thing", 0.6)
    assert tenth.detected_box_xyxy == (14.5, 4, 26, 16)
    assert (eleventh.caption, eleventh.confidence) == ("yellow thing", 0.6)
    assert (eleventh.track_origin, eleventh.detected_box_xyxy) == ("forwards", None)
    assert studio.boxes(tracked, 1) == {i: (5 + i, 5, 15 + i, 15) for i in range(15)}


def test_two_of_one_class_cross_and_keep_their_ids(studio):
    def things(index):
        return [("red", 2 + index, 8, 12 + index, 18), ("yellow", 48 - index, 12, 58 - index, 22)]

    tracked = studio.track(studio.clip(46, things))
    red, yellow = (studio.boxes(tracked, i) for i in (1, 2))
    assert (red[0], red[45]) == ((2, 8, 12, 18), (47, 8, 57, 18))
    assert (yellow[0], yellow[45]) == ((48, 12, 58, 22), (3, 12, 13, 22))
    assert list(studio.story(tracked)) == [1, 2]
    assert {label.class_name for frame in tracked for label in frame.labels.objects} == {"ball"}


def test_two_captions_of_one_class_make_one_track_of_one_thing(studio):
    told = {
        0: [("red thing", 0.8, RED_BOX), ("yellow thing", 0.9, (4, 4, 15, 15))],
        10: [("red thing", 0.8, RED_BOX)],
    }
    tracked = studio.track(studio.clip(12, still), studio.ToldDetector(told))
    assert studio.story(tracked) == {1: "dfffffffffdf"}
    assert tracked[0].labels.objects[0].caption == "yellow thing"


def test_detecting_on_every_frame(studio):
    detector = studio.ToldDetector()
    tracked = studio.track(studio.clip(12, still), detector, detect_every=1)
    assert studio.story(tracked) == {1: "d" * 12}
    assert detector.looked == list(range(12))


def test_a_detection_corrects_a_track_that_has_drifted(studio):
    drift = {i: {"red": (5, 5, 40, 15)} for i in range(6, 11)}  # IoU 100 / 350
    tracked = studio.track(studio.clip(14, still), tracker=studio.DriftingTracker(drift))
    boxes = studio.boxes(tracked, 1)
    assert boxes[9] == (5, 5, 40, 15)
    assert boxes[10] == boxes[13] == RED_BOX
    assert studio.story(tracked) == {1: "dfffffffffdfff"}


@pytest.mark.parametrize(
    ("exclusive", "neighbor", "shares"),
    [
        ("none", "yellow", True),
        ("class", "yellow", False),  # a ball as well
        ("class", "blue", True),  # a box
        ("all", "blue", False),
    ],
)
def test_a_mask_that_spills_over_another_is_kept_off_it(studio, exclusive, neighbor, shares):
    """Of the fake tracker's objects, the first keeps what both claim."""
    spilled = {i: {neighbor: (5, 5, 35, 15)} for i in range(3, 14)}
    tracked = studio.track(
        studio.clip(14, lambda _: [("red", *RED_BOX), (neighbor, 25, 5, 35, 15)]),
        tracker=studio.DriftingTracker(spilled),
        exclusive=exclusive,
        detect_every=20,
    )
    found = [label.box_xyxy for label in tracked[6].labels.objects]
    assert found == [RED_BOX, (5 if shares else 15, 5, 35, 15)]


def test_an_unsure_detection_corrects_nothing_and_begins_nothing_there(studio):
    drift = {i: {"red": (5, 5, 40, 15)} for i in range(6, 14)}
    told = {10: [("red thing", 0.4, RED_BOX)]}
    tracked = studio.track(
        studio.clip(14, still), studio.ToldDetector(told), studio.DriftingTracker(drift)
    )
    assert studio.boxes(tracked, 1)[10] == (5, 5, 40, 15)
    assert studio.story(tracked) == {1: "d" + "f" * 13}


def test_a_doubtful_mask_is_asked_for_again(studio):
    class Corrected(studio.DriftingTracker):
        asked = ()

        def prompt(self, encoded, prompts, state=None, frame=None, *, reverse=False):
            if state is not None:
                self.asked += ((frame, tuple(prompts)),)
            return super().prompt(encoded, prompts, state, frame, reverse=reverse)

    slightly_off = {10: {"red": (5, 5, 15, 16)}}
    tracker = Corrected(slightly_off, quality={10: 0.3})
    tracked = studio.track(studio.clip(12, still), tracker=tracker)
    assert tracker.asked == ((10, (1,)),)
    assert studio.boxes(tracked, 1)[10] == RED_BOX
    tracker = Corrected(slightly_off)
    tracked = studio.track(studio.clip(12, still), tracker=tracker)
    assert tracker.asked == ()
    assert studio.boxes(tracked, 1)[10] == (5, 5, 15, 16)


def test_a_single_unsure_detection_is_a_mistake_and_all_its_labels_are_taken_back(studio):
    told = {10: [("blue thing", 0.4, RED_BOX)], **{i: [] for i in (0, 20, 30)}}
    assert studio.story(studio.track(studio.clip(35, still), studio.ToldDetector(told))) == {}
    again = {**told, 20: [("blue thing", 0.4, RED_BOX)]}
    tracked = studio.track(studio.clip(35, still), studio.ToldDetector(again))
    assert studio.story(tracked) == {1: 10 * "b" + "dfffffffffd" + 14 * "f"}
    tracked = studio.track(studio.clip(35, still), studio.ToldDetector(told), min_hits=1)
    assert studio.story(tracked) == {1: 10 * "b" + "d" + 24 * "f"}


def test_ids_count_what_was_given_away_without_gaps(studio):
    told = {
        0: [("red thing", 0.4, (40, 30, 50, 38)), ("blue thing", 0.9, RED_BOX)],
        10: [("blue thing", 0.9, RED_BOX)],
    }

    def things(index):
        return [*still(index), ("blue", 40, 30, 50, 38)]

    tracked = studio.track(studio.clip(20, things), studio.ToldDetector(told))
    assert studio.story(tracked) == {1: "dfffffffffdfffffffff"}
    assert tracked[0].labels.objects[0].class_name == "box"


def test_a_doubtful_track_that_the_detector_does_not_find_ends(studio):
    nothing = {i: [] for i in (10, 20, 30, 40, 50)}
    tracker = studio.DriftingTracker(quality=dict.fromkeys(range(1, 60), 0.4))
    tracked = studio.track(studio.clip(55, still), studio.ToldDetector(nothing), tracker)
    assert studio.story(tracked) == {1: "d" + 29 * "f" + 25 * "."}
    tracked = studio.track(studio.clip(55, still), studio.ToldDetector(nothing))
    assert studio.story(tracked) == {1: "d" + 54 * "f"}  # a sure one does not


def test_a_track_that_has_moved_onto_another_thing_ends(studio):
    def things(index):
        return [("red", *RED_BOX)] + ([("yellow", 40, 20, 50, 30)] if index < 8 else [])

    jumped = {i: {"yellow": RED_BOX} for i in range(8, 30)}
    tracked = studio.track(studio.clip(25, things), tracker=studio.DriftingTracker(jumped))
    assert studio.story(tracked) == {
        1: "d" + 9 * "f" + "d" + 9 * "f" + "dffff",
        2: "d" + 7 * "f" + 17 * ".",
    }


def test_the_class_of_a_thing_is_the_one_that_detections_are_surest_of(studio):
    told = {
        0: [("blue thing", 0.6, RED_BOX)],
        10: [("red thing", 0.9, RED_BOX)],
        20: [("blue thing", 0.2, RED_BOX)],
    }
    tracked = studio.track(
        studio.clip(32, still),
        studio.ToldDetector(told),
        cleanup__across_classes=True,
        detector__min_confidence=0.1,
    )
    assert studio.story(tracked) == {1: 10 * "b" + "d" + 19 * "f" + "df"}
    labels = [frame.labels.objects[0] for frame in tracked]
    assert {(x.class_name, x.caption, x.confidence) for x in labels} == {("ball", "red thing", 0.9)}
    assert labels[0].detected_box_xyxy is None


def test_labels_that_were_given_away_keep_their_class(studio):
    told = {0: [("blue thing", 0.6, RED_BOX)]}
    tracked = studio.track(
        studio.clip(12, still),
        studio.ToldDetector(told),
        cleanup__across_classes=True,
        min_hits=1,
        fill_backwards=4,
    )
    classes = [frame.labels.objects[0].class_name for frame in tracked]
    assert classes == 6 * ["box"] + 6 * ["ball"]


def test_the_detector_looks_where_a_scene_begins_and_counts_from_there(studio):
    detector = studio.ToldDetector()
    frames = [
        VideoFrame(i, i / 10, studio.draw_image(i, still(i) if i < 7 else [("blue", 30, 5, 40, 15)],
                                             scene=int(i >= 7)))
        for i in range(20)
    ]  # fmt: skip
    tracked = studio.track(frames, detector)
    assert detector.looked == [0, 7, 17]
    assert studio.story(tracked) == {1: "d" + 6 * "f" + 13 * ".", 2: 7 * "." + "dfffffffffdff"}
    detector.looked.clear()
    studio.track(frames, detector, cut_difference=1)
    assert detector.looked == [0, 10]


def test_masks_are_cleaned_up_as_those_of_images(studio):
    def things(index):
        return [("red", 5, 5, 25, 25), ("blue", 10, 10, 12, 12)]

    told = {0: [("red thing", 0.9, (5, 5, 25, 25))], 10: []}
    tracked = studio.track(studio.clip(12, things), studio.ToldDetector(told))
    assert {frame.labels.objects[0].mask.area for frame in tracked} == {400}
    tracked = studio.track(
        studio.clip(12, things), studio.ToldDetector(told), cleanup__max_hole_area=0
    )
    assert {frame.labels.objects[0].mask.area for frame in tracked} == {396}


def test_masks_share_no_pixel_if_asked(studio):
    overlapping = {i: {"blue": (10, 5, 30, 15)} for i in range(1, 10)}
    clip = studio.clip(8, lambda i: [*still(i), ("blue", 15, 5, 30, 15)])
    told = {0: [("red thing", 0.9, RED_BOX), ("blue thing", 0.8, (15, 5, 30, 15))]}
    tracked = studio.track(
        clip,
        studio.ToldDetector(told),
        studio.DriftingTracker(overlapping),
        cleanup__non_overlapping=True,
    )
    assert studio.boxes(tracked, 1)[5] == RED_BOX
    assert studio.boxes(tracked, 2)[5] == (15, 5, 30, 15)


def test_masks_of_low_quality_are_no_labels_there(studio):
    tracker = studio.DriftingTracker(quality={3: 0.6})
    tracked = studio.track(studio.clip(6, still), tracker=tracker, segmenter__min_mask_quality=0.7)
    assert studio.story(tracked) == {1: "dff.ff"}


def test_a_task_without_captions_names_things_in_the_models_own_words(studio):
    tracked = studio.track(
        studio.clip(12, still),
        FakeDetector(confidence=None),
        ontology=None,
        detector__task="object_detection",
    )
    assert studio.story(tracked) == {1: "dfffffffffdf"}
    label = tracked[5].labels.objects[0]
    assert (label.class_name, label.confidence) == ("red", None)


def test_frames_come_out_no_later_than_said(studio):
    for values, delay in [
        ({}, 20),
        ({"fill_backwards": 3}, 13),
        ({"min_hits": 1}, 10),
        ({"min_hits": 1, "fill_backwards": 0}, 0),
        ({"min_hits": 3, "detect_every": 4}, 12),
    ]:
        clip = ClipTracker(
            studio.ToldDetector(), FakeTracker(), studio.ontology, studio.options(**values)
        )
        assert clip.delay == delay
        for frame in studio.clip(30, still):
            given = clip.feed(frame)
            assert [each.index for each in given] == [frame.index - delay][: frame.index >= delay]
        assert len(clip.finish()) == delay


def test_sizes_may_change_within_a_video(studio):
    small = VideoFrame(3, 0.3, np.zeros((20, 30, 3), np.uint8))
    tracked = studio.track([*studio.clip(3, still), small])
    assert [frame.labels.size_hw for frame in tracked] == [(40, 60)] * 3 + [(20, 30)]


def test_frames_out_of_order_are_refused(studio):
    first, second = studio.clip(2, still)
    with pytest.raises(SourceError, match="frame 0 of the video: frame 2 or a later one is next"):
        studio.track([first, second, first])


def test_what_is_wrong_with_the_captions_is_said_at_the_start(studio):
    with pytest.raises(ConfigError, match="give an ontology"):
        ClipTracker(FakeDetector(), FakeTracker(), None, studio.options())
    told = {0: [("green thing", 0.9, RED_BOX)]}
    with pytest.raises(OntologyError, match="green thing"):
        studio.track(studio.clip(1, still), studio.ToldDetector(told))


def test_classes_are_those_of_the_ontology(studio):
    ontology = CaptionOntology({"red thing": "cherry"})
    tracked = studio.track(studio.clip(2, still), FakeDetector(), ontology=ontology)
    assert [f.labels.objects[0].class_name for f in tracked] == ["cherry", "cherry"]
