"""Many masks, decoded some at a time.

Calls into numpy are shared by as many masks as their pixels fit the cache, and memory holds one
group, however many masks there are; of huge ones, one mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from grounded_sam2.geometry.crops import Crops, crop_all, extents
from grounded_sam2.geometry.ragged import Spans
from grounded_sam2.geometry.rle import Rle, runs_of, sizes_of

__all__ = ["crops_in_groups"]

_MOST_MASKS = 1024
_MOST_PIXELS = 2**22


def crops_in_groups(masks: Sequence[Rle]) -> Iterator[tuple[Sequence[Rle], Crops]]:
    """Masks in order, whatever images they are of, and what is within their bounding boxes.

    Raises:
        GeometryError: a mask is damaged.
    """
    for first in range(0, len(masks), _MOST_MASKS):
        group = masks[first : first + _MOST_MASKS]
        runs, spans = runs_of(group)
        sizes = sizes_of(group)
        boxes = extents(runs, spans, sizes[:, 0])
        pixels = np.cumsum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
        start = 0
        while start < len(group):
            before = pixels[start - 1] if start else 0
            end = max(int(np.searchsorted(pixels, before + _MOST_PIXELS, "right")), start + 1)
            crops = crop_all(
                runs[spans.starts[start] : spans.ends[end - 1]],
                Spans(spans.sizes[start:end]),
                sizes[start:end],
                boxes[start:end],
            )
            yield group[start:end], crops
            start = end
