"""Reports of videos: frames as images, tracks, and no frames decoded needlessly."""

from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.report import ReportOptions, write_report
from grounded_sam2.report.rules import find_issues
from grounded_sam2.report.scan import scan_run
from grounded_sam2.report.selection import select
from grounded_sam2.report.statistics import video_rows
from grounded_sam2.results import Labels, TrackedFrame
from grounded_sam2.sources.video import VideoSource
from grounded_sam2.store import VideoRecord


@pytest.fixture
def clips(tracked):
    """A file with gaps among its labeled frames, and a folder of frames; 25 frames a second."""
    square = tracked.square
    tracked.add(
        tracked.movie("sub/a.mp4", 12),
        {
            number: [square(1, 3 * number), square(2, 40, 30, "box")] if number else []
            for number in (0, 1, 2, 5, 6, 11)
        },
        name="sub/a",
    )
    tracked.add(tracked.images("b", 12), {n: [square(7, 4 * n)] for n in (2, 10, 11)})
    return tracked


@pytest.fixture
def frames_made(monkeypatch) -> Counter[tuple[str, int]]:
    """Counts how often each frame is converted to an image, by video and index."""
    made, whole = Counter(), VideoSource.frames

    def counted(self, start_index=0, **options):
        for frame in whole(self, start_index, **options):
            made[self.name, frame.index] += 1
            yield frame

    monkeypatch.setattr(VideoSource, "frames", counted)
    return made


def cards(page: Path) -> dict[str, str]:
    """The images of a page by their names."""
    found = re.findall(r'<li class="card".*?</li>', page.read_text(encoding="utf-8"), re.DOTALL)
    return {re.search(r'data-name="(.*?)"', card)[1]: card for card in found}


def gray_number(card: str) -> int:
    """The frame number that the gray value of a frame encodes."""
    data = base64.b64decode(re.search(r"data:image/webp;base64,([^\"]+)", card)[1])
    with PIL.Image.open(io.BytesIO(data)) as image:
        return round((float(np.asarray(image.convert("L")).mean()) - 20) / 15)


def scan_of(tracked, **options):
    return scan_run(tracked.store, tracked.run.id, ReportOptions(**options))


def issues_of(scan):
    thresholds = ReportOptions().thresholds
    return find_issues(scan.objects, scan.duplicates, scan.split_ids, thresholds)


class TestFrames:
    def test_every_labeled_frame_is_shown(self, clips) -> None:
        summary = write_report(clips.folder)
        assert summary.unreadable == 0
        shown = {name: gray_number(card) for name, card in cards(summary.page).items()}
        assert shown == {
            **{f"b/{number:06}": number for number in (2, 10, 11)},
            **{f"sub/a/{number:06}": number for number in (0, 1, 2, 5, 6, 11)},
        }

    def test_a_frame_is_shown_with_its_time_and_tracks(self, clips) -> None:
        card = cards(write_report(clips.folder).page)["sub/a/000011"]
        assert "<small>0:00.4 · 2&nbsp;objects</small>" in card
        assert re.findall(r"<text .*?>(\d+)</text>", card) == ["1", "2"]
        facts = json.loads(re.search(r'json">(.*?)</script>', card, re.DOTALL)[1])
        assert facts["time"] == "0:00.4"
        assert [found[-2:] for found in facts["objects"]] == [[1, "detected"], [2, "detected"]]

    def test_frames_that_are_not_shown_are_not_converted(self, tracked, frames_made) -> None:
        sure, unsure = ({"confidence": value, "mask_quality": 0.9} for value in (0.9, 0.1))
        path = tracked.movie("a.mp4", 12)
        found = {n: [tracked.square(1, 3, **(unsure if n == 8 else sure))] for n in range(12)}
        tracked.add(path, found)
        page = write_report(tracked.folder, options=ReportOptions(labels=1, images=1)).page
        assert list(cards(page)) == ["a/000008"]
        prefetched = {0, 1, 2, 3}  # at most: frames decoded before they are needed
        assert {index for _, index in frames_made} - prefetched == {8}

    def test_frames_that_are_files_are_read_as_files(self, clips, frames_made) -> None:
        write_report(clips.folder)
        assert {name for name, _ in frames_made} == {"sub/a"}

    def test_shown_frames_are_read_in_one_pass_after_the_first_frame(
        self, clips, monkeypatch
    ) -> None:
        begun, whole = [], VideoSource.frames

        def noted(self, start_index=0, **options):
            begun.append((self.name, start_index, options["only"]))
            return whole(self, start_index, **options)

        monkeypatch.setattr(VideoSource, "frames", noted)
        write_report(clips.folder, options=ReportOptions(threads=3))
        assert begun == [("sub/a", 1, None), ("sub/a", 0, {0, 1, 2, 5, 6, 11})]

    def test_the_page_does_not_depend_on_threads(self, clips, tmp_path) -> None:
        pages = [
            write_report(clips.folder, tmp_path / f"{n}.html", options=ReportOptions(threads=n))
            for n in (1, 3)
        ]
        assert pages[0].page.read_bytes() == pages[1].page.read_bytes()

    def test_moved_videos_are_read_from_images_from(self, clips, tmp_path, page) -> None:
        clips.clips.rename(tmp_path / "elsewhere")
        summary = write_report(clips.folder)
        assert summary.unreadable == 9
        assert "9 of 9 images are of videos that are gone" in page(summary.page).text()
        options = ReportOptions(images_from=tmp_path / "elsewhere")
        assert write_report(clips.folder, options=options).unreadable == 0

    def test_frames_of_videos_that_were_never_files_are_shown_as_masks(self, tracked, page) -> None:
        tracked.store.begin_video(tracked.run.id, VideoRecord("camera", None, tracked.size_hw))
        tracked.store.write_frames(
            tracked.run.id,
            "camera",
            [TrackedFrame(0, 0.0, Labels(tracked.size_hw, (tracked.square(1, 5),)))],
        )
        summary = write_report(tracked.folder)
        assert "1 of 1 images are of videos that were never files" in page(summary.page).text()
        assert cards(summary.page)["camera/000000"].count("<path") == 1


