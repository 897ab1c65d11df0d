"""Tracking by captions: objects that enter, leave, cross and are detected by mistake."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures.tracking import (
    ONTOLOGY,
    RED_BOX,
    ScriptedDetector,
    ScriptedTracker,
    boxes_of,
    draw_image,
    make_clip,
    make_config,
    origins,
    static_red,
    track_clip,
)

from grounded_sam2.errors import ConfigError, OntologyError, SourceError
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import VideoFrame
from grounded_sam2.testing import FakeDetector, FakeTracker
from grounded_sam2.tracking import ClipTracker


def test_a_video_without_frames():
    assert track_clip([]) == []


def test_a_video_of_one_frame_is_labeled_like_an_image():
    [frame] = track_clip(make_clip(1, static_red), ScriptedDetector(confidence=0.35))
    assert (frame.index, frame.time, frame.labels.size_hw) == (0, 0.0, (40, 60))
    [label] = frame.labels.objects
    assert (label.class_name, label.caption, label.track_id) == ("ball", "red thing", 1)
    assert (label.confidence, label.mask_quality) == (0.35, 0.8)
    assert label.box_xyxy == label.detected_box_xyxy == RED_BOX
    assert (label.mask.area, label.track_origin, label.origin) == (100, "detected", "model")


def test_every_frame_is_returned_once_in_order_with_its_index_and_time():
    frames = [
        VideoFrame(3 * i + 2, i / 7, draw_image(i, static_red(i))) for i in range(35)
    ]  # a stride of three
    tracked = track_clip(frames)
    assert [(f.index, f.time) for f in tracked] == [(f.index, f.time) for f in frames]
    assert origins(tracked) == {1: "d" + 3 * "fffffffffd" + "ffff"}


def test_without_detections_frames_have_no_labels():
    detector = ScriptedDetector()
    tracked = track_clip(make_clip(25, lambda i: []), detector)
    assert [len(frame.labels) for frame in tracked] == [0] * 25
    assert detector.frames == [0, 10, 20]


def test_labels_between_detections_are_propagated_with_the_confidence_of_the_last_one():
    script = {10: [("yellow thing", 0.6, (14.5, 4, 26, 16))]}

    def moving(index):
        return [("red", 5 + index, 5, 15 + index, 15)]

    tracked = track_clip(make_clip(15, moving), ScriptedDetector(script))
    ninth, tenth, eleventh = (tracked[i].labels.objects[0] for i in (9, 10, 11))
    assert (ninth.caption, ninth.confidence) == ("red thing", 0.9)
    assert ninth.detected_box_xyxy is None
    assert (tenth.caption, tenth.confidence) == ("yellow thing", 0.6)
    assert tenth.detected_box_xyxy == (14.5, 4, 26, 16)
    assert (eleventh.caption, eleventh.confidence) == ("yellow thing", 0.6)
    assert (eleventh.track_origin, eleventh.detected_box_xyxy) == ("forwards", None)
    assert boxes_of(tracked, 1) == {i: (5 + i, 5, 15 + i, 15) for i in range(15)}


def test_two_of_one_class_cross_and_keep_their_ids():
    def objects(index):
        return [("red", 2 + index, 8, 12 + index, 18), ("yellow", 48 - index, 12, 58 - index, 22)]

    tracked = track_clip(make_clip(46, objects))
    red, yellow = (boxes_of(tracked, i) for i in (1, 2))
    assert (red[0], red[45]) == ((2, 8, 12, 18), (47, 8, 57, 18))
    assert (yellow[0], yellow[45]) == ((48, 12, 58, 22), (3, 12, 13, 22))
    assert list(origins(tracked)) == [1, 2]
    assert {label.class_name for frame in tracked for label in frame.labels.objects} == {"ball"}


def test_detections_by_two_captions_of_one_class_make_one_track():
    script = {
        0: [("red thing", 0.8, RED_BOX), ("yellow thing", 0.9, (4, 4, 15, 15))],
        10: [("red thing", 0.8, RED_BOX)],
    }
    tracked = track_clip(make_clip(12, static_red), ScriptedDetector(script))
    assert origins(tracked) == {1: "dfffffffffdf"}
    assert tracked[0].labels.objects[0].caption == "yellow thing"


def test_detecting_on_every_frame():
    detector = ScriptedDetector()
    tracked = track_clip(make_clip(12, static_red), detector, detect_every=1)
    assert origins(tracked) == {1: "d" * 12}
    assert detector.frames == list(range(12))


def test_a_detection_corrects_a_track_that_has_drifted():
    drift = {i: {"red": (5, 5, 40, 15)} for i in range(6, 11)}  # IoU 100 / 350
    tracked = track_clip(make_clip(14, static_red), tracker=ScriptedTracker(drift))
    boxes = boxes_of(tracked, 1)
    assert boxes[9] == (5, 5, 40, 15)
    assert boxes[10] == boxes[13] == RED_BOX
    assert origins(tracked) == {1: "dfffffffffdfff"}


@pytest.mark.parametrize(
    ("exclusive", "neighbor", "shares"),
    [
        ("none", "yellow", True),
        ("class", "yellow", False),  # a ball as well
        ("class", "blue", True),  # a box
        ("all", "blue", False),
    ],
)
def test_tracks_of_an_exclusion_group_share_no_pixel(exclusive, neighbor, shares):
    """Of the fake tracker's objects, the first keeps what both masks cover."""
    spilled = {i: {neighbor: (5, 5, 35, 15)} for i in range(3, 14)}
    tracked = track_clip(
        make_clip(14, lambda _: [("red", *RED_BOX), (neighbor, 25, 5, 35, 15)]),
        tracker=ScriptedTracker(spilled),
        exclusive=exclusive,
        detect_every=20,
    )
    found = [label.box_xyxy for label in tracked[6].labels.objects]
    assert found == [RED_BOX, (5 if shares else 15, 5, 35, 15)]


