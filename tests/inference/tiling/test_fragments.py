"""Which objects are pieces of others that a window cut off."""

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
PIECE: Box = (220, 100, 350, 200)


def thing(box: Box, caption: str = "roof", *, mask: Box | None = None) -> Label:
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
    "one": ([thing(PIECE)], [False]),
    "piece and whole": ([thing(PIECE), thing(WHOLE)], [True, False]),
    "whole and piece": ([thing(WHOLE), thing(PIECE)], [False, True]),
    "of another caption": ([thing(WHOLE), thing(PIECE, "window")], [False, False]),
    "ends at no window": ([thing(WHOLE), thing((220, 100, 320, 170))], [False, False]),
    "ends where the image does": (
        [thing((300, 300, 650, 650)), thing((550, 560, 650, 630))],
        [False, False],
    ),
    "mask goes beyond": ([thing(WHOLE), thing(PIECE, mask=(220, 100, 450, 200))], [False, False]),
    "box goes beyond, mask does not": (
        [thing(WHOLE), thing((220, 200, 350, 340), mask=(220, 200, 350, 300))],
        [False, True],
    ),
    "the same twice": ([thing(PIECE), thing(PIECE)], [False, False]),
    "nearly the same": ([thing(PIECE), thing((220, 100, 370, 200))], [False, False]),
    "empty mask": ([thing(WHOLE), thing(PIECE, mask=(0, 0, 0, 0))], [False, False]),
    "no mask": ([thing(WHOLE), replace(thing(PIECE), mask=None)], [False, False]),
}


@pytest.mark.parametrize(("objects", "parts"), CASES.values(), ids=CASES)
def test_pieces(objects: list[Label], parts: list[bool]) -> None:
    assert are_fragments(objects, SIZE_HW, OPTIONS).tolist() == parts


def test_apples_are_no_pieces_of_the_heap() -> None:
    heap = thing((10, 10, 640, 640))
    apples = [thing((x, y, x + 30, y + 30)) for x in (40, 240, 380) for y in (40, 240, 560)]
    assert not are_fragments([heap, *apples], SIZE_HW, OPTIONS).any()


def test_in_other_images_nothing_is_a_piece() -> None:
    objects = [thing(WHOLE), thing(PIECE)]
    assert not are_fragments(objects, SIZE_HW, TilingConfig(mode="never")).any()
    assert not are_fragments(objects, SIZE_HW, TilingConfig(above_side=650)).any()


def test_what_is_a_piece_is_no_label() -> None:
    config = Config(tiling=OPTIONS)
    candidates = [
        Candidate(label.caption, label.box_xyxy, label.mask, label.confidence, label.mask_quality)
        for label in (thing(PIECE), thing(WHOLE), thing((420, 420, 600, 610)))
    ]
    decision = postprocess(candidates, SIZE_HW, CaptionOntology({"roof": "building"}), config)
    assert decision.statuses == ("cleaned_up", "label", "label")
    boxes = [label.box_xyxy for label in decision.labels.objects]
    assert boxes == [WHOLE, (420, 420, 600, 610)]
    untiled = Config(tiling=TilingConfig(mode="never"))
    assert "cleaned_up" not in postprocess(candidates, SIZE_HW, None, untiled).statuses
