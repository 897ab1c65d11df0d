"""``grounded-sam2 compare``: agreement of two runs of a label store."""

from __future__ import annotations

from grounded_sam2.cli.options import MinIouOption, StoreArgument, TwoRunsOption, two_runs

__all__ = ["compare"]


def compare(folder: StoreArgument, runs: TwoRunsOption = None, min_iou: MinIouOption = 0.5) -> None:
    """Compare the objects of two runs.

    Counts, for each class, objects that both runs have (matched), that only the first has (missed)
    and that only the second has (extra), in the images that both have, whatever their names.

    \b
    Example:
      grounded-sam2 compare labeled --run 1 --run 2
    """
    from grounded_sam2.cli.tables import print_comparison
    from grounded_sam2.evaluation import compare_runs
    from grounded_sam2.store import LabelStore

    with LabelStore.open(folder) as store:
        print_comparison(compare_runs(store, *two_runs(store, runs), min_iou=min_iou))
