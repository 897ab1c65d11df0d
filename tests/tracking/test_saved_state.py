"""A run that was killed goes on as if it had not been."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from grounded_sam2.errors import SourceError, StoreError
from grounded_sam2.results import VideoFrame
from grounded_sam2.testing import FakeTracker
from grounded_sam2.tracking import ClipState, ClipTracker, track_frames

COUNT = 28
TOLD = {
    0: [("red thing", 0.4, (2, 5, 12, 15))],
    18: [("yellow thing", 0.4, (30, 30, 40, 36))],
    24: [("red thing", 0.9, (26, 5, 36, 15))],
}


def things(index):
    yield ("red", 2 + index, 5, 12 + index, 15)
    if index >= 9:
        yield ("blue", 50 - index, 20, 58 - index, 29)
    if index >= 18:
        yield ("yellow", 30, 30, 40, 36)


@pytest.fixture
def frames(studio):
    """Every third frame of a video with a cut."""
    return [
        VideoFrame(3 * i, i / 7, studio.draw_image(i, things(i), scene=int(i >= 15)))
        for i in range(COUNT)
    ]


OPTIONS = (
    {"detect_every": 6},
    {"detect_every": 6, "fill_backwards": 2},
    {"detect_every": 4, "fill_backwards": 0, "min_hits": 1},
    {"detect_every": 3, "fill_backwards": 9, "min_hits": 3, "max_gone": 2},
)


@pytest.mark.parametrize("values", OPTIONS, ids=str)
def test_going_on_from_any_frame_gives_the_same(studio, frames, values):
    config = studio.options(**values)
    models = (studio.ToldDetector(TOLD), FakeTracker(), studio.ontology, config)
    whole = list(track_frames(frames, *models))
    assert len(studio.story(whole)) >= 2

    clip, given, stops = ClipTracker(*models), 0, []
    for frame in [None, *frames]:
        given += len(clip.feed(frame)) if frame else 0
        stops.append((given, clip.state().to_bytes()))
    for given, saved in stops:
        state = ClipState.from_bytes(saved)
        assert state.released == given
        rest = [frame for frame in frames if frame.index >= state.feed_from]
        assert list(track_frames(rest, *models, resume=state)) == whole[given:]


def test_a_run_may_be_killed_again_before_it_has_gone_on(studio, frames):
    models = (studio.ToldDetector(TOLD), FakeTracker(), studio.ontology, studio.options())
    clip = ClipTracker(*models)
    for frame in frames[:20]:
        clip.feed(frame)
    first = clip.state()
    again = ClipTracker(*models, resume=first)
    for frame in [frame for frame in frames if frame.index >= first.feed_from][:4]:
        assert again.feed(frame) == []
        assert again.state().to_bytes() == first.to_bytes()


def test_frames_that_were_processed_are_looked_at_again_but_not_detected_again(studio, frames):
    detector = studio.ToldDetector(TOLD)
    models = (detector, FakeTracker(), studio.ontology, studio.options())
    clip = ClipTracker(*models)
    for frame in frames[:20]:
        clip.feed(frame)
    looked = detector.looked.copy()
    resumed = ClipTracker(*models, resume=clip.state())
    for frame in frames[10:20]:
        resumed.feed(frame)
    assert detector.looked == looked


def test_a_saved_state_at_the_end_still_holds_what_waits(studio, frames):
    models = (studio.ToldDetector(TOLD), FakeTracker(), studio.ontology, studio.options())
    clip = ClipTracker(*models)
    for frame in frames:
        clip.feed(frame)
    state = clip.state()
    assert ClipTracker(*models, resume=state).finish() == clip.finish()
    assert clip.finish() == []


def test_other_frames_than_before_are_refused(studio, frames):
    models = (studio.ToldDetector(TOLD), FakeTracker(), studio.ontology, studio.options())
    clip = ClipTracker(*models)
    for frame in frames[:20]:
        clip.feed(frame)
    resumed = ClipTracker(*models, resume=clip.state())
    with pytest.raises(SourceError, match="had frame 30 there"):
        resumed.feed(frames[0])
    for frame in frames[10:20]:
        resumed.feed(frame)
    with pytest.raises(SourceError, match="frame 58 or a later one is next"):
        resumed.feed(frames[19])


def test_a_saved_state_holds_no_images(studio, frames):
    models = (studio.ToldDetector(TOLD), FakeTracker(), studio.ontology, studio.options())
    clip = ClipTracker(*models)
    for frame in frames:
        clip.feed(frame)
    assert all(frame.encoded is None for frame in clip.state().waiting)
    assert len(clip.state().to_bytes()) < 25_000


def test_bytes_hold_all_of_a_saved_state(studio, frames):
    models = (studio.ToldDetector(TOLD), FakeTracker(), studio.ontology, studio.options())
    clip = ClipTracker(*models)
    for frame in frames:
        clip.feed(frame)
    before = clip.state()
    after = ClipState.from_bytes(before.to_bytes())
    for field in dataclasses.fields(ClipState):
        if field.name not in ("thumbnail", "waiting"):
            assert getattr(after, field.name) == getattr(before, field.name), field.name
    assert np.array_equal(after.thumbnail, before.thumbnail)
    assert [f.labels for f in after.waiting] == [f.labels for f in before.waiting]
    empty = ClipState.from_bytes(ClipState().to_bytes())
    assert (empty.thumbnail, empty.tracks, empty.waiting, empty.feed_from) == (None, (), (), 0)


@pytest.mark.parametrize("saved", [b"", b"GS2TRK01", b"GS2TRK99" + bytes(20)], ids=str)
def test_other_bytes_are_refused(saved):
    with pytest.raises(StoreError, match="written by another version"):
        ClipState.from_bytes(saved)
