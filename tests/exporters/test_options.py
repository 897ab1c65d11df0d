"""Invalid options are refused with their value."""

from __future__ import annotations

import pytest

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import ExportOptions


def test_invalid_options_are_named():
    for wrong, reason in [
        ({"images": "move"}, "images 'move'"),
        ({"segmentation": "mask"}, "segmentation 'mask'"),
        ({"min_polygon_iou": 1.5}, r"min_polygon_iou 1\.5"),
        ({"min_confidence": -0.1}, r"min_confidence -0\.1"),
        ({"min_mask_quality": 80}, r"min_mask_quality 80: must lie between 0 and 1"),
        ({"split_by": "color"}, "split_by 'color': must be one of content, folder"),
        ({"split": {"train": 0.5}}, "sums to 0.5"),
    ]:
        with pytest.raises(ExportError, match=reason):
            ExportOptions(**wrong)
