"""Fragments: objects that are parts of others, cut off by a tile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grounded_sam2.config import Config, TilingConfig
from grounded_sam2.geometry import rle
from grounded_sam2.inference.postprocess import postprocess
from grounded_sam2.inference.tiling import are_fragments
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Candidate, Label

OPTIONS = TilingConfig(above_side=500, tile_size=200, overlap=0.25)
SIZE_HW = (650, 650)
"""Tiles begin at 0, 150, 300 and 450 and end at 200, 350, 500 and 650."""
Box = tuple[int, int, int, int]
WHOLE: Box = (20, 20, 400, 300)
FRAGMENT: Box = (220, 100, 350, 200)


def label(box: Box, caption: str = "roof", *, mask: Box | None = None) -> Label:
    left, top, right, bottom = box
    return Label(
        class_name="a class",
        caption=caption,
        box_xyxy=(float(left), float(top), float(right), float(bottom)),
        mask=rle.rectangle(mask or box, SIZE_HW),
        confidence=0.9,
        mask_quality=0.9,
    )


CASES = {
    "none": ([], []),
    "one": ([label(FRAGMENT)], [False]),
    "fragment and whole": ([label(FRAGMENT), label(WHOLE)], [True, False]),
    "whole and fragment": ([label(WHOLE), label(FRAGMENT)], [False, True]),
    "of another caption": ([label(WHOLE), label(FRAGMENT, "window")], [False, False]),
    "ends at no tile": ([label(WHOLE), label((220, 100, 320, 170))], [False, False]),
    "ends where the image does": (
        [label((300, 300, 650, 650)), label((550, 560, 650, 630))],
        [False, False],
    ),
    "mask goes beyond": (
        [label(WHOLE), label(FRAGMENT, mask=(220, 100, 450, 200))],
        [False, False],
    ),
    "box goes beyond, mask does not": (
        [label(WHOLE), label((220, 200, 350, 340), mask=(220, 200, 350, 300))],
        [False, True],
    ),
    "the same twice": ([label(FRAGMENT), label(FRAGMENT)], [False, False]),
    "nearly the same": ([label(FRAGMENT), label((220, 100, 370, 200))], [False, False]),
    "empty mask": ([label(WHOLE), label(FRAGMENT, mask=(0, 0, 0, 0))], [False, False]),
    "no mask": ([label(WHOLE), replace(label(FRAGMENT), mask=None)], [False, False]),
}


@pytest.mark.parametrize(("objects", "fragments"), CASES.values(), ids=CASES)
def test_fragments(objects: list[Label], fragments: list[bool]) -> None:
    assert are_fragments(objects, SIZE_HW, OPTIONS).tolist() == fragments


def test_apples_are_no_fragments_of_the_heap() -> None:
    heap = label((10, 10, 640, 640))
    apples = [label((x, y, x + 30, y + 30)) for x in (40, 240, 380) for y in (40, 240, 560)]
    assert not are_fragments([heap, *apples], SIZE_HW, OPTIONS).any()


def test_images_that_are_not_tiled_have_no_fragments() -> None:
    objects = [label(WHOLE), label(FRAGMENT)]
    assert not are_fragments(objects, SIZE_HW, TilingConfig(mode="never")).any()
    assert not are_fragments(objects, SIZE_HW, TilingConfig(above_side=650)).any()


def test_postprocessing_drops_fragments() -> None:
    config = Config(tiling=OPTIONS)
    candidates = [
        Candidate(label.caption, label.box_xyxy, label.mask, label.confidence, label.mask_quality)
        for label in (label(FRAGMENT), label(WHOLE), label((420, 420, 600, 610)))
    ]
    result = postprocess(candidates, SIZE_HW, CaptionOntology({"roof": "building"}), config)
    assert result.statuses == ("cleaned_up", "label", "label")
    boxes = [label.box_xyxy for label in result.labels.objects]
    assert boxes == [WHOLE, (420, 420, 600, 610)]
    untiled = Config(tiling=TilingConfig(mode="never"))
    assert "cleaned_up" not in postprocess(candidates, SIZE_HW, None, untiled).statuses
