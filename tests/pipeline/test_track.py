"""The façade `GroundedSAM2` on videos: `track` into a store, and `predict_video`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from grounded_sam2 import GroundedSAM2
from grounded_sam2.errors import ConfigError, PromptError, SourceError, StoreError, VideoError
from grounded_sam2.models.protocols import TrackPrompt
from grounded_sam2.sources.video import open_video
from grounded_sam2.store import LabelStore
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter, FakeTracker


def contents(folder: Path) -> list[tuple]:
    """Every frame of the current run with its labels."""
    with LabelStore.open(folder) as store:
        return [(item.item_id, item.frame_index, labels) for item, labels in store.labels()]


class CountingTracker(FakeTracker):
    """Counts the frames that it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded_frames = 0

    def encode(self, image):
        self.encoded_frames += 1
        return super().encode(image)


class RecordingProgress:
    """A `VideoProgress` that records what it receives."""

    def __init__(self) -> None:
        self.received: list = []

    def start(self, name, total):
        self.received.append((name, total))

    def advance(self, frames):
        self.received.append(frames)


class TestTrack:
    def test_every_frame_is_labeled(self, model, frames_folder, tmp_path):
        progress = RecordingProgress()
        result = model.track(frames_folder, tmp_path / "out", progress=progress)
        [video] = result.run.videos
        assert (video.name, video.frames, video.frames_now, video.tracks) == ("walk", 24, 24, 2)
        assert video.error is None
        found = contents(tmp_path / "out")
        assert [index for _, index, _ in found] == list(range(24))
        assert found[7][0] == "walk/000007"
        names = [[label.class_name for label in labels.objects] for _, _, labels in found]
        assert names == [["warm"]] * 6 + [["warm", "cold"]] * 18
        origins = {label.track_origin for _, _, labels in found for label in labels.objects}
        assert origins == {"detected", "forwards", "backwards"}
        for frame, (_, _, labels) in enumerate(found):
            assert labels.objects[0].box_xyxy == (4 + frame, 8, min(20 + frame, 64), 24)
        assert progress.received[0] == ("walk", 24)
        assert sum(progress.received[1:]) == 24

    def test_stride_and_time_range_select_frames(self, model, frames_folder, tmp_path):
        model.track(frames_folder, tmp_path / "out", stride=3, start=0.2, end=0.6, fps=25)
        assert [index for _, index, _ in contents(tmp_path / "out")] == [6, 9, 12]

    def test_an_unreadable_video_among_several_fails_alone(
        self, model, clip, frames_folder, tmp_path
    ):
        broken = tmp_path / "broken.mp4"
        broken.write_bytes(clip.read_bytes()[:200])
        result = model.track([clip, broken, frames_folder], tmp_path / "out")
        assert [video.name for video in result.run.videos] == ["clip", "broken", "walk"]
        assert [video.frames for video in result.run.videos] == [24, 0, 24]
        [failed] = result.run.failed
        assert "broken.mp4" in str(failed.error)
        with LabelStore.open(tmp_path / "out") as store:
            summary = store.summary()
            assert (summary.images, summary.failed) == (48, 1)

    def test_an_unreadable_only_video_is_an_error(self, model, tmp_path):
        with pytest.raises(SourceError, match=r"nowhere\.mp4"):
            model.track(tmp_path / "nowhere.mp4", tmp_path / "out")

    def test_videos_of_a_folder_are_named_by_their_relative_path(self, model, clip, tmp_path):
        folder = tmp_path / "clips"
        (folder / "day").mkdir(parents=True)
        shutil.copy(clip, folder / "day" / "one.mp4")
        (folder / "two.mp4").write_bytes(
            clip.read_bytes() + b"\0"
        )  # an identical file would be refused
        result = model.track(folder, tmp_path / "out", annotated=tmp_path / "shown")
        assert [video.name for video in result.run.videos] == ["day/one.mp4", "two.mp4"]
        assert [path.relative_to(tmp_path).as_posix() for path in result.annotated] == [
            "shown/day/one.mp4",
            "shown/two.mp4",
        ]
        assert all(path.is_file() for path in result.annotated)

    def test_two_videos_of_one_name_are_refused(self, model, clip, tmp_path):
        (tmp_path / "other").mkdir()
        shutil.copy(clip, tmp_path / "other" / "clip.mp4")
        with pytest.raises(SourceError, match="would both be named 'clip'"):
            model.track([clip, tmp_path / "other" / "clip.mp4"], tmp_path / "out")
        model.track(clip, tmp_path / "out")
        # Equal bytes would be the same video in another folder.
        changed = tmp_path / "other" / "clip.mp4"
        changed.write_bytes(changed.read_bytes() + b"\0")
        with pytest.raises(StoreError, match="another video named 'clip'"):
            model.track(changed, tmp_path / "out")

    def test_datasets_of_frames_are_exported(self, model, clip, tmp_path):
        result = model.track(clip, tmp_path / "out", formats=("youtube-vis", "yolo"))
        assert set(result.exports) == {"youtube-vis", "yolo"}
        assert len(list((tmp_path / "out" / "yolo").rglob("*.jpg"))) == 24


