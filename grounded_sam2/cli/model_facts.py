"""Printed output: the types of models and the facts about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from grounded_sam2.cli.tables import print_line
from grounded_sam2.config.model_sections import DetectorConfig, SegmenterConfig
from grounded_sam2.config.model_types import (
    BUILT_IN,
    DEFAULT_TYPES,
    ModelType,
    broken_model_types,
    known_model_types,
)

__all__ = ["print_model_types"]


def print_model_types() -> None:
    """Print every type of detector and segmenter, and why types of other packages are broken."""
    for section in BUILT_IN:
        for model_type in known_model_types(section):
            default = ", the default" if DEFAULT_TYPES[section] == model_type.name else ""
            print_line(f"{section}.type: {model_type.name} ({model_type.facts.title}{default})")
            for name, fact in _facts(model_type):
                print_line(f"  {name + ':':<20} {fact}")
        for broken in broken_model_types(section):
            print_line(f"{section}.type: {broken.name} is broken")
            print_line(f"  {broken.reason}")


def _facts(model_type: ModelType) -> Iterator[tuple[str, str]]:
    facts = model_type.facts
    options = model_type.options()  # type: ignore[call-arg]  # subclasses have defaults
    yield "score", facts.score_meaning
    if isinstance(options, DetectorConfig):
        yield (
            "default threshold",
            f"{options.min_confidence:g}; candidates from {options.candidate_confidence:g}",
        )
        yield "returns", "masks, without a segmenter" if options.returns_masks else "boxes"
        yield "caption limit", facts.caption_limit or "none stated"
        yield "captions per pass", facts.captions_per_pass or "not stated"
    else:
        yield "default threshold", f"{options.min_mask_quality:g}"
        yield "videos", "tracks" if model_type.tracker else "cannot track"
    yield "default checkpoint", options.checkpoint
    if model_type.short_names:
        yield "short names", ", ".join(model_type.short_names)
    yield "license", facts.license
    yield "size", facts.size
    if own := _own_options(model_type):
        yield "options of its own", own


def _own_options(model_type: ModelType) -> str:
    base = DetectorConfig if model_type.section == "detector" else SegmenterConfig
    common = {field.name for field in dataclasses.fields(base)}
    return ", ".join(name for name in model_type.options.hints() if name not in common)
