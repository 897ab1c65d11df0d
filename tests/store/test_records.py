"""Values of the label store: identity of runs, of items and of videos."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures.stored_values import RUN_CONFIG

from grounded_sam2.store import Item, RunConfig, VideoRecord, frame_id

RENAMED = RunConfig(models={}, inference={"tracking": {"high_confidence": 0.5}})


def test_a_run_configuration_round_trips_through_json():
    assert RunConfig.from_json(RUN_CONFIG.to_json()) == RUN_CONFIG
    assert RunConfig.from_json(RENAMED.to_json()) == RENAMED


def test_run_configurations_that_differ_have_different_keys():
    assert replace(RUN_CONFIG, source="elsewhere").key != RUN_CONFIG.key
    assert replace(RUN_CONFIG, postprocess={}).key != RUN_CONFIG.key


def test_renamed_settings_are_stored_under_their_first_names():
    assert RENAMED.to_json() == (
        '{"config":{"tracking":{"sure_confidence":0.5}},"decisions":{},"models":{},"source":null}'
    )


def test_inference_is_the_same_where_only_postprocessing_differs():
    assert RUN_CONFIG.same_inference(replace(RUN_CONFIG, postprocess={}))
    assert not RUN_CONFIG.same_inference(replace(RUN_CONFIG, inference={}))
    assert not RUN_CONFIG.same_inference(replace(RUN_CONFIG, source="elsewhere"))


def test_differences_name_each_changed_option_by_its_current_name():
    changed = replace(RENAMED, inference={"tracking": {"high_confidence": 0.6}}, source="x")
    assert RENAMED.differences(changed) == [
        "source: None → 'x'",
        "tracking.high_confidence: 0.5 → 0.6",
    ]
    assert replace(RENAMED, inference={}).differences(RENAMED) == [
        "tracking.high_confidence: not set → 0.5"
    ]
    assert RENAMED.differences(RENAMED) == []


def test_the_content_key_is_that_of_the_file_and_the_frame():
    assert Item("a.jpg", None, "aa").content_key == Item("b.jpg", None, "aa").content_key == "aa"
    assert Item("c/000003", None, "cc", frame_index=3).content_key == "cc frame 3"
    assert Item("a.jpg", None).content_key == "item a.jpg"


def test_frame_ids_have_six_digits_at_least():
    assert frame_id("clip.mp4", 123) == "clip.mp4/000123"
    assert frame_id("clip.mp4", 1_234_567) == "clip.mp4/1234567"


@pytest.mark.parametrize(
    ("fields", "identifiable"),
    [({}, False), ({"file_stamp": "1:1"}, True), ({"content_hash": "aa"}, True)],
    ids=["camera", "stamp", "hash"],
)
def test_a_video_without_hash_and_stamp_never_continues(fields, identifiable):
    record = VideoRecord("clip", None, (20, 30), **fields)
    assert record.is_identifiable == record.continues(record) == identifiable


def test_a_video_of_another_size_or_stride_does_not_continue():
    record = VideoRecord("clip", None, (20, 30), content_hash="aa")
    assert not replace(record, size_hw=(30, 20)).continues(record)
    assert not replace(record, stride=2).continues(record)
