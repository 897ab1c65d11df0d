"""Detection in tiles: any detector, for images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import TilingConfig
from grounded_sam2.inference.tiling.box_merging import TileBoxes, merge_boxes
from grounded_sam2.inference.tiling.tiles import (
    Tile,
    is_large,
    make_tiles,
    tile_batches,
    tile_boxes,
)
from grounded_sam2.models.protocols import Detector
from grounded_sam2.results import DetectedBoxes, Image

__all__ = ["TiledDetector"]


@dataclass(frozen=True, slots=True)
class TiledDetector:
    """A detector that detects in the tiles of large images; itself a `Detector`.

    Example:
        >>> detector = TiledDetector(Florence2Detector.from_pretrained("demo"))
        >>> detector.detect([aerial_image], [["red circle"]])[0].boxes_xyxy.shape
        (212, 4)
    """

    detector: Detector
    options: TilingConfig = field(default_factory=TilingConfig)

    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        """See `grounded_sam2.models.protocols.Detector`.

        Images that are not large go to the detector unchanged, in one call. In large ones, all
        captions are detected in all tiles, batch by batch, and the boxes of several tiles are
        merged: see `box_merging`. The result has no confidence if the detector gives none.
        """
        large = [i for i, image in enumerate(images) if is_large(image.shape, self.options)]
        if not large or len(images) != len(captions):  # the detector raises for unequal lengths
            return self.detector.detect(images, captions)
        detected = {i: self._detect_in_tiles(images[i], captions[i]) for i in large}
        if others := [i for i in range(len(images)) if i not in detected]:
            found = self.detector.detect([images[i] for i in others], [captions[i] for i in others])
            detected.update(zip(others, found, strict=True))
        return [detected[i] for i in range(len(images))]

    def _detect_in_tiles(self, image: Image, captions: Sequence[str]) -> DetectedBoxes:
        size_hw = (image.shape[0], image.shape[1])
        tiles = make_tiles(size_hw, self.options)
        detected: list[DetectedBoxes] = []
        for batch in tile_batches(tiles, max_tiles=self.options.tiles_per_batch):
            crops = [tile.resized_crop(image) for tile in batch]
            detected += self.detector.detect(crops, [captions] * len(batch))
        found, names = _concatenate(tiles, detected)
        merged = {  # in the order in which they were requested, or first returned
            name: merge_boxes(found.select(names == name), size_hw)
            for name in dict.fromkeys([*captions, *names])
        }
        boxes = [np.zeros((0, 4)), *(boxes for boxes, _ in merged.values())]
        confidence = [np.zeros(0, np.float32), *(confidence for _, confidence in merged.values())]
        has_confidence = all(each.confidence is not None for each in detected if len(each))
        return DetectedBoxes(
            boxes_xyxy=np.concatenate(boxes).astype(np.float32),
            captions=tuple(name for name, (boxes, _) in merged.items() for _ in boxes),
            confidence=np.concatenate(confidence) if has_confidence else None,
        )


def _concatenate(
    tiles: Sequence[Tile], detected: Sequence[DetectedBoxes]
) -> tuple[TileBoxes, NDArray[np.object_]]:
    """Boxes of all tiles, in the image, and the caption of each."""
    boxes, confidence = [], []
    names: list[str] = []
    for tile, found in zip(tiles, detected, strict=True):
        boxes.append(tile.boxes_to_image(found.boxes_xyxy))
        missing = np.zeros(len(found), np.float32)
        confidence.append(missing if found.confidence is None else found.confidence)
        names += found.captions
    return (
        TileBoxes(
            boxes_xyxy=np.concatenate(boxes),
            confidence=np.concatenate(confidence),
            tile_index=np.repeat(np.arange(len(tiles)), [len(found) for found in detected]),
            tiles_xyxy=tile_boxes(tiles),
        ),
        np.array(names, np.object_),
    )
