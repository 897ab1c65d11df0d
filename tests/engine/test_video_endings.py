"""However a run ends, the next one goes on from there, and leaves what a whole run would have."""

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
    done = subprocess.run(
        [sys.executable, str(PROCESS), str(video), str(out), kind, str(number)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def contents(folder: Path) -> tuple[list, list, list]:
    with LabelStore.open(folder) as store:
        videos = store.videos()
        broken = [store.broken_frames(store.run().id, video.record.name) for video in videos]
        return list(store.labels()), videos, broken


@pytest.fixture(params=["good", "broken"])
def frames_folder(request, frames_folder) -> Path:
    """With all frames, or without two that a run meets before and after it is ended."""
    if request.param == "broken":
        (frames_folder / "2.png").write_bytes(b"")
        (frames_folder / "8.png").write_bytes(b"no image")
        (frames_folder / "20.png").unlink()
        (frames_folder / "20.png").symlink_to("nowhere.png")
    return frames_folder


@pytest.fixture
def whole(frames_folder, tmp_path):
    assert run(frames_folder, tmp_path / "whole") == (0, "")
    return contents(tmp_path / "whole")


def test_killed_again_and_again(frames_folder, tmp_path, whole):
    out = tmp_path / "out"
    ends = [3, 9, 5, 11, 6]
    for number in ends:
        assert run(frames_folder, out, "kill", number)[0] == -signal.SIGKILL
    with LabelStore.open(out) as store:
        done = store.videos()[0].frames
    assert 0 < done < 21
    assert run(frames_folder, out) == (0, "")
    assert contents(out) == whole


def test_stopped_with_ctrl_c(frames_folder, tmp_path, whole):
    out = tmp_path / "out"
    code, said = run(frames_folder, out, "stop", 10)
    assert code == 1
    assert "stopped in video 'walk' after" in said
    assert "run the same command again to continue" in said
    assert run(frames_folder, out) == (0, "")
    assert contents(out) == whole
