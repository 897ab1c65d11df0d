"""Tiled inference: large images are processed in tiles, so that small objects are found.

The models resize every image to the square of their input. Large images (see
`grounded_sam2.config.TilingConfig`) are therefore processed in windows as well; others go to the
models unchanged.

- `TiledDetector` detects in overlapping tiles of several scales (`tiles`), and merges the boxes
  that several tiles return for one object (`box_merging`).
- `TiledSegmenter` segments each box in the whole image and in a window around it, and keeps the
  better mask.
- `are_fragments` recognizes objects that are a cut-off part of another one, once masks are known.
"""

from __future__ import annotations

from grounded_sam2.inference.tiling.detector import TiledDetector
from grounded_sam2.inference.tiling.fragments import are_fragments
from grounded_sam2.inference.tiling.segmenter import TiledSegmenter

__all__ = ["TiledDetector", "TiledSegmenter", "are_fragments"]
