"""Masks are converted together, and the results go to the objects that have the masks."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import pytest

from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.mask_conversion import MaskStats, convert_masks, map_masks, mask_stats
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Labels


def image(labeled, name: str, *areas: int | None) -> DatasetImage:
    """An image with objects, whose masks have these areas; ``None`` for no mask."""
    masks = [None if area is None else np.arange(4800).reshape(60, 80) < area for area in areas]
    objects = tuple(labeled.label(mask) for mask in masks)
    return DatasetImage(Labels((60, 80), objects), "train", PurePosixPath(name))


def test_mask_stats_are_box_and_area(labeled):
    masks = [*encode(labeled.disc()), *encode(np.zeros((9, 9), bool))]
    disc, nothing = mask_stats(masks)
    assert disc == MaskStats(masks[0].bbox_xyxy, int(labeled.disc().sum()))
    assert nothing == MaskStats((0, 0, 0, 0), 0)
    assert mask_stats([]) == []


def test_objects_without_a_mask_have_no_result(labeled):
    objects = image(labeled, "a", None, 3, None, 5).labels.objects
    assert [each and each.area for each in map_masks(objects, mask_stats)] == [None, 3, None, 5]


@pytest.mark.parametrize("masks", [1, 3, 256])
@pytest.mark.parametrize("images", [1, 2, 64])
def test_every_image_gets_its_own_results_whatever_the_size_of_groups(labeled, masks, images):
    given = {"a": [1, 2], "b": [], "c": [None], "d": [3, None, 4, 5], "e": [6]}
    placed = [image(labeled, name, *areas) for name, areas in given.items()]
    found = {
        str(each.name): [stats and stats.area for stats in results]
        for each, results in convert_masks(
            iter(placed), mask_stats, max_masks=masks, max_images=images
        )
    }
    assert found == given
    assert list(found) == list(given)


def test_no_more_images_are_read_than_fit_into_a_group(labeled):
    read = []

    def endless():
        while True:
            read.append(image(labeled, "a", 1))
            yield read[-1]

    each = convert_masks(endless(), mask_stats, max_images=2)
    for _ in range(3):
        next(each)
    assert len(read) == 4
