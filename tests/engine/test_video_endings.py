"""Killed and interrupted video runs: the next run continues to the labels of a complete one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from grounded_sam2.store import LabelStore

pytestmark = pytest.mark.slow

PROCESS = Path(__file__).with_name("labeling_process.py")


def run(video: Path, out: Path, kind: str = "none", number: int = 0) -> tuple[int, str]:
    completed = subprocess.run(
        [sys.executable, str(PROCESS), str(video), str(out), kind, str(number)],
        capture_output=True,
        text=True,
        check=False,
    )
    return completed.returncode, completed.stderr


def contents(folder: Path) -> tuple[list, list, list]:
    with LabelStore.open(folder) as store:
        videos = store.videos()
        broken = [store.broken_frames(store.run().id, video.record.name) for video in videos]
        return list(store.labels()), videos, broken


@pytest.fixture(params=["good", "broken"])
def frames_folder(request, frames_folder) -> Path:
    """A folder of intact frames, or one with three unreadable ones."""
    if request.param == "broken":
        (frames_folder / "2.png").write_bytes(b"")
        (frames_folder / "8.png").write_bytes(b"no image")
        (frames_folder / "20.png").unlink()
        (frames_folder / "20.png").symlink_to("nowhere.png")
    return frames_folder


@pytest.fixture
def complete(frames_folder, tmp_path):
    assert run(frames_folder, tmp_path / "complete") == (0, "")
    return contents(tmp_path / "complete")


def test_a_run_that_is_killed_repeatedly_continues(frames_folder, tmp_path, complete):
    out = tmp_path / "out"
    for number in [3, 9, 5, 11, 6]:
        assert run(frames_folder, out, "kill", number)[0] == -signal.SIGKILL
    with LabelStore.open(out) as store:
        frames = store.videos()[0].frames
    assert 0 < frames < 21
    assert run(frames_folder, out) == (0, "")
    assert contents(out) == complete


def test_a_run_that_is_interrupted_states_how_to_continue_and_continues(
    frames_folder, tmp_path, complete
):
    out = tmp_path / "out"
    code, message = run(frames_folder, out, "stop", 10)
    assert code == 1
    assert "stopped in video 'walk' after" in message
    assert "run the same command again to continue" in message
    assert run(frames_folder, out) == (0, "")
    assert contents(out) == complete
