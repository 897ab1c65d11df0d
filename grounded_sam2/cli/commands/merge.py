"""``grounded-sam2 merge``: two runs of a label store combined into a third."""

from __future__ import annotations

from grounded_sam2.cli.options import MinIouOption, StoreArgument, TwoRunsOption, two_runs

__all__ = ["merge"]


def merge(folder: StoreArgument, runs: TwoRunsOption = None, min_iou: MinIouOption = 0.5) -> None:
    """Merge two runs into a new run.

    Images and objects that only one of them has are kept. Of two overlapping labels of one class,
    the one that a person made is kept, or else the first run's. Both runs stay as they are.

    \b
    Example:
      grounded-sam2 merge labeled --run 1 --run 2
    """
    from grounded_sam2.cli.run_tables import print_counts
    from grounded_sam2.evaluation import merge_runs
    from grounded_sam2.store import LabelStore

    with LabelStore.open(folder) as store:
        first, second = two_runs(store, runs)
        counts = merge_runs(folder, first, second, min_iou=min_iou)
        print_counts(store, counts)
