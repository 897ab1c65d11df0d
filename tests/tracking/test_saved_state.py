"""Saved states: a run that was killed continues as if it had not been."""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib

import numpy as np
import pytest
from fixtures.tracking import ONTOLOGY, ScriptedDetector, draw_image, make_config, origins

from grounded_sam2.errors import SourceError, StoreError
from grounded_sam2.geometry.rle import rectangle
from grounded_sam2.results import Label, VideoFrame
from grounded_sam2.testing import FakeTracker
from grounded_sam2.tracking import ClipState, ClipTracker, track_frames
from grounded_sam2.tracking.color_histogram import ColorHistogram
from grounded_sam2.tracking.tracks import Track

COUNT = 28
SCRIPT = {
    0: [("red thing", 0.4, (2, 5, 12, 15))],
    18: [("yellow thing", 0.4, (30, 30, 40, 36))],
    24: [("red thing", 0.9, (26, 5, 36, 15))],
}


def objects(index):
    yield ("red", 2 + index, 5, 12 + index, 15)
    if index >= 9:
        yield ("blue", 50 - index, 20, 58 - index, 29)
    if index >= 18:
        yield ("yellow", 30, 30, 40, 36)


@pytest.fixture
def frames():
    """Every third frame of a video with a cut."""
    return [
        VideoFrame(3 * i, i / 7, draw_image(i, objects(i), scene=int(i >= 15)))
        for i in range(COUNT)
    ]


OPTIONS = (
    {"detect_every": 6},
    {"detect_every": 6, "backward_frames": 2},
    {"detect_every": 4, "backward_frames": 0, "min_hits": 1},
    {"detect_every": 3, "backward_frames": 9, "min_hits": 3, "max_age": 2},
)


@pytest.mark.slow
@pytest.mark.parametrize("values", OPTIONS, ids=str)
def test_resuming_from_any_frame_gives_the_same_labels(frames, values):
    config = make_config(**values)
    models = (ScriptedDetector(SCRIPT), FakeTracker(), ONTOLOGY, config)
    whole = list(track_frames(frames, *models))
    assert len(origins(whole)) >= 2

    clip, released, stops = ClipTracker(*models), 0, []
    for frame in [None, *frames]:
        released += len(clip.feed(frame)) if frame else 0
        stops.append((released, clip.state().to_bytes()))
    for released, saved in stops:
        state = ClipState.from_bytes(saved)
        assert state.released == released
        rest = [frame for frame in frames if frame.index >= state.feed_from]
        assert list(track_frames(rest, *models, resume=state)) == whole[released:]


def test_a_run_that_is_killed_while_it_resumes_has_the_same_state(frames):
    models = (ScriptedDetector(SCRIPT), FakeTracker(), ONTOLOGY, make_config())
    clip = ClipTracker(*models)
    for frame in frames[:20]:
        clip.feed(frame)
    first = clip.state()
    again = ClipTracker(*models, resume=first)
    for frame in [frame for frame in frames if frame.index >= first.feed_from][:4]:
        assert again.feed(frame) == []
        assert again.state().to_bytes() == first.to_bytes()


def test_processed_frames_are_encoded_again_but_not_detected_again(frames):
    detector = ScriptedDetector(SCRIPT)
    models = (detector, FakeTracker(), ONTOLOGY, make_config())
    clip = ClipTracker(*models)
    for frame in frames[:20]:
        clip.feed(frame)
    detected = detector.frames.copy()
    resumed = ClipTracker(*models, resume=clip.state())
    for frame in frames[10:20]:
        resumed.feed(frame)
    assert detector.frames == detected


def test_a_saved_state_at_the_end_holds_the_pending_frames(frames):
    models = (ScriptedDetector(SCRIPT), FakeTracker(), ONTOLOGY, make_config())
    clip = ClipTracker(*models)
    for frame in frames:
        clip.feed(frame)
    state = clip.state()
    assert ClipTracker(*models, resume=state).finish() == clip.finish()
    assert clip.finish() == []


def test_resuming_with_other_frames_is_an_error(frames):
    models = (ScriptedDetector(SCRIPT), FakeTracker(), ONTOLOGY, make_config())
    clip = ClipTracker(*models)
    for frame in frames[:20]:
        clip.feed(frame)
    resumed = ClipTracker(*models, resume=clip.state())
    with pytest.raises(SourceError, match="had frame 30 there"):
        resumed.feed(frames[0])
    for frame in frames[10:20]:
        resumed.feed(frame)
    with pytest.raises(SourceError, match="expected frame 58 or a later one"):
        resumed.feed(frames[19])