class TestNearDuplicates:
    def test_frames_of_one_video_are_not_compared(self, tracked) -> None:
        tracked.add(tracked.movie("a.mp4", 8), {n: [tracked.square(1, n)] for n in range(8)})
        assert write_report(tracked.folder).issues["near_duplicate"] == 0

    def test_the_first_frames_with_objects_of_two_videos_are_compared(self, tracked) -> None:
        one, other = tracked.images("one", 4), tracked.images("other", 4)
        tracked.add(one, {0: [], 1: [tracked.square(1, 5)], 2: [tracked.square(1, 6)], 3: []})
        tracked.add(other, {0: [], 1: [], 2: [tracked.square(1, 5)], 3: [tracked.square(1, 6)]})
        scan = scan_of(tracked)
        names = [(scan.item_ids[p], scan.item_ids[q]) for p, q, _ in scan.duplicates]
        assert names == [("other/000002", "one/000001")]

    def test_videos_without_objects_are_not_decoded(self, tracked, frames_made) -> None:
        tracked.add(tracked.movie("a.mp4", 3), {0: [], 1: [], 2: []})
        assert len(scan_of(tracked).duplicates) == 0
        assert not frames_made


class TestTracks:
    def test_of_a_track_the_worst_label_of_each_kind_is_shown(self, tracked) -> None:
        def unsure(track_id, number, left):
            return tracked.square(track_id, left, confidence=0.4 - 0.01 * number, mask_quality=0.9)

        path = tracked.movie("a.mp4", 9)
        tracked.add(path, {n: [unsure(1, n % 5, 2), unsure(2, n, 30)] for n in range(9)})
        scan = scan_of(tracked)
        labels = select(scan, issues_of(scan), ReportOptions()).labels
        assert [(label.image, label.position) for label in labels] == [(8, 1), (4, 0)]

    def test_objects_without_a_track_are_all_shown(self, tracked) -> None:
        tracked.add(
            tracked.movie("a.mp4", 3),
            {n: [tracked.square(None, 2, confidence=0.1, mask_quality=0.9)] for n in range(3)},
        )
        scan = scan_of(tracked)
        assert len(select(scan, issues_of(scan), ReportOptions()).labels) == 3
        (row,) = video_rows(scan, issues_of(scan))
        assert (row.tracks, row.median_track, row.flagged, row.flagged_tracks) == (0, None, 3, 0)

    def test_equal_track_ids_of_two_videos_are_two_tracks(self, tracked) -> None:
        for name in ("a", "b"):
            tracked.add(
                tracked.images(name, 2),
                {n: [tracked.square(1, 5, mask_quality=0.9)] for n in range(2)},
            )
        numbers = scan_of(tracked).tracks().tolist()
        assert numbers[0] == numbers[1] != numbers[2] == numbers[3]


class TestCounts:
    def test_a_row_counts_one_video(self, clips) -> None:
        scan = scan_of(clips)
        b, a = video_rows(scan, issues_of(scan))
        assert (b.name, b.frames, b.background, b.objects, b.tracks) == ("b", 3, 0, 3, 1)
        assert (a.name, a.frames, a.background, a.objects, a.tracks) == ("sub/a", 6, 1, 10, 2)
        assert (b.median_track, a.median_track, a.state) == (3, 5, "finished")
        assert (a.flagged, a.flagged_tracks) == (10, 2)  # of low quality, as the fixture's are

    def test_video_counts_are_on_the_page(self, clips, page) -> None:
        text = page(write_report(clips.folder).page).text()
        assert "Videos 2 3 tracks" in text
        assert "Images 9 frames of videos, 1 background" in text
        assert "sub/a 6 1 10 2 5 10 in 2 tracks 0 finished" in text
        assert "ball 8 8 2" in text  # objects, images, tracks

    def test_a_page_of_images_has_no_videos(self, labeled, clean, page) -> None:
        labeled.add("a.png", clean(labeled.disc()))
        parsed = page(write_report(labeled.folder).page)
        assert not [a for a in parsed.all("section") if a.get("id") == "videos"]
        assert "track" not in parsed.text()

    def test_failed_videos_are_listed(self, clips, page, tmp_path) -> None:
        record = VideoRecord("cut", None, clips.size_hw)
        clips.store.begin_video(clips.run.id, record)
        clips.store.fail_video(clips.run.id, "cut", "has no frame")
        summary = write_report(clips.folder, json_out=tmp_path / "out.json")
        document = json.loads(summary.json.read_text(encoding="utf-8"))
        assert document["failed"] == [{"video": "cut", "reason": "has no frame"}]
        text = page(summary.page).text()
        assert "Failed 1 images and videos" in text
        assert "cut has no frame" in text
        assert "cut 0 0 0 0 – – 0 failed" in text

    def test_json_records_have_track_and_time(self, clips, tmp_path) -> None:
        summary = write_report(clips.folder, json_out=tmp_path / "out.json")
        rows = json.loads(summary.json.read_text(encoding="utf-8"))["doubts"]
        found = {(r["item"], r["track"], r["time"]) for r in rows if r["kind"] == "low_quality"}
        assert ("sub/a/000011", 1, 0.44) in found
        assert ("b/000010", 7, 0.4) in found
