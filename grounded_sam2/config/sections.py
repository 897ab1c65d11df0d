"""The configuration: frozen, validated dataclasses, one per section.

The sections ``detector`` and ``segmenter`` belong to a type of model, which has keys of its own:
see `model_sections` and `model_types`.

A YAML file names only what it changes; every other value is the default written here, with its
reason. An unknown key is an error that names the nearest one, so that a typo never runs with the
default instead.

    config = load_config("demo")
    config = load_config("my.yaml").with_options({"detector.min_confidence": 0.5})
"""

from __future__ import annotations

import dataclasses
import difflib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from grounded_sam2.config.model_sections import DetectorConfig, SegmenterConfig
from grounded_sam2.config.model_types import (
    DEFAULT_TYPES,
    ModelSection,
    find_model_type,
    known_model_types,
)
from grounded_sam2.config.renames import RENAMED_KEYS
from grounded_sam2.config.validation import (
    NonNegativeInt,
    PositiveInt,
    Range,
    UnitInterval,
    ValidatedSection,
)
from grounded_sam2.config.yaml_files import find_yaml, read_yaml
from grounded_sam2.errors import ConfigError

__all__ = [
    "CleanupConfig",
    "Config",
    "ImageConfig",
    "RuntimeConfig",
    "TilingConfig",
    "TrackerConfig",
    "TrackingConfig",
    "load_config",
]


@dataclass(frozen=True)
class TrackerConfig(ValidatedSection):
    """Options of the tracker: SAM 2's memory in videos. Type and checkpoint are the segmenter's."""

    section: ClassVar[str] = "tracker"

    compat: Literal["sam2", "transformers"] = "sam2"
    """Where the two differ. ``sam2``: a corrected frame is remembered as a prompted one, and the
    masks of objects that were not prompted are remembered as probabilities whatever the others
    are, so that a track does not depend on the other objects. ``transformers``: neither."""
    max_prompted_frames: Annotated[int, Range(2)] = 6
    """Prompted frames that an object remembers: the first, and the last of the others. SAM 2 keeps
    all, which would grow with the video; it was trained with up to 4."""
    correction_window: NonNegativeInt = 0
    """How many of the last remembered frames may still be corrected. Each costs a feature map per
    object, 0.5 MiB at full size. Tracking from text corrects frames before that."""
    objects_per_batch: PositiveInt = 64
    """Objects that go through a GPU together. Bounds its memory, whatever their number."""


