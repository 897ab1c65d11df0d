"""Boxes, masks and polygons as arrays. The modules load on import of their names only.

- `boxes`: box arithmetic; `overlap`: IoU, containment and intersection of masks; `matching`:
  assignment and non-maximum suppression on IoU matrices.
- `rle`: run-length encoded masks; `crops` and `compressed_counts`: their conversion to pixels and
  to COCO's text; `ragged`: offsets of concatenated segments, on which they work.
- `masks`: repairs of dense masks; `polygons`: conversion between masks and polygons.
- `image_hash`: perceptual hashes of images.
"""

__all__ = [
    "boxes",
    "compressed_counts",
    "crops",
    "image_hash",
    "masks",
    "matching",
    "overlap",
    "polygons",
    "ragged",
    "rle",
]
