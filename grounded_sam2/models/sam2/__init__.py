"""SAM 2 on pictures: encode a picture once, then ask for masks as often as needed.

`Sam2Segmenter` is what the rest of the package uses. Below it: `prompts` says what can be asked,
`decoder` answers many prompts of a picture in one pass, `complement` notices answers that are the
inverse of what was asked for, `masks` makes compact masks of the picture's size.
"""

from __future__ import annotations

from grounded_sam2.models.sam2.prompts import Prompts
from grounded_sam2.models.sam2.segmenter import ImageEmbeddings, Sam2Segmenter

__all__ = ["ImageEmbeddings", "Prompts", "Sam2Segmenter"]
