"""What a run is made by, and how that differs from what it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grounded_sam2.config import Config
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.store import OntologyPairs, RunConfig

__all__ = ["OntologyChange", "least_confidence", "run_config_of", "tracking_run_config_of"]

_ONLY_SPEED = {
    ("detector", "batch_size"),
    ("segmenter", "prompts_per_batch"),
    ("tiling", "tiles_per_batch"),
    ("tracker", "objects_per_batch"),
}
"""Options of the models that change no label, like all of ``runtime``: they may change in a run."""

_DECISIONS = {("detector", "min_confidence"), ("segmenter", "min_mask_quality")}
"""Options that, like all of ``cleanup``, change what is made of what the models say."""


def run_config_of(
    config: Config,
    ontology: CaptionOntology | None,
    *,
    models: Mapping[str, str] | None = None,
    source: str | None = None,
) -> RunConfig:
    """What determines the labels besides the ontology: models, and the options that change results.

    Args:
        config: the configuration. ``runtime``, ``images`` and batch sizes are left out.
        ontology: read only for ``phrase_grounding``, where all captions are asked together and
            another caption changes the answers to the rest.
        models: model ids by role; the configuration's checkpoints if ``None``.
        source: where the images are, as `LabelStore.relative_path` writes it.
    """
    said: dict[str, dict[str, Any]] = {"detector": {}, "segmenter": {}, "tiling": {}}
    decided: dict[str, dict[str, Any]] = {"detector": {}, "segmenter": {}, "cleanup": {}}
    for section, values in config.to_dict().items():
        for key, value in values.items():
            if key == "checkpoint" or (section, key) in _ONLY_SPEED:
                continue
            if section == "cleanup" or (section, key) in _DECISIONS:
                decided[section][key] = value
            elif section in said:
                said[section][key] = value
    said["detector"]["candidate_confidence"] = least_confidence(config)
    if config.detector.task == "phrase_grounding" and ontology is not None:
        said["detector"]["captions"] = ontology.prompts()
    checkpoints = {
        "detector": config.detector.checkpoint,
        "segmenter": config.segmenter.checkpoint,
    }
    return RunConfig(
        models=dict(checkpoints if models is None else models),
        inference=said,
        postprocess=decided,
        source=source,
    )


def tracking_run_config_of(
    config: Config,
    ontology: CaptionOntology | None,
    *,
    models: Mapping[str, str],
    frames: Mapping[str, Any],
) -> RunConfig:
    """What determines the labels of videos. What is found on one frame changes what becomes of the
    next, so that captions, thresholds and clean-up belong to it.

    Args:
        config: the configuration. ``runtime``, ``images`` and batch sizes are left out.
        ontology: captions and classes; ``None`` for tasks without captions.
        models: model ids by role.
        frames: which frames of the videos are taken.
    """
    sections = ("detector", "segmenter", "tiling", "tracker", "tracking", "cleanup")
    decisive: dict[str, Any] = {
        section: {
            key: value
            for key, value in values.items()
            if key != "checkpoint" and (section, key) not in _ONLY_SPEED
        }
        for section, values in config.to_dict().items()
        if section in sections
    }
    # A list, since their order counts: detections come in it, and tracks are numbered by it.
    decisive["detector"]["captions"] = (
        None if ontology is None else [list(pair) for pair in ontology.to_dict().items()]
    )
    return RunConfig(models=dict(models), inference=decisive | {"frames": dict(frames)})


def least_confidence(config: Config) -> float:
    return min(config.detector.candidate_confidence, config.detector.min_confidence)


@dataclass(frozen=True, slots=True)
class OntologyChange:
    """How the ontology of a run differs from what it was."""

    added: tuple[str, ...]
    """Captions."""
    removed: tuple[str, ...]
    """Captions. What they found stays in the store, and is there again when they come back."""
    renamed: tuple[tuple[str, str, str], ...]
    """Caption, class before, class now."""

    @classmethod
    def between(
        cls, before: OntologyPairs | None, after: OntologyPairs | None
    ) -> OntologyChange | None:
        """``None`` if nothing but the order is different."""
        old, new = dict(before or ()), dict(after or ())
        change = cls(
            added=tuple(caption for caption in new if caption not in old),
            removed=tuple(caption for caption in old if caption not in new),
            renamed=tuple(
                (caption, old[caption], name)
                for caption, name in new.items()
                if old.get(caption, name) != name
            ),
        )
        return change if change.added or change.removed or change.renamed else None
