"""Video frames in image formats."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter

import PIL.Image
import pyarrow.parquet as pq
import pytest

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import EXPORTERS, VIDEO_FORMATS, ExportOptions, export
from grounded_sam2.results import Labels, TrackedFrame
from grounded_sam2.sources.video import VideoSource
from grounded_sam2.store import VideoRecord

OF_IMAGES = sorted(EXPORTERS.keys() - VIDEO_FORMATS)
WITH_FOLDERS = [name for name in OF_IMAGES if name not in ("voc", "hf")]


def run(tracked, format_name="coco", **options):
    folder = tracked.folder / format_name
    return export(format_name, tracked.store, folder, ExportOptions(**options))


def numbers(tracked, format_name="coco", split="train") -> dict[str, int]:
    """Return the index of each exported frame, read from its pixels, by file name."""
    root = tracked.folder / format_name / "images" / split
    return {
        path.relative_to(root).as_posix(): tracked.number_of(path)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def clips(tracked):
    """Two videos: a file with gaps among its labeled frames, and a folder of frames."""
    square = tracked.square
    tracked.add(
        tracked.movie("sub/a.mp4", 12),
        {
            number: [square(1, 3 * number), square(2, 40, 30, "box")]
            for number in (0, 1, 2, 5, 6, 11)
        },
        name="sub/a",
    )
    tracked.add(tracked.images("b", 12), {number: [] for number in (2, 10, 11)})
    return tracked


@pytest.mark.parametrize("format_name", WITH_FOLDERS)
def test_exported_frames_are_those_that_were_labeled(clips, format_name):
    summary = run(clips, format_name)
    assert numbers(clips, format_name) == {
        "b/000002.png": 2,
        "b/000010.png": 10,
        "b/000011.png": 11,
        **{f"sub/a/{number:06}.jpg": number for number in (0, 1, 2, 5, 6, 11)},
    }
    assert summary.images == {"train": 9}
    assert summary.objects == {"ball": 6, "box": 6, "Katze ü": 0}


@pytest.mark.parametrize("format_name", OF_IMAGES)
def test_an_export_of_frames_repeats_to_the_byte(clips, files, format_name):
    run(clips, format_name, split={"train": 0.5, "val": 0.5})
    first = files(clips.folder / format_name)
    run(clips, format_name, split={"train": 0.5, "val": 0.5})
    assert files(clips.folder / format_name) == first


def test_no_frame_is_decoded_twice_and_one_video_is_open(clips, monkeypatch):
    made, whole = Counter(), VideoSource.frames

    def counted(self, start_index=0, **options):
        for frame in whole(self, start_index, **options):
            made[self.name, frame.index] += 1
            yield frame

    monkeypatch.setattr(VideoSource, "frames", counted)
    run(clips, "yolo")
    assert set(made.values()) == {1}
    assert {name for name, _ in made} == {"sub/a"}  # frames that are files are not decoded


def test_frames_of_a_video_stay_in_one_split(tracked):
    for number in range(12):
        tracked.add(tracked.images(f"clip{number}", 3), {0: [], 1: [], 2: []})
    for split_by in ("content", "folder"):
        summary = run(tracked, split={"train": 0.5, "val": 0.5}, split_by=split_by)
        assert min(summary.images.values()) > 0
        for split in ("train", "val"):
            videos = Counter(name.split("/")[0] for name in numbers(tracked, split=split))
            assert set(videos.values()) == {3}


@pytest.mark.parametrize(
    ("stride", "taken"), [(1, [0, 1, 2, 5, 6, 11]), (2, [0, 2, 6]), (4, [0, 6]), (99, [0])]
)
def test_a_stride_exports_every_nth_labeled_frame_of_each_video(clips, stride, taken):
    run(clips, frame_stride=stride)
    names = numbers(clips)
    assert [name for name in names if name.startswith("sub")] == [
        f"sub/a/{number:06}.jpg" for number in taken
    ]
    assert sum(name.startswith("b/") for name in names) == len([2, 10, 11][::stride])
    described = json.loads((clips.folder / "coco" / "export.json").read_text())
    assert described["frame_stride"] == stride


def test_frames_are_png_on_request_where_the_format_accepts_it(clips):
    run(clips, frame_format="png")
    path = clips.folder / "coco" / "images" / "train" / "sub" / "a" / "000005.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    run(clips, "voc", frame_format="png")  # whose readers take JPEG only
    root = clips.folder / "voc" / "VOCdevkit" / "VOC2012" / "JPEGImages"
    assert {path.suffix for path in root.rglob("*.*")} == {".jpg"}


def test_a_lower_quality_makes_smaller_files(clips):
    sizes = []
    for quality in (95, 20):
        run(clips, frame_quality=quality)
        path = clips.folder / "coco" / "images" / "train" / "sub" / "a" / "000005.jpg"
        sizes.append(path.stat().st_size)
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize("mode", ["link", "symlink"])
def test_frames_that_are_files_are_linked_and_others_written_and_noted(clips, mode):
    summary = run(clips, images=mode)
    [placed] = (clips.folder / "coco").rglob("000010.png")
    assert placed.samefile(clips.clips / "b" / "f10.png")
    assert summary.notes == ("frames of videos, which cannot be linked, written: 6",)


def test_frames_that_are_files_keep_their_bytes_unless_rotated_by_exif(tracked):
    labeled = {0: [tracked.square(1, 5)], 1: []}
    path = tracked.images("b", 2, ".jpg")
    turned = path / "f1.jpg"
    with PIL.Image.open(turned) as image:
        exif = PIL.Image.Exif()
        exif[0x0112] = 3
        image.save(turned, exif=exif)
    tracked.add(path, labeled)
    run(tracked)
    root = tracked.folder / "coco" / "images" / "train" / "b"
    assert (root / "000000.jpg").read_bytes() == (path / "f0.jpg").read_bytes()
    with PIL.Image.open(root / "000001.jpg") as image:
        assert 0x0112 not in image.getexif()


# Columns


def test_records_hold_frame_and_track(clips):
    run(clips, "jsonl")
    lines = (clips.folder / "jsonl" / "labels.jsonl").read_text().splitlines()
    first, *_, last = (json.loads(line) for line in lines)
    assert (first["video"], first["frame"], first["time"]) == ("b", 2, 0.08)
    assert (last["video"], last["frame"], last["time"]) == ("sub/a", 11, 0.44)
    assert [(each["track_id"], each["track_origin"]) for each in last["objects"]] == [
        (1, "detected"),
        (2, "detected"),
    ]
    run(clips, "csv")
    with (clips.folder / "csv" / "objects.csv").open(encoding="utf-8", newline="") as file:
        *_, row = csv.DictReader(file)
    assert (row["video"], row["frame"], row["time"]) == ("sub/a", "11", "0.44")
    assert (row["track_id"], row["track_origin"]) == ("2", "detected")


def test_parquet_rows_hold_frame_and_track(clips):
    run(clips, "hf")
    [path] = (clips.folder / "hf" / "data").iterdir()
    *_, last = pq.read_table(path).to_pylist()
    assert (last["video"], last["frame"], last["time"]) == ("sub/a", 11, 0.44)
    assert last["objects"]["track_id"] == [1, 2]
    assert last["objects"]["track_origin"] == ["detected", "detected"]
    features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
    assert list(features) == list(last)
    assert list(features["objects"]) == list(last["objects"])
    assert "| `objects.track_id` |" in (clips.folder / "hf" / "README.md").read_text()


def test_exports_of_images_have_no_columns_for_frames(rich, files):
    for name in ("jsonl", "csv", "hf"):
        export(name, rich.store, rich.folder / name, ExportOptions())
        for file, content in files(rich.folder / name).items():
            assert b"track_origin" not in content, file


# Missing and changed videos


def test_a_missing_video_is_left_out(clips):
    (clips.clips / "sub" / "a.mp4").unlink()
    summary = run(clips)
    assert summary.images == {"train": 3}
    [skipped] = summary.skipped
    assert (skipped.count, skipped.example) == (6, "sub/a/000000")
    assert "images_from" in skipped.reason


def test_a_video_that_has_changed_is_left_out(clips):
    clips.movie("sub/a.mp4", 11)
    [skipped] = run(clips).skipped
    assert "have changed" in skipped.reason


def test_moved_videos_are_found_in_the_given_folder(clips):
    moved = clips.folder.parent / "elsewhere"
    shutil.copytree(clips.clips, moved)  # new stamps, the same bytes
    shutil.rmtree(clips.clips)
    assert run(clips, images_from=moved).images == {"train": 9}


def test_frames_that_were_never_files_are_an_error(tracked):
    tracked.store.begin_video(tracked.run.id, VideoRecord("camera-0", None, tracked.size_hw))
    tracked.store.write_frames(
        tracked.run.id, "camera-0", [TrackedFrame(0, 0.0, Labels(tracked.size_hw))]
    )
    with pytest.raises(ExportError, match="1 are of videos that were never files"):
        run(tracked)


def test_missing_frames_are_left_out_without_decoding_the_video_again(clips, monkeypatch):
    begun, whole = [], VideoSource.frames

    def without_some(self, start_index=0, **options):
        begun.append(start_index)
        return (
            frame for frame in whole(self, start_index, **options) if frame.index not in (2, 5, 11)
        )

    monkeypatch.setattr(VideoSource, "frames", without_some)
    summary = run(clips)
    assert begun == [0]
    assert summary.images == {"train": 6}
    assert [(each.count, each.reason) for each in summary.skipped] == [
        (3, "cannot be decoded any more")
    ]


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_stride": 0}, "frame_stride 0: must be 1 or more"),
        ({"frame_format": "bmp"}, "frame_format 'bmp': must be one of jpg, png"),
        ({"frame_quality": 101}, "frame_quality 101: must lie between 1 and 100"),
    ],
)
def test_invalid_frame_options_are_named(options, message):
    with pytest.raises(ExportError, match=message):
        ExportOptions(**options)


def test_exports_of_images_record_no_frame_options(rich):
    export("coco", rich.store, rich.folder / "coco", ExportOptions())
    assert "frame" not in (rich.folder / "coco" / "export.json").read_text()
