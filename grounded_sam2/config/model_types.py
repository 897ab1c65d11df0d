"""Types of models: the ``type`` in the sections ``detector`` and ``segmenter``, with what it means.

A `ModelType` declares a type: its options, its factory, its checkpoints, and facts about it. It is
read whenever a configuration is, long before a model is built, so that declarations name what
imports torch as text. The types of this package are the rows of `BUILT_IN`. Another package adds
one by an entry point, in the same form:

    [project.entry-points."grounded_sam2.detectors"]
    my_detector = "my_package.model_type:MY_DETECTOR"

Entry points are read when a configuration names a type that is not built in, and when types are
listed. One that fails concerns nobody who does not name it.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from grounded_sam2.config.model_sections import DetectorConfig, SegmenterConfig
from grounded_sam2.errors import ConfigError, one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "BUILT_IN",
    "DEFAULT_TYPES",
    "ENTRY_POINT_GROUPS",
    "BrokenModelType",
    "ModelFacts",
    "ModelSection",
    "ModelType",
    "broken_model_types",
    "find_model_type",
    "known_model_types",
]

ModelSection: TypeAlias = Literal["detector", "segmenter"]
"""A section of the configuration that has a ``type``."""

BUILT_IN: Mapping[ModelSection, Mapping[str, str]] = {
    "detector": {"florence2": "grounded_sam2.models.florence2.model_type:FLORENCE2"},
    "segmenter": {"sam2": "grounded_sam2.models.sam2.model_type:SAM2"},
}
"""Types of this package: where each is declared, as ``module:name``."""

DEFAULT_TYPES: Mapping[ModelSection, str] = {"detector": "florence2", "segmenter": "sam2"}
"""The type of a section that names none, as files of earlier versions do. Label stores hold runs of
these types without a type, so that it never changes."""

ENTRY_POINT_GROUPS: Mapping[ModelSection, str] = {
    "detector": "grounded_sam2.detectors",
    "segmenter": "grounded_sam2.segmenters",
}
"""Groups of the entry points by which other packages add types."""

_BASES: Mapping[ModelSection, type[DetectorConfig | SegmenterConfig]] = {
    "detector": DetectorConfig,
    "segmenter": SegmenterConfig,
}
_one_line = partial(one_line, with_type=True, max_length=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a user has to know about a type of model, in a few words each."""

    title: str
    """Name of the model: ``Florence-2``."""
    score_meaning: str
    """What its score (confidence of a detector, quality of a segmenter) is computed from."""
    license: str
    """License of the weights."""
    size: str
    """Parameters of its checkpoints."""
    caption_limit: str = ""
    """Longest caption, or most captions; empty for a segmenter."""
    captions_per_pass: str = ""
    """How many captions share a pass of the model; empty for a segmenter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelType:
    """Declaration of one type of detector or segmenter."""

    section: ModelSection
    name: str
    """The value of ``type``."""
    options: type[DetectorConfig] | type[SegmenterConfig]
    """The section for this type: a subclass with its own keys and a default for every key."""
    factory: str
    """``module:function`` that is called with the `Config` and returns the model: a ``Detector``, a
    ``Grounder`` where ``options.returns_masks``, or a ``Segmenter``
    (`grounded_sam2.models.protocols`)."""
    facts: ModelFacts
    tracker: str | None = None
    """``module:function`` that is called with the `Config` and the built segmenter (``None`` where
    another one is used) and returns a ``Tracker``. ``None`` for a segmenter that cannot track, and
    for detectors."""
    short_names: Mapping[str, str] = field(default_factory=dict)
    """Short names of checkpoints: name → hub id."""
    embedded: Path | None = None
    """Folder of the weights that ``checkpoint: demo`` stands for; ``None`` if there are none."""
    checkpoint_model_types: tuple[str, ...] = ()
    """Each ``model_type`` in the ``config.json`` of checkpoints that it can load; empty to accept
    any."""

    def resolve_factory(self) -> Callable[..., Any]:
        """The factory.

        Raises:
            ConfigError: it cannot be imported.
        """
        return self._resolve(self.factory)

    def resolve_tracker(self) -> Callable[..., Any]:
        """The factory of the tracker.

        Raises:
            ConfigError: the type cannot track, or the factory cannot be imported.
        """
        if self.tracker is None:
            able = ", ".join(t.name for t in known_model_types(self.section) if t.tracker)
            raise ConfigError(
                f"{self.section}.type {self.name!r} cannot track; for videos, set "
                f"{self.section}.type to one that can: {able}"
            )
        return self._resolve(self.tracker)

    def _resolve(self, path: str) -> Callable[..., Any]:
        try:
            factory = resolve_name(path)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"{self.section}.type {self.name!r}: its factory {path!r} cannot be imported: "
                f"{_one_line(error)}"
            ) from error
        if not callable(factory):
            raise ConfigError(
                f"{self.section}.type {self.name!r}: its factory {path!r} is no function"
            )
        found: Callable[..., Any] = factory
        return found


@dataclass(frozen=True, slots=True)
class BrokenModelType:
    """A type of another package that cannot be used."""

    name: str
    reason: str
    """The error of a configuration that names it."""


def find_model_type(section: ModelSection, name: object) -> ModelType:
    """The declaration of a type.

    Args:
        section: ``detector`` or ``segmenter``.
        name: the value of ``type``.

    Raises:
        ConfigError: there is no such type (names the known ones, the nearest, and how to add one),
            or the package that adds it is broken (names package and reason).
    """
    if isinstance(name, str) and name in BUILT_IN[section]:
        declared: ModelType = resolve_name(BUILT_IN[section][name])
        return declared
    points = [point for point in _entry_points(section) if point.name == name]
    if not points:
        raise _unknown_type(section, name)
    if len(points) > 1:
        packages = ", ".join(_package(point) for point in points)
        raise ConfigError(
            f"{section}.type {name!r} is added by several packages ({packages}); uninstall all but "
            "one"
        )
    return _load(section, points[0])


def known_model_types(section: ModelSection) -> list[ModelType]:
    """All types of a section that can be used, those of this package first."""
    names = dict.fromkeys([*BUILT_IN[section], *(p.name for p in _entry_points(section))])
    broken = {each.name for each in broken_model_types(section)}
    return [find_model_type(section, name) for name in names if name not in broken]


def broken_model_types(section: ModelSection) -> list[BrokenModelType]:
    """Types of other packages that cannot be used, with the reason."""
    broken = []
    for name in dict.fromkeys(point.name for point in _entry_points(section)):
        try:
            find_model_type(section, name)
        except ConfigError as error:
            broken.append(BrokenModelType(name, str(error)))
    return broken


def _entry_points(section: ModelSection) -> Sequence[EntryPoint]:
    return _installed_entry_points(ENTRY_POINT_GROUPS[section], tuple(sys.path))


@lru_cache(maxsize=4)
def _installed_entry_points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of a group; `path` is what they depend on."""
    from importlib.metadata import entry_points  # a fifth of what --help loads

    # A package that is found twice on the path, as an editable install is, counts once.
    found = {(point.name, point.value): point for point in entry_points(group=group)}
    return tuple(found[key] for key in sorted(found))