class TestRunningAgain:
    def test_a_finished_run_calls_no_model(self, model, frames_folder, tmp_path):
        model.track(frames_folder, tmp_path / "out")
        before = contents(tmp_path / "out")
        lazy = GroundedSAM2(
            model.ontology,
            config=model.config,
            detector=FakeDetector(),
            tracker=(again := CountingTracker()),
        )
        # Runs are distinguished by the names of their models.
        CountingTracker.__qualname__ = FakeTracker.__qualname__
        CountingTracker.__module__ = FakeTracker.__module__
        result = lazy.track(frames_folder, tmp_path / "out")
        assert again.encoded_frames == 0
        assert result.run.videos[0].frames_now == 0
        assert contents(tmp_path / "out") == before

    def test_other_settings_need_a_new_run(self, model, frames_folder, tmp_path):
        model.track(frames_folder, tmp_path / "out")
        with pytest.raises(StoreError, match=r"frames\.stride: 1 → 2"):
            model.track(frames_folder, tmp_path / "out", stride=2)
        with pytest.raises(StoreError, match=r"tracking\.detect_every: 4 → 5"):
            model.track(frames_folder, tmp_path / "out", detect_every=5)
        result = model.track(frames_folder, tmp_path / "out", stride=2, new_run=True)
        assert result.run.videos[0].frames == 12
        with LabelStore.open(tmp_path / "out") as store:
            assert [store.summary(run.id).images for run in store.runs()] == [24, 12]

    def test_another_ontology_needs_a_new_run(self, model, make_model, frames_folder, tmp_path):
        model.track(frames_folder, tmp_path / "out")
        other = make_model({"red box": "hot"})
        with pytest.raises(StoreError, match=r"detector\.captions"):
            other.track(frames_folder, tmp_path / "out")

    def test_a_video_that_changed_is_labeled_again(self, model, frames_folder, tmp_path):
        model.track(frames_folder, tmp_path / "out")
        for frame in range(12, 24):
            (frames_folder / f"{frame}.png").unlink()
        result = model.track(frames_folder, tmp_path / "out")
        assert result.run.videos[0].frames == 12
        assert len(contents(tmp_path / "out")) == 12


class TestAnnotatedVideo:
    def test_progress_includes_the_annotated_video(self, model, frames_folder, tmp_path):
        progress = RecordingProgress()
        shown = tmp_path / "shown.mp4"
        model.track(frames_folder, tmp_path / "out", annotated=shown, progress=progress)
        begun = progress.received.index(("drawing walk", 24))
        assert sum(progress.received[begun + 1 :]) == 24

    def test_the_annotated_video_shows_every_labeled_frame(self, model, frames_folder, tmp_path):
        result = model.track(
            frames_folder, tmp_path / "out", annotated=tmp_path / "shown.mp4", stride=2, fps=10
        )
        [path] = result.annotated
        shown = list(open_video(path))
        assert len(shown) == 12
        np.testing.assert_allclose([frame.time for frame in shown], np.arange(12) * 0.2, atol=1e-3)
        plain = [frame.image for frame in open_video(frames_folder, stride=2)]
        differences = [
            np.abs(frame.image.astype(int) - image).max()
            for frame, image in zip(shown, plain, strict=True)
        ]
        assert min(differences) > 60, "nothing was drawn"

    def test_an_unsupported_annotated_video_is_refused_before_anything_is_labeled(
        self, model, clip, tmp_path
    ):
        with pytest.raises(VideoError, match=r"'\.avi'"):
            model.track(clip, tmp_path / "out", annotated=tmp_path / "shown.avi")
        assert not (tmp_path / "out").exists()


