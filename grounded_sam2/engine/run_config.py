"""The identity of a run: models and the options that change its labels.

Two runs with equal `RunConfig` are one run, so that repeating a command continues it. Devices,
batch sizes and threads are not part of it, nor is the ontology of an image run: captions and
classes may change within a run, and only what changed is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from grounded_sam2.config import Config
from grounded_sam2.config.model_types import DEFAULT_TYPES
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.store import OntologyPairs, RunConfig

__all__ = [
    "OntologyChange",
    "image_run_config",
    "lowest_confidence",
    "package_versions",
    "video_run_config",
]

_SPEED_OPTIONS = {("tiling", "tiles_per_batch"), ("tracker", "objects_per_batch")}
"""Options that, like all of ``runtime``, change no label: a run may change them. Those of detector
and segmenter are stated by their types."""

_RECORDED_PACKAGES = ("grounded-sam2", "torch", "transformers", "numpy", "pillow", "pycocotools")

_POSTPROCESS_OPTIONS = {("detector", "min_confidence"), ("segmenter", "min_mask_quality")}
"""Options of other sections that, like all of ``cleanup``, change only post-processing."""


def image_run_config(
    config: Config,
    ontology: CaptionOntology | None,
    *,
    models: Mapping[str, str] | None = None,
    source: str | None = None,
) -> RunConfig:
    """The identity of a run of images: models, and the options that change results.

    Args:
        config: the configuration. ``runtime``, ``images`` and batch sizes are left out.
        ontology: read only where captions change each other's boxes (`CaptionUse.interact`).
        models: model ids by role, ``detector`` and ``segmenter`` or ``grounder``; the
            configuration's checkpoints if ``None``.
        source: where the images are, as `LabelStore.relative_path` writes it.
    """
    if models is None:
        models = _checkpoints(config)
    inference: dict[str, dict[str, Any]] = {"detector": {}}
    if "grounder" not in models:  # which has neither segmenter nor tiles
        inference |= {"segmenter": {}, "tiling": {}}
    postprocess: dict[str, dict[str, Any]] = {"detector": {}, "segmenter": {}, "cleanup": {}}
    for section, values in _identifying_options(config).items():
        for key, value in values.items():
            if section == "cleanup" or (section, key) in _POSTPROCESS_OPTIONS:
                postprocess[section][key] = value
            elif section in inference:
                inference[section][key] = value
    inference["detector"]["candidate_confidence"] = lowest_confidence(config)
    if config.detector.captions.interact and ontology is not None:
        inference["detector"]["captions"] = ontology.prompts()
    return RunConfig(
        models=dict(models),
        inference=inference,
        postprocess=postprocess,
        source=source,
    )


def video_run_config(
    config: Config,
    ontology: CaptionOntology | None,
    *,
    models: Mapping[str, str],
    frames: Mapping[str, Any],
) -> RunConfig:
    """The identity of a run of videos. The labels of one frame depend on those before, so that
    captions, thresholds and clean-up belong to it.

    Args:
        config: the configuration. ``runtime``, ``images`` and batch sizes are left out.
        ontology: captions and classes; ``None`` for tasks without captions.
        models: model ids by role.
        frames: which frames of the videos are taken.
    """
    sections = ("detector", "segmenter", "tiling", "tracker", "tracking", "cleanup")
    values_of: dict[str, Any] = {
        section: values
        for section, values in _identifying_options(config).items()
        if section in sections
    }
    # A list, since their order matters: detections come in it, and tracks are numbered by it.
    values_of["detector"]["captions"] = (
        None if ontology is None else [list(pair) for pair in ontology.to_dict().items()]
    )
    return RunConfig(models=dict(models), inference=values_of | {"frames": dict(frames)})


def _identifying_options(config: Config) -> dict[str, dict[str, Any]]:
    """All options but those that change no label, checkpoints, and the types of the first stores,
    which recorded none."""
    left_out = {
        *_SPEED_OPTIONS,
        *(("detector", key) for key in config.detector.speed_options),
        *(("segmenter", key) for key in config.segmenter.speed_options),
        ("detector", "checkpoint"),
        ("segmenter", "checkpoint"),
    }
    if config.detector.type == DEFAULT_TYPES["detector"]:
        left_out.add(("detector", "type"))
    if config.segmenter.type == DEFAULT_TYPES["segmenter"]:
        left_out.add(("segmenter", "type"))
    return {
        section: {key: value for key, value in values.items() if (section, key) not in left_out}
        for section, values in config.to_dict().items()
    }


def _checkpoints(config: Config) -> dict[str, str]:
    if config.detector.returns_masks:
        return {"grounder": config.detector.checkpoint}
    return {"detector": config.detector.checkpoint, "segmenter": config.segmenter.checkpoint}


def lowest_confidence(config: Config) -> float:
    """Detections below this confidence are not kept, not even as candidates."""
    return min(config.detector.candidate_confidence, config.detector.min_confidence)


def package_versions() -> dict[str, str]:
    """Versions of the packages that a run records; those that are not installed are left out."""
    versions = {}
    for package in _RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True, slots=True)
class OntologyChange:
    """Difference between the ontologies of two runs with one configuration."""

    added: tuple[str, ...]
    """Captions."""
    removed: tuple[str, ...]
    """Captions. Their candidates stay in the store, and are labels again when they come back."""
    renamed: tuple[tuple[str, str, str], ...]
    """Caption, class before, class now."""

    @classmethod
    def between(
        cls, before: OntologyPairs | None, after: OntologyPairs | None
    ) -> OntologyChange | None:
        """The difference; ``None`` if only the order differs."""
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
