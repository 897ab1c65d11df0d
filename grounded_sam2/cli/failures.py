"""What commands print of what failed: a line each, with the name and the reason."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import chain, islice

from grounded_sam2.cli.tables import say
from grounded_sam2.store import LabelStore, StoredVideo, StoreSummary, frame_id

__all__ = ["print_all_failures", "print_few_failures"]

_FEW = 5

_WHERE = re.compile(r"""(source: )?(image|folder|video) ('([^'\\]|\\.)*'|"([^"\\]|\\.)*"):? """)
"""How a reason begins; a line that names the image need not name its place as well."""


def print_few_failures(store: LabelStore, summary: StoreSummary) -> None:
    """The first failures of a run, and how to see the others."""
    for item, error in islice(store.failures(summary.run_id), _FEW):
        say(f"failed: {item.item_id}: {_short(error)}")
    if summary.failed > _FEW:
        run = "" if summary.run_id == store.run().id else f" --run {summary.run_id}"
        folder = shlex.quote(str(store.path.parent))
        say(
            f"… and {summary.failed - _FEW} more failed; all of them: "
            f"grounded-sam2 info {folder} --failures{run}"
        )


def print_all_failures(store: LabelStore, run_id: int) -> None:
    """Every failure of a run, and nothing else: images, then videos and their broken frames."""
    failed = False
    images = ((item.item_id, error) for item, error in store.failures(run_id))
    videos = chain.from_iterable(_of_video(store, run_id, each) for each in store.videos(run_id))
    for name, error in chain(images, videos):
        failed = True
        say(f"{name}: {_short(error)}")
    if not failed:
        say("nothing failed")


def _of_video(store: LabelStore, run_id: int, video: StoredVideo) -> Iterator[tuple[str, str]]:
    name = video.record.name
    if video.error is not None:
        yield name, video.error
    broken = store.broken_frames(run_id, name) if video.broken_frames else []
    for each in broken:
        yield frame_id(name, each.index), f"broken at {each.time:.2f} s: {_short(each.reason)}"
    if video.broken_frames > len(broken):
        more = "more " if broken else ""
        yield name, f"{video.broken_frames - len(broken)} {more}broken frames"


def _short(reason: str) -> str:
    where = _WHERE.match(reason)
    return reason if where is None else reason[where.end() :]
