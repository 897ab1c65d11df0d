"""Evaluation of the tracker: when objects are prompted, and equal prompts for both trackers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("trackeval", reason="needs the evaluation extra")

from embedded_training.evaluate import HELD_OUT_SEED
from embedded_training.evaluate_tracker import (
    main,
    track_from_masks,
    track_from_text,
    track_with_reference,
)
from embedded_training.tracking_metrics import summarize
from grounded_sam2.config import load_config
from grounded_sam2.demo.clips import Clip, make_clips
from grounded_sam2.models.sam2.tracker import Sam2Tracker
from grounded_sam2.pipeline import GroundedSAM2


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Eight frames in which something enters late."""
    for clip in make_clips(50, HELD_OUT_SEED, 8, (160, 200)):
        frames = list(clip)
        entered = [n for n, mask in frames[0].masks.items() if not mask.any()]
        if any(frames[5].masks[number].any() for number in entered):
            return clip
    raise AssertionError("choose another seed")


@pytest.fixture(scope="module")
def tracker() -> Sam2Tracker:
    return Sam2Tracker.from_config(load_config("demo"))


def test_objects_are_prompted_once_on_the_first_frame_that_shows_them(tracker, clip):
    tracked = track_from_masks(tracker, clip)
    assert tracked.since is not None
    assert len(tracked.truth) == len(tracked.predicted) == len(clip)
    for number, since in tracked.since.items():
        assert tracked.truth[since - 1][number].any()
        assert not any(frame[number].any() for frame in tracked.truth[: since - 1])
        assert not any(number in frame for frame in tracked.predicted[:since])
        assert all(number in frame for frame in tracked.predicted[since:])


def test_frames_before_the_prompt_do_not_count_as_misses(tracker, clip):
    tracked = track_from_masks(tracker, clip)
    perfect = [
        {n: mask for n, mask in frame.items() if index >= tracked.since.get(n, 0)}
        for index, frame in enumerate(tracked.truth)
    ]
    scores = summarize([type(tracked)(tracked.truth, perfect, tracked.since).score()])
    assert (scores.davis.j_and_f, scores.hota, scores.switches) == (1, 1, 0)


def test_both_trackers_get_the_same_prompts_and_agree(tracker, clip):
    ours, reference = track_from_masks(tracker, clip), track_with_reference(tracker, clip)
    assert ours.since == reference.since
    for mine, theirs in zip(ours.predicted, reference.predicted, strict=True):
        assert mine.keys() == theirs.keys()
        for number in mine:
            assert np.mean(mine[number] != theirs[number]) < 0.01


def test_the_shapes_of_a_clip_are_tracked_by_their_names(clip):
    tracked = track_from_text(GroundedSAM2("shapes", config="demo"), clip)
    assert len(tracked.predicted) == len(clip)
    assert summarize([tracked.score()]).davis.region > 0.5


def test_the_command_prints_a_line_for_each_method(capsys):
    main(["--clips", "1", "--frames", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ours", "reference", "text"]
    assert all("J&F" in line and "HOTA" in line for line in lines)
