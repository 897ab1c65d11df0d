"""``grounded-sam2 info``: the contents of a label store."""

from __future__ import annotations

from typing import Annotated

import typer

from grounded_sam2.cli.options import RunOption, StoreArgument

__all__ = ["info"]


def info(
    folder: StoreArgument,
    run: RunOption = None,
    failures: Annotated[
        bool,
        typer.Option(
            "--failures",
            help="Print only the failed images and videos: all, one per line, with reasons.",
        ),
    ] = False,
) -> None:
    """Show the contents of a label store.

    Runs, models, captions, counts, videos and failures.

    \b
    Example:
      grounded-sam2 info labeled
    """
    from grounded_sam2.cli.run_tables import (
        print_all_failures,
        print_run,
        print_runs,
        print_videos,
    )
    from grounded_sam2.store import LabelStore

    with LabelStore.open(folder) as store, store.snapshot():
        chosen = store.run(run)
        if failures:
            print_all_failures(store, chosen.id)
            return
        print_runs(store)
        print_run(store, chosen)
        print_videos(store, chosen.id)
