"""YouTube-VIS: tracks over the frames of their videos."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.exporters.coco_json import CocoJsonWriter
from grounded_sam2.exporters.formats.youtube_vis import write_track, write_video
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Labels, TrackedFrame
from grounded_sam2.store import VideoRecord


def run(tracked, **options):
    folder = tracked.folder / "youtube-vis"
    summary = export("youtube-vis", tracked.store, folder, ExportOptions(**options))
    return summary, {
        path.stem.removeprefix("instances_"): json.loads(path.read_text())
        for path in (folder / "annotations").iterdir()
    }


def masks_of(annotation) -> list[np.ndarray | None]:
    """Decode the masks of a track as readers of the dataset do; ``None`` where it has none."""
    height, width = annotation["height"], annotation["width"]
    return [
        None if each is None else coco_mask.decode(coco_mask.frPyObjects(each, height, width))
        for each in annotation["segmentations"]
    ]


def test_a_track_has_an_entry_for_each_frame(tracked):
    square = tracked.square
    frames = {
        0: [square(2, 40, 30, "box")],
        3: [square(1, 5, confidence=0.5), square(2, 41, 30, "box", confidence=None)],
        4: [],
        9: [square(1, 60, 40, confidence=0.8)],
    }
    tracked.add(tracked.movie("clip.mp4", 10), frames)
    summary, files = run(tracked)
    assert summary.images == {"train": 4}
    assert summary.objects == {"ball": 2, "box": 2, "Katze ü": 0}
    dataset = files["train"]
    assert dataset["videos"] == [
        {
            "id": 1,
            "width": 64,
            "height": 48,
            "length": 4,
            "file_names": [f"clip/{number:06}.jpg" for number in frames],
        }
    ]
    root = tracked.folder / "youtube-vis" / "JPEGImages" / "train"
    found = [tracked.number_of(root / name) for name in dataset["videos"][0]["file_names"]]
    assert found == list(frames)
    assert [each["name"] for each in dataset["categories"]] == ["ball", "box", "Katze ü"]
    ball, box = dataset["annotations"]
    assert (ball["id"], ball["video_id"], ball["category_id"], ball["iscrowd"]) == (1, 1, 1, 0)
    assert (ball["track_id"], ball["score"]) == (1, 0.65)
    assert (box["id"], box["category_id"], box["track_id"], box["score"]) == (2, 2, 2, 0.75)
    assert ball["bboxes"] == [None, [5, 10, 12, 12], None, [60, 40, 4, 8]]
    assert ball["areas"] == [None, 144, None, 32]
    for annotation, track_id in ((ball, 1), (box, 2)):
        for place, mask in enumerate(masks_of(annotation)):
            labels = [each for each in frames[list(frames)[place]] if each.track_id == track_id]
            if labels:
                np.testing.assert_array_equal(mask, labels[0].mask.decode())
            else:
                assert mask is None
    assert [place is None for place in box["segmentations"]] == [False, False, True, True]


def test_videos_of_each_split_have_a_file_and_ids_of_their_own(tracked):
    for number in range(8):
        labeled = {0: [tracked.square(7, number)], 1: [tracked.square(7, number)]}
        tracked.add(tracked.images(f"deep/clip {number}", 2), labeled, name=f"deep/clip {number}")
    _, files = run(tracked, split={"train": 0.5, "val": 0.5})
    for split, dataset in files.items():
        assert [video["id"] for video in dataset["videos"]] == [
            annotation["video_id"] for annotation in dataset["annotations"]
        ]
        for video, annotation in zip(dataset["videos"], dataset["annotations"], strict=True):
            first = video["file_names"][0]
            assert first.startswith("deep_clip_")
            assert first.count("/") == 1
            left = int(first.split("/")[0].removeprefix("deep_clip_"))
            assert annotation["bboxes"] == [[left, 10, 12, 12]] * 2
            folder = tracked.folder / "youtube-vis" / "JPEGImages" / split
            assert all((folder / name).is_file() for name in video["file_names"])
    assert sum(len(dataset["videos"]) for dataset in files.values()) == 8


def test_frames_skipped_by_the_stride_have_no_entry(tracked):
    labeled = {number: [tracked.square(1 + number % 2, 10 + number)] for number in range(6)}
    tracked.add(tracked.movie("clip.mp4", 6), labeled)
    _, files = run(tracked, frame_stride=2)
    [annotation] = files["train"]["annotations"]
    assert annotation["track_id"] == 1
    assert [box[0] for box in annotation["bboxes"]] == [10, 12, 14]


def test_frames_without_a_visible_pixel_are_null(tracked):
    square = tracked.square
    labeled = {
        0: [square(1, 70), square(2, 70), square(None, 5)],  # outside the image
        1: [square(1, 5), square(3, 5, confidence=0.1), square(4, 30, has_mask=False)],
    }
    labeled[1][2] = square(4, 30, has_mask=False, box_xyxy=(29.5, 10.0, 42.0, 21.5))
    tracked.add(tracked.movie("clip.mp4", 2), labeled)
    summary, files = run(tracked, min_confidence=0.3)
    first, fourth = files["train"]["annotations"]
    assert (first["track_id"], first["areas"]) == (1, [None, 144])
    assert (fourth["track_id"], fourth["bboxes"]) == (4, [None, [29, 10, 13, 12]])
    assert set(summary.notes) == {
        "objects below the thresholds, left out: 1",
        "objects without a mask, written as their box: 1",
        "objects without a track, left out: 1",
    }


def test_videos_without_frames_are_left_out_and_unfinished_ones_noted(tracked):
    tracked.store.begin_video(tracked.run.id, VideoRecord("begun", None, tracked.size_hw))
    tracked.add(tracked.movie("clip.mp4", 1), {0: []})
    summary, files = run(tracked)
    assert [video["file_names"] for video in files["train"]["videos"]] == [["clip/000000.jpg"]]
    assert files["train"]["annotations"] == []
    assert summary.notes == ("videos that are not labeled to their end: 1",)


def test_videos_with_colliding_names_get_different_folders(tracked):
    for name in ("a/b", "a_b", "A b", "..x"):
        tracked.add(tracked.images(name.replace("..", "dots"), 1), {0: []}, name=name)
    _, files = run(tracked)
    names = [video["file_names"][0].split("/")[0] for video in files["train"]["videos"]]
    assert names == ["_x", "A_b", "a_b_2", "a_b_3"]


@pytest.mark.parametrize("format_name", ["youtube-vis", "mots", "davis"])
def test_a_run_without_videos_is_an_error(rich, format_name):
    with pytest.raises(ExportError, match=r"run 1 holds no videos; choose .*coco"):
        export(format_name, rich.store, rich.folder / "out", ExportOptions())
    assert not (rich.folder / "out").exists()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_video(tracked, tmp_path):
    """Ten times the frames of noisy masks take less than half again as much memory."""
    noise = np.random.default_rng(0).random((30, 40)) < 0.5
    peaks = []
    for number, length in enumerate((40, 400)):
        name = f"clip{number}"
        tracked.store.begin_video(tracked.run.id, VideoRecord(name, None, noise.shape))
        label = replace(tracked.square(1, 0), mask=encode(noise[None])[0])
        frames = [TrackedFrame(i, i / 25, Labels(noise.shape, (label,))) for i in range(length)]
        tracked.store.write_frames(tracked.run.id, name, frames)
        del frames
        labels = tracked.store.labels_by_track(tracked.run.id, name)
        tracemalloc.start()
        with CocoJsonWriter(tmp_path / f"{name}.json", "videos", {"ball": 1}) as file:
            write_video(file, (str(i) for i in range(length)), noise.shape)
            write_track(
                file, labels, length=length, size_hw=noise.shape, track_id=1, class_name="ball"
            )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        annotations = json.loads((tmp_path / f"{name}.json").read_text())["annotations"]
        assert len(annotations[0]["segmentations"]) == length
    assert peaks[1] < 1.5 * peaks[0]
