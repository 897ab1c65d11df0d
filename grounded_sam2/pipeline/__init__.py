"""`GroundedSAM2`: the façade of the package."""

from grounded_sam2.pipeline.facade import GroundedSAM2, VideoDetections
from grounded_sam2.pipeline.labeling import LabelResult

__all__ = ["GroundedSAM2", "LabelResult", "VideoDetections"]
