"""Videos in ``grounded-sam2 info``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from grounded_sam2.cli.run_tables import print_videos
from grounded_sam2.results import BrokenFrame, Labels, TrackedFrame
from grounded_sam2.store import VideoRecord


def rows(out: str) -> dict[str, list[str]]:
    """The cells of each row, by the first."""
    cells = ([cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines())
    return {row[0]: row[1:] for row in cells if row}


def test_each_video_with_its_frames_tracks_and_state(tracked: Any, cli: Callable[..., Any]) -> None:
    square = tracked.square
    tracked.add(tracked.images("a", 3), {0: [square(1, 5)], 1: [square(1, 6), square(4, 30)]})
    record = VideoRecord("b [x]", None, tracked.size_hw, frame_count=90)
    tracked.store.begin_video(tracked.run.id, record)
    window = [TrackedFrame(4, 0.0, Labels(tracked.size_hw))]
    tracked.store.write_frames(tracked.run.id, record.name, window, broken_frames=2)
    tracked.store.begin_video(tracked.run.id, VideoRecord("c", None, tracked.size_hw))
    tracked.store.fail_video(tracked.run.id, "c", "cut off")
    ran = cli("info", tracked.folder)
    assert ran.code == 0
    found = rows(ran.out)
    assert found["a"] == ["2", "2", "0", "finished"]
    assert found["b [x]"] == ["1", "0", "2", "at frame 4 of 90"]
    assert found["c"] == ["0", "0", "0", "failed: cut off"]


def test_failures_list_the_broken_frames_of_videos(tracked: Any, cli: Callable[..., Any]) -> None:
    tracked.store.begin_video(tracked.run.id, VideoRecord("a", None, tracked.size_hw))
    reason = "image '/clips/a/5.png': is empty (0 bytes)"
    broken = [BrokenFrame(index, index / 25, reason) for index in range(5, 110)]
    tracked.store.write_frames(tracked.run.id, "a", [], broken_frames=105, broken=broken)
    tracked.store.fail_video(tracked.run.id, "a", "cut off")
    first, second, *_, last = cli("info", tracked.folder, "--failures").out.splitlines()
    assert first == "a: cut off"
    assert second == "a/000005: broken at 0.20 s: is empty (0 bytes)"
    assert last == "a: 5 more broken frames"


def test_a_run_over_images_has_no_table_of_videos(
    labeled: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    print_videos(labeled.store, labeled.run.id)
    assert capsys.readouterr().out == ""


def test_only_the_first_50_videos_are_printed(
    tracked: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(53):
        record = VideoRecord(f"clip{number:02}", None, tracked.size_hw)
        tracked.store.begin_video(tracked.run.id, record)
    print_videos(tracked.store, tracked.run.id)
    out = capsys.readouterr().out
    assert "clip49" in out
    assert "clip50" not in out
    assert "… and 3 more videos" in out
