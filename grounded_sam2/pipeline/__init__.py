"""`GroundedSAM2`: the whole package behind one object."""

from grounded_sam2.pipeline.facade import GroundedSAM2, LabelResult
from grounded_sam2.pipeline.videos import TrackedDetections, TrackResult

__all__ = ["GroundedSAM2", "LabelResult", "TrackResult", "TrackedDetections"]
