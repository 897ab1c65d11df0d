"""The evaluation of tracks: what is shown when, and that both trackers are asked the same."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("trackeval", reason="needs the evaluation extra")

from embedded_training.evaluate import HELD_OUT_SEED
from embedded_training.evaluate_tracker import follow, follow_by_reference, follow_by_text, main
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


def test_objects_are_shown_once_where_they_are_first_seen(tracker, clip):
    followed = follow(tracker, clip)
    assert followed.since is not None
    assert len(followed.truth) == len(followed.predicted) == len(clip)
    for number, since in followed.since.items():
        assert followed.truth[since - 1][number].any()
        assert not any(frame[number].any() for frame in followed.truth[: since - 1])
        assert not any(number in frame for frame in followed.predicted[:since])
        assert all(number in frame for frame in followed.predicted[since:])


def test_frames_before_an_object_was_shown_are_no_misses(tracker, clip):
    followed = follow(tracker, clip)
    perfect = [
        {n: mask for n, mask in frame.items() if index >= followed.since.get(n, 0)}
        for index, frame in enumerate(followed.truth)
    ]
    scores = summarize([type(followed)(followed.truth, perfect, followed.since).score()])
    assert (scores.region_and_border, scores.hota, scores.switches) == (1, 1, 0)


def test_both_trackers_are_asked_the_same(tracker, clip):
    ours, reference = follow(tracker, clip), follow_by_reference(tracker, clip)
    assert ours.since == reference.since
    for mine, theirs in zip(ours.predicted, reference.predicted, strict=True):
        assert mine.keys() == theirs.keys()
        for number in mine:
            assert np.mean(mine[number] != theirs[number]) < 0.01


def test_the_shapes_of_a_clip_are_found_by_their_names(clip):
    followed = follow_by_text(GroundedSAM2("shapes", config="demo"), clip)
    assert len(followed.predicted) == len(clip)
    assert summarize([followed.score()]).region > 0.5


def test_the_command_prints_a_line_for_each_way(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["track_evaluate", "--clips", "1", "--frames", "3"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ours", "reference", "text"]
    assert all("J&F" in line and "HOTA" in line for line in lines)