def test_a_saved_state_holds_no_images(frames):
    models = (ScriptedDetector(SCRIPT), FakeTracker(), ONTOLOGY, make_config())
    clip = ClipTracker(*models)
    for frame in frames:
        clip.feed(frame)
    assert all(frame.features is None for frame in clip.state().pending)
    assert len(clip.state().to_bytes()) < 25_000


def test_bytes_hold_the_whole_state(frames):
    models = (ScriptedDetector(SCRIPT), FakeTracker(), ONTOLOGY, make_config())
    clip = ClipTracker(*models)
    for frame in frames:
        clip.feed(frame)
    before = clip.state()
    after = ClipState.from_bytes(before.to_bytes())
    for field in dataclasses.fields(ClipState):
        if field.name not in ("thumbnail", "pending"):
            assert getattr(after, field.name) == getattr(before, field.name), field.name
    assert np.array_equal(after.thumbnail, before.thumbnail)
    assert [f.labels for f in after.pending] == [f.labels for f in before.pending]
    empty = ClipState.from_bytes(ClipState().to_bytes())
    assert (empty.thumbnail, empty.tracks, empty.pending, empty.feed_from) == (None, (), (), 0)


@pytest.mark.parametrize("saved", [b"", b"GS2TRK01", b"GS2TRK99" + bytes(20)], ids=str)
def test_other_bytes_are_an_error(saved):
    with pytest.raises(StoreError, match="written by another version"):
        ClipState.from_bytes(saved)


def saved_by_an_earlier_release() -> bytes:
    """Bytes of a saved state, key by key as earlier releases have written it."""
    values = {
        "feed_from": 6,
        "position": 5,
        "since_look": 4,
        "next_number": 9,
        "next_track_id": 2,
        "track_ids": [[3, 1]],
        "thumbnail": base64.b64encode(bytes(32 * 32 * 3)).decode(),
        "tracks": [
            {
                "number": 8,
                "identity": 3,
                "class_name": "ball",
                "caption": "red thing",
                "confidence": 0.75,
                "appearance": base64.b64encode(zlib.compress(bytes(768))).decode(),
                "votes": [["ball", 1.5], ["box", 0.5]],
                "hits": 2,
                "is_confirmed": True,
                "misses": 1,
                "gone": 2,
                "place_xyxy": [1.0, 2.0, 3.0, 4.0],
                "size": 2.0,
            }
        ],
        "waiting": [
            {
                "position": 4,
                "index": 8,
                "time": 0.5,
                "size_hw": [4, 6],
                "begins_scene": False,
                "labels": [
                    {
                        "class_name": "ball",
                        "caption": "red thing",
                        "box_xyxy": [0.0, 0.0, 6.0, 4.0],
                        "mask": rectangle((0, 0, 6, 4), (4, 6)).counts.decode(),
                        "confidence": 0.75,
                        "mask_quality": 0.5,
                        "track_id": 3,
                        "origin": "model",
                        "detected_box_xyxy": [0.0, 0.0, 5.5, 4.0],
                        "track_origin": "detected",
                    }
                ],
            }
        ],
    }
    text = json.dumps(values, separators=(",", ":")).encode()
    return b"GS2TRK03" + len(text).to_bytes(8, "little") + text + b"of the tracker"


def test_a_state_saved_by_an_earlier_release_is_read():
    state = ClipState.from_bytes(saved_by_an_earlier_release())
    assert (state.feed_from, state.position, state.frames_since_detection) == (6, 5, 4)
    assert (state.next_object_id, state.next_track_id, state.track_ids) == (9, 2, {3: 1})
    assert (state.next_index, state.released) == (9, 4)
    assert np.array_equal(state.thumbnail, np.zeros((32, 32, 3), np.uint8))
    assert state.tracks == (
        Track(
            object_id=8,
            identity=3,
            class_name="ball",
            caption="red thing",
            confidence=0.75,
            histogram=ColorHistogram(bytes(768)),
            class_scores=(("ball", 1.5), ("box", 0.5)),
            hits=2,
            is_confirmed=True,
            misses=1,
            frames_absent=2,
            last_box_xyxy=(1, 2, 3, 4),
            max_side=2,
        ),
    )
    [frame] = state.pending
    assert (frame.position, frame.index, frame.time, frame.size_hw) == (4, 8, 0.5, (4, 6))
    assert (frame.begins_scene, frame.features) == (False, None)
    assert frame.labels == (
        Label(
            "ball",
            "red thing",
            (0, 0, 6, 4),
            rectangle((0, 0, 6, 4), (4, 6)),
            0.75,
            0.5,
            track_id=3,
            detected_box_xyxy=(0, 0, 5.5, 4),
            track_origin="detected",
        ),
    )
    assert state.tracker_state == b"of the tracker"


def test_a_state_is_written_as_by_earlier_releases():
    saved = saved_by_an_earlier_release()
    assert ClipState.from_bytes(saved).to_bytes() == saved
