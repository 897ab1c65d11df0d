"""Synthetic masks and label stores with any number of objects, without a model.

A thousand outlines are drawn once and placed at random, upright and mirrored; no benchmarked code
caches masks. Their sides are those of objects in photographs, from a twentieth to a half of the
image's height; a tenth of them have holes, a tenth consist of two parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.rle import bounding_boxes, encode_crops
from grounded_sam2.results import Label, Labels
from grounded_sam2.sources.fingerprint import file_hash, file_stamp
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig

__all__ = ["CLASSES", "SIZE_HW", "item_outcomes", "label_store", "outlines", "synthetic_labels"]

SIZE_HW = (480, 640)
CLASSES = [f"class {index}" for index in range(20)]
RUN_CONFIG = RunConfig(models={}, inference={})
_SHAPES = 1000


def outlines(seed: int, number: int = _SHAPES, scale: float = 1) -> list[NDArray[np.bool_]]:
    """Random masks, each cropped to its bounding box: ``(h, w)`` ``bool``."""
    rng = np.random.default_rng(seed)
    shapes = []
    for index in range(number):
        side = scale * SIZE_HW[0] * np.exp(rng.uniform(np.log(0.05), np.log(0.5)))
        mask = _blob(rng, side)
        if index % 10 == 1:
            mask = mask & ~_blob(rng, side * rng.uniform(0.2, 0.5), mask.shape)
        if index % 10 == 2:
            other = _blob(rng, side * rng.uniform(0.3, 0.7))
            height = max(len(mask), len(other))
            gap = np.zeros((height, max(1, int(side / 10))), np.bool_)
            mask = np.concatenate([_padded(mask, height), gap, _padded(other, height)], axis=1)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        shapes.append(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return shapes


def _blob(
    rng: np.random.Generator, side: float, canvas_hw: tuple[int, int] | None = None
) -> NDArray[np.bool_]:
    """A round mask with a wavy outline, about `side` pixels across, in the middle of a canvas."""
    height, width = canvas_hw or (int(1.6 * side) + 3,) * 2
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    waves = np.arange(2, 12)
    strength = rng.normal(0, 0.25, waves.size) / waves
    phase = rng.uniform(0, 2 * np.pi, waves.size)
    radius = 1 + (strength * np.cos(waves * angle[:, None] + phase)).sum(1)
    radius *= side / 2 / radius.max()
    stretch = np.exp(rng.normal(0, 0.3))
    x = width / 2 + radius * np.cos(angle) * min(stretch, 1)
    y = height / 2 + radius * np.sin(angle) / max(stretch, 1)
    canvas = np.zeros((height, width), np.uint8)
    fixed = np.round(np.stack((x, y), 1) * 16).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], (1,), shift=4)
    return canvas.view(np.bool_)


def _padded(mask: NDArray[np.bool_], height: int) -> NDArray[np.bool_]:
    return np.pad(mask, ((0, height - len(mask)), (0, 0)))


def synthetic_labels(
    images: int, objects: int, seed: int = 0, size_hw: tuple[int, int] = SIZE_HW
) -> Iterator[Labels]:
    """Labels of ``images`` images with ``objects`` objects each, one image at a time."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    shapes = outlines(seed, scale=height / SIZE_HW[0])
    for _ in range(images):
        crops, corners = [], []
        for _ in range(objects):
            crop = shapes[rng.integers(len(shapes))]
            crop = crop[:: rng.choice((1, -1)), :: rng.choice((1, -1))][:height, :width]
            crops.append(crop)
            room = np.array((width - crop.shape[1], height - crop.shape[0]))
            corners.append(tuple(rng.integers(room + 1).tolist()))
        masks = encode_crops(crops, corners, [size_hw] * objects)
        names = [CLASSES[index] for index in rng.integers(len(CLASSES), size=objects)]
        numbers = rng.uniform(0.3, 1, (objects, 2)).round(4).tolist()
        boxes = map(tuple, bounding_boxes(masks).tolist())
        labels = tuple(
            Label(name, name, box, mask, confidence, quality)
            for name, box, mask, (confidence, quality) in zip(
                names, boxes, masks, numbers, strict=True
            )
        )
        yield Labels(size_hw, labels)


def item_outcomes(
    folder: Path, images: int, objects: int, seed: int = 0, size_hw: tuple[int, int] = SIZE_HW
) -> Iterator[ItemOutcome]:
    """Labels of images in a folder, whose files are hard links to one small gray image.

    Links keep the speed of the disk out of the measurements.
    """
    folder.mkdir(parents=True, exist_ok=True)
    original = folder / "original.jpg"
    cv2.imwrite(str(original), np.full((*size_hw, 3), 128, np.uint8))
    content_hash, stamp = file_hash(original), file_stamp(original)
    for index, labels in enumerate(synthetic_labels(images, objects, seed, size_hw)):
        path = folder / f"{index:06}.jpg"
        path.hardlink_to(original)
        item = Item(
            item_id=path.name,
            path=path,
            content_hash=content_hash,
            size_hw=size_hw,
            file_stamp=stamp,
        )
        yield ItemOutcome(item, labels)


def label_store(
    folder: Path, images: int, objects: int, seed: int = 0, size_hw: tuple[int, int] = SIZE_HW
) -> LabelStore:
    """A store of synthetic labels in ``folder/labeled``, open for writing."""
    store = LabelStore.create(folder / "labeled")
    run = store.begin_run(RUN_CONFIG, ontology=tuple((name, name) for name in CLASSES))
    results = item_outcomes(folder / "images", images, objects, seed, size_hw)
    while batch := list(islice(results, 64)):
        store.write_batch(run.id, batch)
    return store