def test_a_low_confidence_detection_on_a_track_neither_corrects_it_nor_starts_another():
    drift = {i: {"red": (5, 5, 40, 15)} for i in range(6, 14)}
    script = {10: [("red thing", 0.4, RED_BOX)]}
    tracked = track_clip(
        make_clip(14, static_red), ScriptedDetector(script), ScriptedTracker(drift)
    )
    assert boxes_of(tracked, 1)[10] == (5, 5, 40, 15)
    assert origins(tracked) == {1: "d" + "f" * 13}


def test_a_track_of_low_mask_quality_is_prompted_with_the_box_of_its_detection():
    class RecordingTracker(ScriptedTracker):
        prompted = ()

        def prompt(self, encoded, prompts, state=None, frame=None, *, reverse=False):
            if state is not None:
                self.prompted += ((frame, tuple(prompts)),)
            return super().prompt(encoded, prompts, state, frame, reverse=reverse)

    slightly_off = {10: {"red": (5, 5, 15, 16)}}
    tracker = RecordingTracker(slightly_off, quality={10: 0.3})
    tracked = track_clip(make_clip(12, static_red), tracker=tracker)
    assert tracker.prompted == ((10, (1,)),)
    assert boxes_of(tracked, 1)[10] == RED_BOX
    tracker = RecordingTracker(slightly_off)
    tracked = track_clip(make_clip(12, static_red), tracker=tracker)
    assert tracker.prompted == ()
    assert boxes_of(tracked, 1)[10] == (5, 5, 15, 16)


def test_a_track_of_a_single_low_confidence_detection_loses_all_its_labels():
    script = {10: [("blue thing", 0.4, RED_BOX)], **{i: [] for i in (0, 20, 30)}}
    assert origins(track_clip(make_clip(35, static_red), ScriptedDetector(script))) == {}
    again = {**script, 20: [("blue thing", 0.4, RED_BOX)]}
    tracked = track_clip(make_clip(35, static_red), ScriptedDetector(again))
    assert origins(tracked) == {1: 10 * "b" + "dfffffffffd" + 14 * "f"}
    tracked = track_clip(make_clip(35, static_red), ScriptedDetector(script), min_hits=1)
    assert origins(tracked) == {1: 10 * "b" + "d" + 24 * "f"}


