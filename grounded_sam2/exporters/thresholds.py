"""Labels of a run at thresholds other than its own.

Above the run's thresholds, `ExportOptions.accepts` filters the labels. Below them, the stored
candidates are postprocessed again with the lower thresholds and people's edits applied, as if the
run had been made with them. No model is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from grounded_sam2.config import load_config
from grounded_sam2.errors import ConfigError, ExportError
from grounded_sam2.exporters.options import ExportOptions
from grounded_sam2.inference.postprocess import postprocess
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Labels
from grounded_sam2.store import Item, LabelStore, Run

__all__ = ["labels_at_thresholds", "lowest_stored_confidence"]


def labels_at_thresholds(
    store: LabelStore, options: ExportOptions
) -> Iterator[tuple[Item, Labels]]:
    """Yield the labels of a run, with more objects where a requested threshold is below its own.

    Raises:
        ExportError: the settings of the run cannot be read by this version.
    """
    run = store.run(options.run_id)
    lowered = _lowered_thresholds(run, options)
    if not lowered:
        yield from store.labels(run.id)
        return
    try:
        config = load_config(run.settings).with_options(lowered)
    except ConfigError as error:
        raise ExportError(
            f"run {run.id}: its settings cannot be read any more ({error}); export without "
            "thresholds below its own, or label again"
        ) from error
    ontology = None if run.ontology is None else CaptionOntology(dict(run.ontology))
    for item, labels in store.labels(run.id):
        stored = store.predictions(run.id, item.item_id)
        if stored is not None:
            proposals = postprocess(stored[1].candidates, labels.size_hw, ontology, config).labels
            edited = store.with_edits(run.id, item, proposals).objects
            uids = {label.uid for label in edited}
            drawn = [each for each in labels.objects if each.origin == "human"]
            rest = tuple(each for each in drawn if each.uid not in uids)
            labels = Labels(labels.size_hw, edited + rest)
        yield item, labels


def lowest_stored_confidence(run: Run) -> float:
    """Return the confidence below which the store holds no candidates of a run."""
    detector: Mapping[str, float] = run.config.inference.get("detector", {})
    return detector.get("candidate_confidence", _threshold(run, "detector", "min_confidence"))


def _lowered_thresholds(run: Run, options: ExportOptions) -> dict[str, object]:
    requested = {
        ("detector", "min_confidence"): options.min_confidence,
        ("segmenter", "min_mask_quality"): options.min_mask_quality,
    }
    return {
        f"{section}.{key}": value
        for (section, key), value in requested.items()
        if value is not None and value < _threshold(run, section, key)
    }


def _threshold(run: Run, section: str, key: str) -> float:
    """Return a threshold of a run; 0 for a run without thresholds, such as an import."""
    return float(run.config.postprocess.get(section, {}).get(key, 0.0))
