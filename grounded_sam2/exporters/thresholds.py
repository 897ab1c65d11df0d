"""Labels at other thresholds than those that they were made with.

Above the thresholds of the run, labels are left out: whoever asks filters by `ExportOptions.takes`.
Below them, the store still has what the models said, and it is decided anew: candidates that were
too unsure become labels, as if the run had been made so, and no model is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

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
    """The labels of a run, and more of them where a threshold is asked that is lower than its own.

    Raises:
        ExportError: the run was made by another version, whose settings cannot be read.
    """
    run = store.run(options.run_id)
    lower = _lower_thresholds(run, options)
    if not lower:
        yield from store.labels(run.id)
        return
    try:
        config = load_config(run.settings).with_options(lower)
    except ConfigError as error:
        raise ExportError(
            f"run {run.id}: its settings cannot be read any more ({error}); export without "
            "thresholds below its own, or label again"
        ) from error
    ontology = None if run.ontology is None else CaptionOntology(dict(run.ontology))
    for item, labels in store.labels(run.id):
        found = store.predictions(run.id, item.item_id)
        if found is not None:
            decided = postprocess(found[1].candidates, labels.size_hw, ontology, config).labels
            drawn = tuple(label for label in labels.objects if label.origin == "human")
            labels = replace(labels, objects=decided.objects + drawn)
        yield item, labels


def lowest_stored_confidence(run: Run) -> float:
    """Below this confidence, the store has forgotten what the models said."""
    said: Mapping[str, float] = run.config.inference.get("detector", {})
    return said.get("candidate_confidence", _own(run, "detector", "min_confidence"))


def _lower_thresholds(run: Run, options: ExportOptions) -> dict[str, object]:
    asked = {
        ("detector", "min_confidence"): options.min_confidence,
        ("segmenter", "min_mask_quality"): options.min_mask_quality,
    }
    return {
        f"{section}.{key}": value
        for (section, key), value in asked.items()
        if value is not None and value < _own(run, section, key)
    }


def _own(run: Run, section: str, key: str) -> float:
    """A threshold that the run was made with; 0 where it had none, as an import."""
    return float(run.config.postprocess.get(section, {}).get(key, 0.0))