def test_track_ids_count_released_tracks_without_gaps():
    script = {
        0: [("red thing", 0.4, (40, 30, 50, 38)), ("blue thing", 0.9, RED_BOX)],
        10: [("blue thing", 0.9, RED_BOX)],
    }

    def objects(index):
        return [*static_red(index), ("blue", 40, 30, 50, 38)]

    tracked = track_clip(make_clip(20, objects), ScriptedDetector(script))
    assert origins(tracked) == {1: "dfffffffffdfffffffff"}
    assert tracked[0].labels.objects[0].class_name == "box"


def test_a_track_of_low_mask_quality_ends_after_three_misses():
    nothing = {i: [] for i in (10, 20, 30, 40, 50)}
    tracker = ScriptedTracker(quality=dict.fromkeys(range(1, 60), 0.4))
    tracked = track_clip(make_clip(55, static_red), ScriptedDetector(nothing), tracker)
    assert origins(tracked) == {1: "d" + 29 * "f" + 25 * "."}
    tracked = track_clip(make_clip(55, static_red), ScriptedDetector(nothing))
    assert origins(tracked) == {1: "d" + 54 * "f"}  # a good one does not


def test_an_undetected_track_whose_mask_lies_on_a_detected_one_ends():
    def objects(index):
        return [("red", *RED_BOX)] + ([("yellow", 40, 20, 50, 30)] if index < 8 else [])

    jumped = {i: {"yellow": RED_BOX} for i in range(8, 30)}
    tracked = track_clip(make_clip(25, objects), tracker=ScriptedTracker(jumped))
    assert origins(tracked) == {
        1: "d" + 9 * "f" + "d" + 9 * "f" + "dffff",
        2: "d" + 7 * "f" + 17 * ".",
    }


def test_the_class_of_a_track_is_the_one_with_the_highest_summed_confidence():
    script = {
        0: [("blue thing", 0.6, RED_BOX)],
        10: [("red thing", 0.9, RED_BOX)],
        20: [("blue thing", 0.2, RED_BOX)],
    }
    tracked = track_clip(
        make_clip(32, static_red),
        ScriptedDetector(script),
        cleanup__across_classes=True,
        detector__min_confidence=0.1,
    )
    assert origins(tracked) == {1: 10 * "b" + "d" + 19 * "f" + "df"}
    labels = [frame.labels.objects[0] for frame in tracked]
    assert {(x.class_name, x.caption, x.confidence) for x in labels} == {("ball", "red thing", 0.9)}
    assert labels[0].detected_box_xyxy is None


def test_released_labels_keep_their_class():
    script = {0: [("blue thing", 0.6, RED_BOX)]}
    tracked = track_clip(
        make_clip(12, static_red),
        ScriptedDetector(script),
        cleanup__across_classes=True,
        min_hits=1,
        backward_frames=4,
    )
    classes = [frame.labels.objects[0].class_name for frame in tracked]
    assert classes == 6 * ["box"] + 6 * ["ball"]


def test_a_scene_begins_with_a_detection_step_from_which_the_next_are_counted():
    detector = ScriptedDetector()
    frames = [
        VideoFrame(i, i / 10, draw_image(i, static_red(i) if i < 7 else [("blue", 30, 5, 40, 15)],
                                             scene=int(i >= 7)))
        for i in range(20)
    ]  # fmt: skip
    tracked = track_clip(frames, detector)
    assert detector.frames == [0, 7, 17]
    assert origins(tracked) == {1: "d" + 6 * "f" + 13 * ".", 2: 7 * "." + "dfffffffffdff"}
    detector.frames.clear()
    track_clip(frames, detector, shot_threshold=1)
    assert detector.frames == [0, 10]