@dataclass(frozen=True)
class RuntimeConfig(ValidatedSection):
    """Device, precision and batching of the models. Changes speed, and at most the last digits of
    results."""

    section: ClassVar[str] = "runtime"

    device: str = "auto"
    """``auto`` (CUDA where there is one, else CPU), ``cpu``, ``cuda``, ``cuda:1`` …"""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto``: bfloat16 on CUDA, where it is twice as fast; float32 on CPU, where it is not."""
    batch_size: PositiveInt | Literal["auto"] = "auto"
    """Images per step, and per transaction of the store. ``auto``: 8 on a CPU, which gains
    nothing from more; on a GPU what its memory holds, 64 at most. A run that is continued keeps its
    size. If the device runs out of memory all the same, batches are halved."""
    prefetch: NonNegativeInt = 2
    """Batches decoded ahead: one hides the disk, the second evens out large images."""
    decoded_megabytes: PositiveInt = 2048
    """MiB of decoded images in memory at a time: 60 photographs of 12 million pixels. Batches of
    larger images are processed in parts. A single image may exceed it."""
    loader_threads: PositiveInt = 2
    """Threads that decode images. Decoders release the GIL, so that two keep a GPU fed."""
    local_files_only: bool = False
    """Never request a checkpoint from the network."""


@dataclass(frozen=True)
class TilingConfig(ValidatedSection):
    """Tiled inference on large images, so that small objects are not lost.

    The models resize an image to a square of 768 or 1024 pixels a side, so
    that what they lose is set by the longer side.
    """

    section: ClassVar[str] = "tiling"

    mode: Literal["auto", "always", "never"] = "auto"
    """``auto``: images with a side above ``above_side``; ``always``: all that are larger than a
    tile."""
    above_side: PositiveInt = 6144
    """Longer side in pixels. Photographs of 24 million pixels are 6000 wide and show objects at
    viewing size; larger images are mostly scans, maps or aerial images."""
    tile_size: Annotated[int, Range(64)] = 1024
    """Side of a tile in pixels: SAM 2 takes it at full size, Florence-2 at three quarters."""
    overlap: Annotated[float, Range(0, 0.5)] = 0.25
    """Fraction of a tile that the next one repeats. Smaller objects are whole in one of the two;
    larger ones are whole in tiles of four times the size, or in the whole image."""
    tiles_per_batch: PositiveInt = 8
    """Tiles given to a model together. Bounds the memory, whatever the size of the image."""


@dataclass(frozen=True)
class CleanupConfig(ValidatedSection):
    """Post-processing of masks between the segmenter and the store."""

    section: ClassVar[str] = "cleanup"

    min_part_area: NonNegativeInt = 16
    """Parts of fewer pixels are specks. 4×4: below what an annotator draws. 0 keeps all."""
    max_hole_area: NonNegativeInt = 16
    """Holes of at most so many pixels are pin-holes, and filled. 0 keeps all."""
    largest_part_only: bool = False
    """Keep one part per mask. Off: objects are cut in two by what occludes them."""
    boxes_from_masks: bool = True
    """Boxes become tight around the masks: a detector's box lives on a grid of 1000 bins."""
    nms: Literal["none", "class_specific", "class_agnostic"] = "class_specific"
    """Which objects may suppress each other, by IoU of their masks."""
    nms_iou: UnitInterval = 0.7
    """Masks with a higher IoU are duplicates. High: neighbors in a crowd overlap less."""
    merge_iou: UnitInterval = 0.5
    """The same between different captions of one class. Lower: ``car`` and ``vehicle`` are
    expected to find the same objects."""
    across_classes: bool = False
    """Also between captions of different classes: the more confident one wins. Off: a helmet and
    its wearer may both be wanted."""
    non_overlapping: bool = False
    """Each pixel belongs to the most confident object at most. Off: only some formats need it."""


@dataclass(frozen=True)
class TrackingConfig(ValidatedSection):
    """Association of detections with tracks in a video. Frames are counted as they are processed:
    with a stride of 3, ten frames are thirty of the video."""

    section: ClassVar[str] = "tracking"

    detect_every: PositiveInt = 10
    """Frames between two detections. New objects wait a third of a second and are then propagated
    backwards to where they entered; the detector costs as much as many tracks."""
    shot_threshold: UnitInterval = 0.3
    """The detector also runs where colors differ from the frame before in more than this fraction
    of the image: a shot boundary. A false alarm costs one detection; 1 turns it off."""
    match_iou: UnitInterval = 0.5
    """IoU from which a detection and a track are the same object. Two objects of a class do not
    share half of their pixels."""
    drift_iou: UnitInterval = 0.2
    """A detection and a track of one class with an IoU between this and `match_iou` are the same
    object, and the track has drifted. Masks of neighbors overlap less."""
    correct_iou: UnitInterval = 0.75
    """A track with a lower IoU with a confident detection is prompted with its box, and corrected
    if that fits better: its mask has begun to leak onto a neighbor, or to fray. Masks of one
    object, from a box and from memory, agree more."""
    exclusive: Literal["none", "class", "all"] = "class"
    """Which tracks share no pixel: pixels of two masks go to the more confident one, in the labels
    and in memory. A mask that leaks onto a neighbor would otherwise follow both from then on.
    ``class``: two objects of a class, which are opaque; a helmet and its wearer may overlap."""
    high_confidence: UnitInterval = 0.5
    """From here on a single detection suffices: it starts a confirmed track, and corrects one that
    has drifted or whose mask is uncertain."""
    low_quality: UnitInterval = 0.5
    """A mask with a lower predicted IoU is uncertain: the tracker itself does not expect half of it
    to be right."""
    max_misses: PositiveInt = 3
    """Consecutive detections that miss a track whose mask is uncertain, and end it. A single miss
    is common; a track that the tracker is certain of is never ended so."""
    min_hits: PositiveInt = 2
    """Detections that confirm a track unless one is confident; without them it is a false positive
    and its labels are removed. In a video, a false positive would be propagated from frame to
    frame. Each one above 1 delays frames by another `detect_every`; 1 turns it off."""
    max_age: PositiveInt = 60
    """Frames of absence after which a track ends and its memory is freed: two seconds. Until then
    it is re-identified under its own id."""
    reid_by: Literal["memory", "place"] = "place"
    """What re-identifies a lost track. ``memory``: only the tracker, when it recognizes the object.
    ``place``: also a detection of its class near the place where it was lost."""
    reid_distance: Annotated[float, Range(0)] = 2.0
    """How near, in object sizes. Farther away it may as well be another object of its class."""
    min_similarity: UnitInterval = 0.5
    """Similarity of colors (Bhattacharyya coefficient of histograms) that a mask, or a detection
    near where a track was lost, needs to belong to the track. It is 0.8 and more for one object
    from one second to the next, in half the light as well, and 0.1 for objects of different colors;
    0 turns it off, for objects that change their color."""
    backward_frames: NonNegativeInt | Literal["auto"] = "auto"
    """Frames through which a new object is propagated backwards to where it entered, and an
    uncertain one to where its track was right. ``auto``: all since the last detection. Features of
    so many frames are kept, and their labels wait; 0 turns it off, as for a live camera."""

    @property
    def backward_frame_count(self) -> int:
        """`backward_frames` as a number."""
        return self.detect_every if self.backward_frames == "auto" else self.backward_frames


