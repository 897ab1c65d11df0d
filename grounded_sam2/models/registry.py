"""Models built from a configuration: each ``type`` by its factory, checked against its Protocol.

    detector:  {type: florence2, …}  ─► ModelType ─► factory(config) ─► Detector or Grounder
    segmenter: {type: sam2, …}       ─► ModelType ─► factory(config) ─► Segmenter
                                                  └► tracker(config, segmenter) ─► Tracker

The types of this package are the rows of `grounded_sam2.config.model_types.BUILT_IN`: they stand
there since a configuration is validated by the options of its types before any model is built.
Other packages add types by entry points.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from grounded_sam2.config import Config
from grounded_sam2.config.model_types import find_model_type
from grounded_sam2.errors import CheckpointError, ConfigError, GroundedSAM2Error, one_line
from grounded_sam2.models.protocols import AnyTracker, Detector, Grounder, Segmenter, Tracker

__all__ = [
    "build_detector",
    "build_grounder",
    "build_segmenter",
    "build_tracker",
    "missing_methods",
    "require_protocol",
]

_one_line = partial(one_line, with_type=True, max_length=200)


def build_detector(config: Config) -> Detector:
    """The detector of a configuration.

    Raises:
        ConfigError: ``detector.type`` is unknown or its package is broken; or what its factory
            returns is no `Detector`: names type, class and missing methods.
        CheckpointError: the model cannot be found, fetched or loaded.
    """
    return cast(Detector, _build_detector(config, Detector))


def build_grounder(config: Config) -> Grounder:
    """The model of a ``detector.type`` that goes from words to masks by itself.

    Raises:
        ConfigError, CheckpointError: as `build_detector`.
    """
    return cast(Grounder, _build_detector(config, Grounder))


def build_segmenter(config: Config) -> Segmenter:
    """The segmenter of a configuration.

    Raises:
        ConfigError, CheckpointError: as `build_detector`.
    """
    model_type = find_model_type("segmenter", config.segmenter.type)
    what = f"segmenter.type {model_type.name!r}"
    factory = model_type.resolve_factory()
    return cast(Segmenter, _build(what, Segmenter, lambda: factory(config)))


def build_tracker(config: Config, segmenter: Segmenter | None) -> AnyTracker:
    """The tracker of a configuration: it belongs to the type of the segmenter.

    Args:
        config: names the type.
        segmenter: the built segmenter, to share its weights; ``None`` if another one is used.

    Raises:
        ConfigError, CheckpointError: as `build_detector`; also where the type cannot track.
    """
    model_type = find_model_type("segmenter", config.segmenter.type)
    what = f"the tracker of segmenter.type {model_type.name!r}"
    factory = model_type.resolve_tracker()
    return cast(AnyTracker, _build(what, Tracker, lambda: factory(config, segmenter)))


def require_protocol(what: str, protocol: type, model: object) -> None:
    """Check that a model has the methods of a Protocol.

    Args:
        what: where the model comes from, for the message.
        protocol: one of `grounded_sam2.models.protocols`.
        model: what was built or given.

    Raises:
        ConfigError: names the class of the model and the methods that it lacks.
    """
    if missing := missing_methods(protocol, model):
        of_class = f"{type(model).__module__}.{type(model).__qualname__}"
        raise ConfigError(
            f"{what} is a {of_class}, which is no {protocol.__name__}: it lacks "
            f"{', '.join(f'{name}()' for name in missing)}; see grounded_sam2.models.protocols"
        )


def missing_methods(protocol: type, model: object) -> list[str]:
    """Methods of a Protocol that a model does not have, in declared order."""
    declared = [
        name
        for cls in reversed(protocol.__mro__)
        if getattr(cls, "_is_protocol", False)
        for name, value in vars(cls).items()
        if callable(value) and not name.startswith("_")
    ]
    return [name for name in declared if not callable(getattr(model, name, None))]


def _build_detector(config: Config, protocol: type) -> object:
    model_type = find_model_type("detector", config.detector.type)
    factory = model_type.resolve_factory()
    return _build(f"detector.type {model_type.name!r}", protocol, lambda: factory(config))


def _build(what: str, protocol: type, build: Callable[[], Any]) -> object:
    try:
        model = build()
    except (GroundedSAM2Error, MemoryError):
        raise
    except Exception as error:  # whatever the code of another package raises
        raise CheckpointError(f"{what} cannot be built: {_one_line(error)}") from error
    require_protocol(what, protocol, model)
    return model