def test_masks_are_cleaned_up_like_those_of_images():
    def objects(index):
        return [("red", 5, 5, 25, 25), ("blue", 10, 10, 12, 12)]

    script = {0: [("red thing", 0.9, (5, 5, 25, 25))], 10: []}
    tracked = track_clip(make_clip(12, objects), ScriptedDetector(script))
    assert {frame.labels.objects[0].mask.area for frame in tracked} == {400}
    tracked = track_clip(make_clip(12, objects), ScriptedDetector(script), cleanup__max_hole_area=0)
    assert {frame.labels.objects[0].mask.area for frame in tracked} == {396}


def test_labels_share_no_pixel_with_non_overlapping_cleanup():
    overlapping = {i: {"blue": (10, 5, 30, 15)} for i in range(1, 10)}
    clip = make_clip(8, lambda i: [*static_red(i), ("blue", 15, 5, 30, 15)])
    script = {0: [("red thing", 0.9, RED_BOX), ("blue thing", 0.8, (15, 5, 30, 15))]}
    tracked = track_clip(
        clip,
        ScriptedDetector(script),
        ScriptedTracker(overlapping),
        cleanup__non_overlapping=True,
    )
    assert boxes_of(tracked, 1)[5] == RED_BOX
    assert boxes_of(tracked, 2)[5] == (15, 5, 30, 15)


def test_a_mask_below_the_quality_threshold_is_no_label_on_its_frame():
    tracker = ScriptedTracker(quality={3: 0.6})
    tracked = track_clip(make_clip(6, static_red), tracker=tracker, segmenter__min_mask_quality=0.7)
    assert origins(tracked) == {1: "dff.ff"}


def test_a_task_without_captions_uses_the_models_own_class_names():
    tracked = track_clip(
        make_clip(12, static_red),
        FakeDetector(confidence=None),
        ontology=None,
        detector__task="object_detection",
    )
    assert origins(tracked) == {1: "dfffffffffdf"}
    label = tracked[5].labels.objects[0]
    assert (label.class_name, label.confidence) == ("red", None)


def test_frames_are_released_after_the_stated_delay():
    for values, delay in [
        ({}, 20),
        ({"backward_frames": 3}, 13),
        ({"min_hits": 1}, 10),
        ({"min_hits": 1, "backward_frames": 0}, 0),
        ({"min_hits": 3, "detect_every": 4}, 12),
    ]:
        clip = ClipTracker(ScriptedDetector(), FakeTracker(), ONTOLOGY, make_config(**values))
        assert clip.delay == delay
        for frame in make_clip(30, static_red):
            released = clip.feed(frame)
            assert [each.index for each in released] == [frame.index - delay][
                : frame.index >= delay
            ]
        assert len(clip.finish()) == delay


def test_frame_sizes_may_change_within_a_video():
    small = VideoFrame(3, 0.3, np.zeros((20, 30, 3), np.uint8))
    tracked = track_clip([*make_clip(3, static_red), small])
    assert [frame.labels.size_hw for frame in tracked] == [(40, 60)] * 3 + [(20, 30)]


def test_frames_out_of_order_are_an_error():
    first, second = make_clip(2, static_red)
    with pytest.raises(SourceError, match="frame 0 of the video: expected frame 2 or a later one"):
        track_clip([first, second, first])


def test_a_missing_ontology_is_an_error_at_construction_and_an_unknown_caption_when_detected():
    with pytest.raises(ConfigError, match="give an ontology"):
        ClipTracker(FakeDetector(), FakeTracker(), None, make_config())
    script = {0: [("green thing", 0.9, RED_BOX)]}
    with pytest.raises(OntologyError, match="green thing"):
        track_clip(make_clip(1, static_red), ScriptedDetector(script))


def test_class_names_are_those_of_the_ontology():
    ontology = CaptionOntology({"red thing": "cherry"})
    tracked = track_clip(make_clip(2, static_red), FakeDetector(), ontology=ontology)
    assert [f.labels.objects[0].class_name for f in tracked] == ["cherry", "cherry"]
