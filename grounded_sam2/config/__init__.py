"""Configuration: frozen, validated dataclasses read from YAML."""

from grounded_sam2.config.sections import (
    CleanupConfig,
    Config,
    DetectorConfig,
    ImageConfig,
    RuntimeConfig,
    SegmenterConfig,
    TilingConfig,
    TrackerConfig,
    TrackingConfig,
    load_config,
)

__all__ = [
    "CleanupConfig",
    "Config",
    "DetectorConfig",
    "ImageConfig",
    "RuntimeConfig",
    "SegmenterConfig",
    "TilingConfig",
    "TrackerConfig",
    "TrackingConfig",
    "load_config",
]
