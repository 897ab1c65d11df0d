"""What ``grounded-sam2 info`` prints of the videos of a run."""

from __future__ import annotations

from itertools import islice

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grounded_sam2.cli.tables import one_line, say
from grounded_sam2.store import LabelStore, StoredVideo

__all__ = ["print_videos"]

_MOST = 50


def print_videos(store: LabelStore, run_id: int) -> None:
    """A row for each of the first videos of a run; nothing for a run of images."""
    videos = store.videos(run_id)
    if not videos:
        return
    table = Table("video", "frames labeled", "tracks", "broken frames", "state")
    for column in table.columns[1:4]:
        column.justify = "right"
    for video in islice(videos, _MOST):
        table.add_row(
            escape(one_line(video.record.name)),
            str(video.frames),
            str(len(store.tracks(run_id, video.record.name))),
            str(video.broken_frames),
            escape(one_line(_state(video))),
        )
    Console().print(table)
    if len(videos) > _MOST:
        say(f"… and {len(videos) - _MOST} more videos")


def _state(video: StoredVideo) -> str:
    if video.error is not None:
        return f"failed: {video.error}"
    if video.finished:
        return "finished"
    of = "" if video.record.frame_count is None else f" of {video.record.frame_count}"
    at = 0 if video.last_index is None else video.last_index
    return f"at frame {at}{of}"