def _load(section: ModelSection, point: EntryPoint) -> ModelType:
    where = f"{section}.type {point.name!r} of package {_package(point)}"
    repair = "repair or uninstall the package"
    try:
        declared = point.load()
    except Exception as error:  # whatever the code of another package raises when it is imported
        raise ConfigError(f"{where} cannot be loaded: {_one_line(error)}; {repair}") from error
    if problem := _problem(section, point.name, declared):
        raise ConfigError(f"{where} cannot be used: {point.value} {problem}; {repair}")
    model_type: ModelType = declared
    return model_type


def _problem(section: ModelSection, name: str, declared: object) -> str | None:
    """Why a declaration of another package cannot be used; ``None`` if it can."""
    if not isinstance(declared, ModelType):
        return f"is no ModelType, but {declared!r}"
    if (declared.section, declared.name) != (section, name):
        return f"declares {declared.section}.type {declared.name!r}"
    base = _BASES[section]
    if not (isinstance(declared.options, type) and issubclass(declared.options, base)):
        return f"has options {declared.options!r}, which are no subclass of {base.__name__}"
    try:
        options = declared.options()  # type: ignore[call-arg]  # subclasses have defaults
    except Exception as error:
        return f"has options without valid defaults: {_one_line(error)}"
    if options.type != name:
        return f"has options whose default of 'type' is {options.type!r}, not {name!r}"
    return None


def _package(point: EntryPoint) -> str:
    distribution = point.dist
    return "?" if distribution is None else f"{distribution.name} {distribution.version}"


def _unknown_type(section: ModelSection, name: object) -> ConfigError:
    known = [*BUILT_IN[section], *(point.name for point in _entry_points(section))]
    known = list(dict.fromkeys(known))
    other: ModelSection = "segmenter" if section == "detector" else "detector"
    hint = ""
    if name in BUILT_IN[other] or name in {point.name for point in _entry_points(other)}:
        hint = f", and {name!r} is a type of {other}"
    elif nearest := difflib.get_close_matches(str(name), known, n=1):
        hint = f"; did you mean {nearest[0]!r}?"
    return ConfigError(
        f"{section}.type is {name!r}{hint} (known: {', '.join(known)}); other packages add types "
        f"by entry points of the group {ENTRY_POINT_GROUPS[section]!r}: install the one that has it"
    )
