"""The video demo, with models that need no weights."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from grounded_sam2 import GroundedSAM2
from grounded_sam2.demo.clips import Clip, make_clips
from grounded_sam2.demo.davis_metrics import visible_ids
from grounded_sam2.demo.run_clips import run_clip_demo, score_clips
from grounded_sam2.errors import ExportError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Label, Labels, TrackedFrame
from grounded_sam2.store import LabelStore, RunConfig, VideoRecord
from grounded_sam2.testing import FakeDetector, FakeTracker


@pytest.fixture
def model() -> GroundedSAM2:
    return GroundedSAM2("shapes", config="demo", detector=FakeDetector(), tracker=FakeTracker())


def write_truth(store: LabelStore, name: str, clip: Clip, *, pad_hw: tuple[int, int] = (0, 0)):
    """Store the true masks under other ids, padded as in a video of even sides."""
    height, width = (side + pad for side, pad in zip(clip.size_hw, pad_hw, strict=True))
    run = store.begin_run(RunConfig(models={}, inference={}))
    store.begin_video(run.id, VideoRecord(name, None, (height, width)))
    frames = []
    for frame in clip:
        objects = []
        for number, mask in frame.masks.items():
            if mask.any():
                padded = np.pad(mask, [(0, pad) for pad in pad_hw], constant_values=True)
                (rle,) = encode(padded)
                objects.append(
                    Label("star", "a star", (0, 0, 9, 9), rle, None, None, track_id=90 - number)
                )
        frames.append(TrackedFrame(frame.index, 0.0, Labels((height, width), tuple(objects))))
    store.write_frames(run.id, name, frames, finished=True)


def test_the_truth_under_other_ids_scores_one(tmp_path):
    (clip,) = make_clips(1, 3, 8)
    with LabelStore.create(tmp_path) as store:
        write_truth(store, "clip", clip)
        scores = score_clips(store, {"clip": clip})
    assert (scores.mean().region, scores.mean().boundary) == (1.0, 1.0)
    assert len(scores) == len(visible_ids([frame.masks for frame in clip]))


def test_the_row_that_makes_a_side_even_does_not_count(tmp_path):
    (clip,) = make_clips(1, 1, 4)
    assert clip.size_hw[0] % 2 == 1
    with LabelStore.create(tmp_path) as store:
        write_truth(store, "clip", clip, pad_hw=(1, 0))
        scores = score_clips(store, {"clip": clip})
    assert (scores.mean().region, scores.mean().boundary) == (1.0, 1.0)


@pytest.mark.slow
def test_the_same_call_continues_and_gives_the_same_scores(model, tmp_path):
    result = run_clip_demo(tmp_path / "demo", clips=2, frames=8, seed=3, model=model)
    found = sorted(path.name for path in tmp_path.glob("demo/*") if not path.name.startswith("."))
    assert {"annotated", "clips", "contact_sheet.png", "labels.db", "youtube-vis"} <= set(found)
    assert [path.name for path in result.tracks.annotated] == ["clip-000.mp4", "clip-001.mp4"]
    with PIL.Image.open(result.contact_sheet) as sheet:
        assert sheet.height > 500
    before = result.tracks.run.videos[0].frames
    again = run_clip_demo(tmp_path / "demo", clips=2, frames=8, seed=3, model=model)
    assert [video.frames_now for video in again.tracks.run.videos] == [0, 0]
    assert again.tracks.run.videos[0].frames == before == 8
    assert again.scores.mean() == result.scores.mean()


@pytest.mark.slow
def test_a_folder_of_other_clips_is_refused(model, tmp_path):
    run_clip_demo(tmp_path / "demo", clips=1, frames=6, seed=3, model=model)
    with pytest.raises(ExportError, match="holds a demo with other clips"):
        run_clip_demo(tmp_path / "demo", clips=1, frames=6, seed=4, model=model)
