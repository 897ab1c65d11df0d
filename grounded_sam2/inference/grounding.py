"""Grounding of images in memory: captions to candidates, by any grounder, to labels.

    captions ─ grounder ─► candidates ─ checks ─► candidates ─ postprocess ─► labels

A grounder is a detector with a segmenter (`grounded_sam2.inference.detect_and_segment`), or a model
that goes from words to masks by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from grounded_sam2.config import Config
from grounded_sam2.errors import ConfigError
from grounded_sam2.inference.candidates import valid_candidates
from grounded_sam2.inference.postprocess import postprocess
from grounded_sam2.models.protocols import DeferredGrounder, Grounder
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Candidate, Image, Labels

__all__ = [
    "CandidatesPerImage",
    "ground_images",
    "predict_labels",
    "requested_captions",
    "start_ground_images",
]

CandidatesPerImage: TypeAlias = list[tuple[Candidate, ...]]
"""For each image, its candidates in the order of the model."""


def predict_labels(
    images: Sequence[Image], grounder: Grounder, ontology: CaptionOntology | None, config: Config
) -> list[Labels]:
    """Ground and postprocess: return the labels of images.

    Args:
        images: upright RGB, ``(h, w, 3)`` ``uint8``; sizes may differ.
        grounder: finds objects and their masks.
        ontology: captions to detect, and their classes; ``None`` for models without captions, where
            the class is the model's own name of the object.
        config: thresholds and clean-up.

    Returns:
        One `Labels` per image, in order; ``[]`` for no images. For what is dropped, and the order
        of the objects, see `grounded_sam2.inference.postprocess.postprocess`.

    Raises:
        ConfigError: the model needs an ontology and none is given, or the reverse.
        OntologyError: the model returned a caption that was not requested.
    """
    captions = requested_captions(ontology, config)
    found = ground_images(
        images, [captions] * len(images), grounder, min_confidence=config.detector.min_confidence
    )
    return [
        postprocess(candidates, image.shape[:2], ontology, config).labels
        for image, candidates in zip(images, found, strict=True)
    ]


def requested_captions(ontology: CaptionOntology | None, config: Config) -> list[str]:
    """Return the captions to detect; ``[]`` for a model without captions.

    Raises:
        ConfigError: the model needs an ontology and none is given, or the reverse.
    """
    use = config.detector.captions
    chosen_by = use.chosen_by or f"detector.type {config.detector.type!r}"
    alternative = f", or choose {use.alternative}" if use.alternative else ""
    if use.required and ontology is None:
        raise ConfigError(
            f"{chosen_by} needs captions and there are none; give an ontology{alternative}"
        )
    if not use.required and ontology is not None:
        raise ConfigError(
            f"{chosen_by} names objects in the model's own words and cannot detect the "
            f"captions of an ontology; give none{alternative}"
        )
    return ontology.prompts() if ontology is not None else []


def ground_images(
    images: Sequence[Image],
    captions: Sequence[Sequence[str]],
    grounder: Grounder,
    *,
    min_confidence: float,
) -> CandidatesPerImage:
    """Find the objects that captions name, and check what the model returns.

    Args:
        images: upright RGB, ``(h, w, 3)`` ``uint8``; sizes may differ.
        captions: for each image, the captions to detect in it; none for a model without captions.
        grounder: finds objects and their masks.
        min_confidence: candidates below are dropped.

    Returns:
        The candidates of each image, in order, as `valid_candidates` returns them; ``[]`` for no
        images.

    Raises:
        OntologyError: the model returned a caption that was not requested.
        GeometryError: it returned a mask of another size than the image's.
    """
    return start_ground_images(images, captions, grounder, min_confidence=min_confidence)()


def start_ground_images(
    images: Sequence[Image],
    captions: Sequence[Sequence[str]],
    grounder: Grounder,
    *,
    min_confidence: float,
) -> Callable[[], CandidatesPerImage]:
    """Run the model's part of `ground_images`; the returned function does the rest.

    It may run in any thread, while the model processes other images: see
    `grounded_sam2.models.protocols.DeferredGrounder`. The images are not kept.
    """
    if not images:
        return list
    sizes_hw = [(image.shape[0], image.shape[1]) for image in images]
    finish: Callable[[], Sequence[Sequence[Candidate]]]
    if isinstance(grounder, DeferredGrounder):
        finish = grounder.start_ground(images, captions)
    else:
        found = grounder.ground(images, captions)
        finish = lambda: found  # noqa: E731

    def finish_checked() -> CandidatesPerImage:
        return [
            valid_candidates(candidates, requested, size_hw, min_confidence)
            for candidates, requested, size_hw in zip(finish(), captions, sizes_hw, strict=True)
        ]

    return finish_checked
