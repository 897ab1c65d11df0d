from __future__ import annotations

import numpy as np
import pytest
from fixtures.masks import Mask, mask

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry import masks
from grounded_sam2.geometry.rle import encode


def text(dense: Mask) -> str:
    return " ".join("".join("#" if pixel else "." for pixel in row) for row in dense)


COMPONENTS = "##..# ##... ....# .#..#"


@pytest.mark.parametrize(
    ("min_area", "expected"),
    [
        (0, COMPONENTS),
        (1, COMPONENTS),
        (2, "##... ##... ....# ....#"),
        (3, "##... ##... ..... ....."),
        (5, "..... ..... ..... ....."),
    ],
)
def test_components_below_the_area_are_removed(min_area: int, expected: str) -> None:
    assert text(masks.remove_small_components(mask(COMPONENTS), min_area)) == expected


def test_pixels_that_touch_at_a_corner_are_one_component() -> None:
    assert text(masks.remove_small_components(mask("#.. .#. ..#"), 3)) == "#.. .#. ..#"


HOLES = "######## #.##..## ####..## ######## #..#####"


@pytest.mark.parametrize(
    ("max_area", "expected"),
    [
        (0, HOLES),
        (1, "######## ####..## ####..## ######## #..#####"),
        (4, "######## ######## ######## ######## #..#####"),
        (99, "######## ######## ######## ######## #..#####"),
    ],
)
def test_holes_up_to_the_area_are_filled_but_not_background_at_the_border(
    max_area: int, expected: str
) -> None:
    assert text(masks.fill_holes(mask(HOLES), max_area)) == expected


def test_holes_do_not_connect_through_a_corner() -> None:
    assert text(masks.fill_holes(mask(".##. #.## .##."), 1)) == ".##. #### .##."
    assert text(masks.fill_holes(mask("..## #.## ###."), 9)) == "..## #.## ###."


def test_of_equally_large_components_the_topmost_then_leftmost_stays() -> None:
    assert (
        text(
            masks.largest_component(mask("#..## ...## ###..")),
        )
        == "...## ...## ###.."
    )
    assert text(masks.largest_component(mask(".##.## .##.## ...... ###### "))) == (
        "...... ...... ...... ######"
    )
    assert text(masks.largest_component(mask("..# ... #.."))) == "..# ... ..."
    assert text(masks.largest_component(mask("#.#"))) == "#.."


@pytest.mark.parametrize("dense", [np.zeros((0, 0), bool), np.zeros((2, 3), bool)])
def test_empty_masks_stay_empty(dense: Mask) -> None:
    for repaired in (
        masks.remove_small_components(dense, 5),
        masks.fill_holes(dense, 5),
        masks.largest_component(dense),
    ):
        assert repaired.shape == dense.shape
        assert not repaired.any()


def test_a_full_mask_stays_full() -> None:
    full = np.ones((3, 4), bool)
    assert masks.fill_holes(full, 5).all()
    assert masks.remove_small_components(full, 5).all()
    assert masks.largest_component(full).all()


def test_the_first_mask_keeps_the_overlap() -> None:
    top, middle, below = (
        encode(mask(rows))[0] for rows in ("....# ....#", ".##.. .##..", "##### #####")
    )
    painted = masks.remove_overlaps([top, middle, below])
    assert [text(one.decode()) for one in painted] == ["....# ....#", ".##.. .##..", "#..#. #..#."]


def test_a_fully_covered_mask_becomes_empty() -> None:
    top, below = (encode(mask(rows))[0] for rows in ("###", ".#."))
    assert [one.area for one in masks.remove_overlaps([top, below])] == [3, 0]


def test_no_masks_have_no_overlaps() -> None:
    assert masks.remove_overlaps([]) == []


def test_masks_of_different_images_are_an_error() -> None:
    with pytest.raises(GeometryError, match="1×1 and 1×2"):
        masks.remove_overlaps([encode(mask("#"))[0], encode(mask("##"))[0]])
