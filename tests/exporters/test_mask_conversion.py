"""What is made of many masks at once goes to the objects that have them."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import pytest

from grounded_sam2.exporters import mask_conversion
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.mask_conversion import MaskStats, convert_masks, map_masks, mask_stats
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Labels


def image(labeled, name: str, *areas: int | None) -> DatasetImage:
    """Objects with masks of so many pixels, or without."""
    masks = [None if area is None else np.arange(4800).reshape(60, 80) < area for area in areas]
    objects = tuple(labeled.label(mask) for mask in masks)
    return DatasetImage(Labels((60, 80), objects), "train", PurePosixPath(name))


def test_measures_are_boxes_and_areas(labeled):
    masks = [*encode(labeled.disc()), *encode(np.zeros((9, 9), bool))]
    disc, nothing = mask_stats(masks)
    assert disc == MaskStats(masks[0].bbox_xyxy, int(labeled.disc().sum()))
    assert nothing == MaskStats((0, 0, 0, 0), 0)
    assert mask_stats([]) == []


def test_objects_without_a_mask_have_no_shape(labeled):
    objects = image(labeled, "a", None, 3, None, 5).labels.objects
    assert [each and each.area for each in map_masks(objects, mask_stats)] == [None, 3, None, 5]


@pytest.mark.parametrize("masks", [1, 3, 256])
@pytest.mark.parametrize("images", [1, 2, 64])
def test_every_image_gets_its_own_shapes_however_they_are_grouped(
    labeled, monkeypatch, masks, images
):
    monkeypatch.setattr(mask_conversion, "_MOST_MASKS", masks)
    monkeypatch.setattr(mask_conversion, "_MOST_IMAGES", images)
    given = {"a": [1, 2], "b": [], "c": [None], "d": [3, None, 4, 5], "e": [6]}
    placed = [image(labeled, name, *areas) for name, areas in given.items()]
    found = {
        str(each.name): [shape and shape.area for shape in its_shapes]
        for each, its_shapes in convert_masks(iter(placed), mask_stats)
    }
    assert found == given
    assert list(found) == list(given)


def test_no_more_images_are_taken_than_go_into_a_group(labeled, monkeypatch):
    monkeypatch.setattr(mask_conversion, "_MOST_IMAGES", 2)
    taken = []

    def endless():
        while True:
            taken.append(image(labeled, "a", 1))
            yield taken[-1]

    each = convert_masks(endless(), mask_stats)
    for _ in range(3):
        next(each)
    assert len(taken) == 4
