"""Polygons of masks: conversion in both directions with a stated IoU, tracing, simplification.

Coordinates are pixels: the pixel in column x and row y spans x to x + 1 and y to y + 1.
"""

from grounded_sam2.geometry.polygons.conversion import (
    mask_to_polygons,
    masks_to_polygons,
    polygons_to_coco,
)
from grounded_sam2.geometry.polygons.polygon_batch import Polygon, Ring
from grounded_sam2.geometry.polygons.rasterization import polygons_to_mask, polygons_to_rle
from grounded_sam2.geometry.polygons.simplification import simplify_ring
from grounded_sam2.geometry.polygons.single_ring import mask_to_single_ring, masks_to_single_rings
from grounded_sam2.geometry.polygons.tracing import exact_polygons, has_holes

__all__ = [
    "Polygon",
    "Ring",
    "exact_polygons",
    "has_holes",
    "mask_to_polygons",
    "mask_to_single_ring",
    "masks_to_polygons",
    "masks_to_single_rings",
    "polygons_to_coco",
    "polygons_to_mask",
    "polygons_to_rle",
    "simplify_ring",
]