@dataclass(frozen=True)
class ImageConfig(ValidatedSection):
    """Limits of the image loader, against files that would exhaust the machine."""

    section: ClassVar[str] = "images"

    max_pixels: PositiveInt = 200_000_000
    """Images of more pixels are refused before decoding. The largest phone cameras make 200
    million, which are 600 MB as RGB."""
    url_timeout_s: Annotated[float, Range(0.001)] = 20.0
    """Seconds for a whole download."""
    url_max_bytes: PositiveInt = 100 * 2**20
    """Downloads end here: 100 MiB."""


def _default_detector() -> DetectorConfig:
    return _options_class("detector", DEFAULT_TYPES["detector"])()  # type: ignore[return-value]


def _default_segmenter() -> SegmenterConfig:
    return _options_class("segmenter", DEFAULT_TYPES["segmenter"])()  # type: ignore[return-value]


@dataclass(frozen=True)
class Config:
    """A whole configuration. Hashable; equal when all values are."""

    detector: DetectorConfig = field(default_factory=_default_detector)
    segmenter: SegmenterConfig = field(default_factory=_default_segmenter)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    tiling: TilingConfig = field(default_factory=TilingConfig)
    cleanup: CleanupConfig = field(default_factory=CleanupConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    images: ImageConfig = field(default_factory=ImageConfig)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """All values as plain data, in declared order: what `load_config` reads, fit for JSON."""
        return dataclasses.asdict(self)

    def with_options(self, options: Mapping[str, object]) -> Config:
        """A copy with some values replaced, named as ``section.key``, in any order.

        A section whose ``type`` changes begins with the defaults of the new type: checkpoint and
        thresholds of another model mean nothing to it.

        Raises:
            ConfigError: unknown name or type, wrong type of value, or value out of range.
        """
        named = {_current_name(name): value for name, value in options.items()}
        values = self.to_dict()
        for section in _MODEL_SECTIONS:
            name = named.get(f"{section}.type", values[section]["type"])
            if name != values[section]["type"]:
                values[section] = {"type": name}
        classes = _section_classes(values)
        for name, value in named.items():
            if name not in _keys(classes):
                raise _unknown(name, classes)
            of_section, _, key = name.partition(".")
            values[of_section][key] = value
        return _from_mapping(values)


_MODEL_SECTIONS: tuple[ModelSection, ...] = ("detector", "segmenter")
_SectionClasses: TypeAlias = dict[str, type[ValidatedSection]]
"""The class of each section, by name; those of the models depend on their types."""
_OTHER_SECTIONS: _SectionClasses = {
    cls.section: cls
    for cls in (
        TrackerConfig,
        RuntimeConfig,
        TilingConfig,
        CleanupConfig,
        TrackingConfig,
        ImageConfig,
    )
}


def load_config(source: str | Path | Config | Mapping[str, object] | None = None) -> Config:
    """Load a configuration.

    Args:
        source: a shipped name (``default``, ``demo``, ``fast``, ``accurate``), the path of a YAML
            file, a mapping of sections, a `Config` (returned as it is), or ``None``, which is
            ``default``. Values that are not given have their defaults.

    Raises:
        ConfigError: no such file, not YAML, an unknown key or type of model, a wrong type of value
            or a value out of range. Names the file, the key, and the nearest key or what is
            expected.
    """
    if isinstance(source, Config):
        return source
    if isinstance(source, Mapping):
        return _from_mapping(source)
    path = find_yaml("default" if source is None else source, kind="config")
    values = read_yaml(path, kind="config")
    try:
        return _from_mapping({} if values is None else values)
    except ConfigError as error:
        raise ConfigError(f"config {str(path)!r}: {error}") from None


def _from_mapping(values: object) -> Config:
    if not isinstance(values, Mapping):
        names = ", ".join((*_MODEL_SECTIONS, *_OTHER_SECTIONS))
        raise ConfigError(f"must be a mapping of sections ({names}), not {values!r}")
    classes = _section_classes(values)
    sections: dict[str, Any] = {}
    for section, options in values.items():
        if section not in classes:
            raise _unknown(str(section), classes)
        if options is None:  # a heading whose keys are all commented out
            options = {}
        if not isinstance(options, Mapping):
            raise ConfigError(f"{section} must be a mapping of its keys, not {options!r}")
        named: dict[str, object] = {}
        for key, value in options.items():
            name = _current_name(f"{section}.{key}")
            if name not in _keys(classes):
                raise _unknown(name, classes)
            if (current := name.partition(".")[2]) in named:
                raise ConfigError(f"{section}.{key} and {name} are one key; keep {name}")
            named[current] = value
        sections[section] = classes[section](**named)
    return Config(**sections)


def _section_classes(values: Mapping[Any, Any]) -> _SectionClasses:
    """The class of each section, by the types that a configuration names."""
    classes: _SectionClasses = {}
    for section in _MODEL_SECTIONS:
        options = values.get(section)
        default = DEFAULT_TYPES[section]
        name = options.get("type", default) if isinstance(options, Mapping) else default
        classes[section] = _options_class(section, name)
    return classes | _OTHER_SECTIONS


def _options_class(section: ModelSection, name: object) -> type[ValidatedSection]:
    return find_model_type(section, name).options


def _current_name(name: str) -> str:
    """The current name of a key, with a warning if the given name is an earlier one."""
    current = RENAMED_KEYS.get(name, name)
    if current != name:
        warnings.warn(
            f"config key {name!r} is now {current!r}; rename it", FutureWarning, stacklevel=2
        )
    return current


def _keys(classes: _SectionClasses) -> list[str]:
    return [f"{section}.{key}" for section, cls in classes.items() for key in cls.hints()]


def _unknown(name: str, classes: _SectionClasses) -> ConfigError:
    section, _, key = name.partition(".")
    for of_model in _MODEL_SECTIONS:
        if section != of_model:
            continue
        owners = [each.name for each in known_model_types(of_model) if key in each.options.hints()]
        if owners:
            return ConfigError(
                f"unknown key {name!r}: {section}.type is {_type_of(classes[section])!r}, and the "
                f"key belongs to {' and '.join(map(repr, owners))}; remove it, or set "
                f"{section}.type: {owners[0]}"
            )
    keys = _keys(classes)
    of_section = [each for each in keys if each.startswith(f"{section}.")]
    candidates = (of_section or keys) if "." in name else [*classes, *keys]
    nearest = difflib.get_close_matches(name, candidates, n=1, cutoff=0.0)[0]
    return ConfigError(f"unknown key {name!r}; the nearest is {nearest!r}")


def _type_of(options: type[ValidatedSection]) -> object:
    return next(field.default for field in dataclasses.fields(options) if field.name == "type")  # type: ignore[arg-type]
