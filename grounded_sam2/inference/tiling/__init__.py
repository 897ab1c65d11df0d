"""Large images, looked at piece by piece, so that small things do not vanish.

The models see any image squeezed into a square of their input. What is large (see
`grounded_sam2.config.TilingConfig`) is therefore shown to them in windows as well: `views` cuts
them. `detector` asks any detector about all of them, and `merging` makes one box of what several
show; `segmenter` asks any segmenter about windows around the boxes (`crops`) and about the whole
image, and keeps the better mask (`choice`); `parts` says which objects are pieces of others after
all. Other images go to the models as they are.
"""

from __future__ import annotations

from grounded_sam2.inference.tiling.detector import TiledDetector
from grounded_sam2.inference.tiling.fragments import are_fragments
from grounded_sam2.inference.tiling.segmenter import TiledSegmenter

__all__ = ["TiledDetector", "TiledSegmenter", "are_fragments"]
