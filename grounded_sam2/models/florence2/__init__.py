"""The Florence-2 detector: captions in, boxes with confidence out."""

from grounded_sam2.models.florence2.detector import Florence2Detector

__all__ = ["Florence2Detector"]
