"""The demo of videos, with models that need no weights."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from grounded_sam2 import GroundedSAM2
from grounded_sam2.demo import run_clips
from grounded_sam2.demo.clips import Clip, make_clips
from grounded_sam2.demo.run_clips import run_clip_demo
from grounded_sam2.errors import ExportError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Label, Labels, TrackedFrame
from grounded_sam2.store import LabelStore
from grounded_sam2.testing import FakeDetector, FakeTracker


def the_truth(clips: list[Clip], offset: int):
    """Stands in for reading the store: what is in each frame, under other numbers."""

    def found(store: LabelStore, name: str, size_hw: tuple[int, int]):
        for frame in clips[int(name.removeprefix("clip-"))]:
            yield {offset - number: mask for number, mask in frame.masks.items()}

    return found


@pytest.fixture
def model() -> GroundedSAM2:
    return GroundedSAM2("shapes", config="demo", detector=FakeDetector(), tracker=FakeTracker())


def test_the_truth_scores_perfectly(model, tmp_path, monkeypatch):
    clips = list(make_clips(2, 3, 8))
    monkeypatch.setattr(run_clips, "_found", the_truth(clips, 90))
    result = run_clip_demo(tmp_path / "demo", clips=2, frames=8, seed=3, model=model)
    assert (result.region, result.border) == (1.0, 1.0)
    seen = [
        {i for frame in clip for i, mask in frame.masks.items() if mask.any()} for clip in clips
    ]
    assert result.objects == sum(map(len, seen))


def test_an_odd_side_is_scored_without_the_row_that_makes_it_even(model, tmp_path):
    (clip,) = make_clips(1, 1, 4)
    assert clip.size_hw[0] % 2 == 1
    result = run_clip_demo(tmp_path / "demo", clips=1, frames=4, seed=1, model=model)
    [video] = result.tracks.run.videos
    whole = encode(np.ones((1, clip.size_hw[0] + 1, clip.size_hw[1]), np.bool_))[0]
    label = Label("star", "a star", (0, 0, 9, 9), whole, None, None, track_id=1)
    labels = Labels(whole.size_hw, (label,))
    with LabelStore.create(tmp_path / "demo") as store:
        store.write_frames(result.tracks.run.run_id, video.name, [TrackedFrame(0, 0.0, labels)])
        found = next(run_clips._found(store, video.name, clip.size_hw))
    assert found[1].shape == clip.size_hw


def test_what_it_leaves(model, tmp_path):
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
    assert (again.region, again.border) == (result.region, result.border)


def test_other_clips_in_the_same_folder(model, tmp_path):
    run_clip_demo(tmp_path / "demo", clips=1, frames=6, seed=3, model=model)
    with pytest.raises(ExportError, match="holds a demo with other clips"):
        run_clip_demo(tmp_path / "demo", clips=1, frames=6, seed=4, model=model)
