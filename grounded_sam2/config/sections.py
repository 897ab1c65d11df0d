"""The configuration: frozen, validated dataclasses, one per section.

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
from typing import Annotated, Any, ClassVar, Literal

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
    "DetectorConfig",
    "ImageConfig",
    "RuntimeConfig",
    "SegmenterConfig",
    "TilingConfig",
    "TrackerConfig",
    "TrackingConfig",
    "load_config",
]


@dataclass(frozen=True)
class DetectorConfig(ValidatedSection):
    """Options of the detector, Florence-2: captions in, boxes and confidence out."""

    section: ClassVar[str] = "detector"

    checkpoint: str = "florence-community/Florence-2-base"
    """Hub id, local folder (relative to the working directory), or ``demo`` for the embedded model.
    The default is the smallest public one, 0.23 B parameters: it runs on a laptop."""
    task: Literal[
        "open_vocabulary_detection",
        "phrase_grounding",
        "object_detection",
        "dense_region_caption",
        "caption_then_grounding",
    ] = "open_vocabulary_detection"
    """Detection caption by caption can report absence; grounding forces each phrase onto some
    region. The last three need no ontology."""
    num_beams: PositiveInt = 1
    """Greedy: three beams cost three times the decoding for slightly steadier boxes."""
    max_new_tokens: PositiveInt = 256
    """An instance takes four tokens and a phrase a few more: about 60 instances per caption."""
    batch_size: PositiveInt = 64
    """Caption rows decoded together, from however many images. Decoding is bound by reading the
    weights, so wide batches are nearly free until memory ends."""
    min_confidence: UnitInterval = 0.3
    """Detections below are not labels. Boxes for captions of absent objects score below it."""
    candidate_confidence: UnitInterval = 0.1
    """Detections below are dropped; between it and `min_confidence` they are kept in the label
    store as candidates, so that a lower threshold needs no model. Each costs a mask."""


@dataclass(frozen=True)
class SegmenterConfig(ValidatedSection):
    """Options of the segmenter, SAM 2: boxes in, masks and mask quality out.

    Short names of checkpoints: ``tiny``, ``small``, ``base-plus``, ``large`` are
    ``facebook/sam2.1-hiera-<name>``; with ``sam2-`` before them (``sam2-tiny``) they are
    ``facebook/sam2-hiera-<name>``; ``edgetam`` is ``yonigozlan/EdgeTAM-hf``.
    """

    section: ClassVar[str] = "segmenter"

    checkpoint: str = "facebook/sam2.1-hiera-tiny"
    """Short name, hub id, local folder, or ``demo``. A box leaves little ambiguity, so that tiny
    loses little to large and costs a sixth."""
    multimask: bool = False
    """Choose among three masks per prompt. For single points; a box is unambiguous."""
    mask_threshold: float = 0.0
    """Logit above which a pixel belongs to the mask. SAM 2 was trained for 0."""
    prompts_per_batch: PositiveInt = 64
    """Prompts decoded together. Bounds the memory of full-resolution masks, whatever the number
    of objects."""
    complement: Literal["repair", "flag"] = "repair"
    """What to do with a mask that lies mostly outside its box: predict it again, or flag it."""
    min_mask_quality: UnitInterval = 0.0
    """Masks with a lower predicted IoU are dropped. Off: a low score is for a person to review."""


@dataclass(frozen=True)
class TrackerConfig(ValidatedSection):
    """Options of the tracker: SAM 2's memory in videos. The checkpoint is the segmenter's."""

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


@dataclass(frozen=True)
class Config:
    """A whole configuration. Hashable; equal when all values are."""

    detector: DetectorConfig = field(default_factory=DetectorConfig)
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
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
        """A copy with some values replaced, named as ``section.key``.

        Raises:
            ConfigError: unknown name, wrong type, or value out of range.
        """
        values = self.to_dict()
        for given, value in options.items():
            name = _current_name(given)
            if name not in _keys():
                raise _unknown(name)
            section, _, key = name.partition(".")
            values[section][key] = value
        return _from_mapping(values)


_SECTIONS: dict[str, type[ValidatedSection]] = {
    cls.section: cls
    for cls in (
        DetectorConfig,
        SegmenterConfig,
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
        ConfigError: no such file, not YAML, an unknown key, a wrong type or a value out of range.
            Names the file, the key, and the nearest key or what is expected.
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
        raise ConfigError(f"must be a mapping of sections ({', '.join(_SECTIONS)}), not {values!r}")
    sections: dict[str, Any] = {}
    for section, options in values.items():
        if section not in _SECTIONS:
            raise _unknown(str(section))
        if options is None:  # a heading whose keys are all commented out
            options = {}
        if not isinstance(options, Mapping):
            raise ConfigError(f"{section} must be a mapping of its keys, not {options!r}")
        named: dict[str, object] = {}
        for key, value in options.items():
            name = _current_name(f"{section}.{key}")
            if name not in _keys():
                raise _unknown(name)
            if (current := name.partition(".")[2]) in named:
                raise ConfigError(f"{section}.{key} and {name} are one key; keep {name}")
            named[current] = value
        sections[section] = _SECTIONS[section](**named)
    return Config(**sections)


def _current_name(name: str) -> str:
    """The current name of a key, with a warning if the given name is an earlier one."""
    current = RENAMED_KEYS.get(name, name)
    if current != name:
        warnings.warn(
            f"config key {name!r} is now {current!r}; rename it", FutureWarning, stacklevel=2
        )
    return current


def _keys() -> list[str]:
    return [f"{section}.{key}" for section, cls in _SECTIONS.items() for key in cls.hints()]


def _unknown(name: str) -> ConfigError:
    candidates = _keys() if "." in name else [*_SECTIONS, *_keys()]
    nearest = difflib.get_close_matches(name, candidates, n=1, cutoff=0.0)[0]
    return ConfigError(f"unknown key {name!r}; the nearest is {nearest!r}")
