"""Configuration: frozen, validated dataclasses read from YAML."""

from grounded_sam2.config.model_sections import CaptionUse, DetectorConfig, SegmenterConfig
from grounded_sam2.config.model_types import (
    BrokenModelType,
    ModelFacts,
    ModelType,
    broken_model_types,
    find_model_type,
    known_model_types,
)
from grounded_sam2.config.sections import (
    CleanupConfig,
    Config,
    ImageConfig,
    RuntimeConfig,
    TilingConfig,
    TrackerConfig,
    TrackingConfig,
    load_config,
)

__all__ = [
    "BrokenModelType",
    "CaptionUse",
    "CleanupConfig",
    "Config",
    "DetectorConfig",
    "ImageConfig",
    "ModelFacts",
    "ModelType",
    "RuntimeConfig",
    "SegmenterConfig",
    "TilingConfig",
    "TrackerConfig",
    "TrackingConfig",
    "broken_model_types",
    "find_model_type",
    "known_model_types",
    "load_config",
]