class TestPredictVideo:
    def test_predict_video_yields_detections(self, model, frames_folder):
        frames = list(model.predict_video(frames_folder, fps=10))
        assert [frame.frame_index for frame in frames] == list(range(24))
        assert frames[10].time == pytest.approx(1.0)
        assert frames[10].detections.tracker_id.tolist() == [1, 2]
        assert frames[10].detections.data["class_name"].tolist() == ["warm", "cold"]
        by_track = {
            (number, uid)
            for _, _, found in frames
            for number, uid in zip(found.tracker_id, found.data["uid"], strict=True)
        }
        assert len(by_track) == len({uid for _, uid in by_track}) == 2
        index, time, detections = frames[0]
        assert (index, time, len(detections)) == (0, 0.0, 1)

    def test_predict_video_takes_images_and_a_caption(self, model, frames_folder):
        images = [frame.image for frame in open_video(frames_folder)]
        frames = list(model.predict_video(iter(images), "blue box", detect_every=3))
        counts = [len(frame.detections) for frame in frames]
        assert counts == [0] * 6 + [1] * 18
        assert frames[-1].detections.data["class_name"].tolist() == ["blue box"]

    def test_predict_video_tracks_prompted_objects(self, model, frames_folder):
        prompts = {6: {3: TrackPrompt(points_xy=[[12, 16]], point_labels=[1])}}
        frames = list(model.predict_video(frames_folder, prompts=prompts))
        assert [len(frame.detections) for frame in frames] == [0] * 6 + [1] * 18
        assert frames[9].detections.tracker_id.tolist() == [3]
        assert frames[9].detections.data["class_name"].tolist() == ["object"]

    def test_a_closed_generator_stops_decoding(self, model, clip):
        frames = model.predict_video(clip)
        next(frames)
        frames.close()

    @pytest.mark.parametrize("stays", ["red", "blue"])
    def test_classes_named_by_the_detector_keep_their_ids(self, stays):
        """Two boxes, of which one vanishes."""

        class LabelingDetector(FakeDetector):
            def detect(self, images, captions):
                return super().detect(images, [["blue box", "red box"]] * len(images))

        both = np.zeros((48, 64, 3), np.uint8)
        both[8:24, 4:20], both[28:44, 30:50] = COLORS["red"], COLORS["blue"]
        one = np.where((both == COLORS[stays]).all(axis=-1, keepdims=True), both, 0).astype(
            np.uint8
        )
        model = GroundedSAM2(
            config={"detector": {"task": "object_detection"}, "tracking": {"detect_every": 4}},
            detector=LabelingDetector(),
            segmenter=FakeSegmenter(),
            tracker=FakeTracker(),
        )
        frames = list(model.predict_video([both] * 6 + [one] * 6))
        assert [len(frame.detections) for frame in frames] == [2] * 6 + [1] * 6
        first, last = frames[0].detections, frames[-1].detections
        before = dict(zip(first.data["class_name"].tolist(), first.class_id.tolist(), strict=True))
        assert before[f"{stays} box"] == last.class_id[0]

    def test_captions_and_prompts_together_are_refused(self, model, clip):
        prompts = {0: {1: TrackPrompt(box_xyxy=[4, 8, 20, 24])}}
        with pytest.raises(PromptError, match="give one of them"):
            next(model.predict_video(clip, "red box", prompts=prompts))

    def test_invalid_arguments_are_refused(self, model, clip):
        with pytest.raises(PromptError, match="not text"):
            list(model.predict_video(clip, " "))
        with pytest.raises(ConfigError, match="detect_every"):
            list(model.predict_video(clip, detect_every=0))
        nameless = GroundedSAM2(detector=FakeDetector(), segmenter=FakeSegmenter())
        with pytest.raises(ConfigError, match="give an ontology"):
            nameless.track(clip, clip.parent / "out")

    def test_invalid_arguments_are_refused_at_the_call_before_anything_is_opened(self, model):
        with pytest.raises(PromptError, match="not text"):
            model.predict_video("absent.mp4", " ")
        with pytest.raises(ConfigError, match="detect_every"):
            model.predict_video("absent.mp4", detect_every=0)
        nameless = GroundedSAM2(detector=FakeDetector(), segmenter=FakeSegmenter())
        with pytest.raises(ConfigError, match="give an ontology"):
            nameless.predict_video("absent.mp4")
        with pytest.raises(SourceError, match=r"absent\.mp4"):
            model.predict_video("absent.mp4")
