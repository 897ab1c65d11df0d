"""``grounded-sam2 info``: what a label store holds."""

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
            help="Print only what failed, images and videos: all, one a line, with reasons.",
        ),
    ] = False,
) -> None:
    """Show what was labeled.

    Runs, models, ontology, counts and failures of a label store.

    \b
    Example:
      grounded-sam2 info labeled
    """
    from grounded_sam2.cli.failures import print_all_failures
    from grounded_sam2.cli.run_tables import print_run, print_runs
    from grounded_sam2.cli.video_tables import print_videos
    from grounded_sam2.store import LabelStore

    with LabelStore.open(folder) as store, store.snapshot():
        chosen = store.run(run)
        if failures:
            print_all_failures(store, chosen.id)
            return
        print_runs(store)
        print_run(store, chosen)
        print_videos(store, chosen.id)
