"""What commands print of what failed: a line each, with the name and the reason."""

from __future__ import annotations

import re
import shlex
from itertools import chain, islice

from grounded_sam2.cli.tables import say
from grounded_sam2.store import LabelStore, StoreSummary

__all__ = ["print_all_failures", "print_few_failures"]

_FEW = 5

_WHERE = re.compile(r"""(source: )?(image|folder|video) ('([^'\\]|\\.)*'|"([^"\\]|\\.)*"):? """)
"""How a reason begins; a line that names the picture need not name its place as well."""


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
    """Every failure of a run, and nothing else: pictures, then videos."""
    failed = False
    pictures = ((item.item_id, error) for item, error in store.failures(run_id))
    videos = ((video.record.name, video.error) for video in store.videos(run_id))
    for name, error in chain(pictures, videos):
        if error is not None:
            failed = True
            say(f"{name}: {_short(error)}")
    if not failed:
        say("nothing failed")


def _short(reason: str) -> str:
    where = _WHERE.match(reason)
    return reason if where is None else reason[where.end() :]
