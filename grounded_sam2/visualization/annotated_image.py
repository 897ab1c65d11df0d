"""Annotated images: detections drawn into an image or a frame, and image files.

supervision's annotators draw everything but the inside of masks. They expect OpenCV's BGR; images
here are RGB. Channels are swapped before and after drawing, so that supervision's colors are kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import PIL.Image

from grounded_sam2.errors import ImageError
from grounded_sam2.results import Image

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["annotate", "image_format", "save_image"]

_MASK_OPACITY = 0.3  # keeps the object visible; the outline shows where the mask ends
_MIN_TEXT_SCALE = 0.35  # OpenCV's stroke font is unreadable below
_PIXELS_PER_LINE = 540  # lines of 1 pixel up to 720p, 2 in Full HD, 4 in 4K
_COLOR_STRIDE = 8  # coprime to the 21 colors, and far apart in the rainbow
_BRIGHT = 140  # brightness, 0 to 255, above which text is black


def annotate(image: Image, detections: sv.Detections) -> Image:
    """Draw masks, outlines, boxes, class names and confidences, one color per class.

    Detections with track ids have one color per track instead, which depends on the id alone and
    so is the same in all frames, and the id before the name.

    Args:
        image: upright RGB, ``(h, w, 3)`` ``uint8``; not modified.
        detections: as `GroundedSAM2.predict` returns them; ``class_name`` is read from ``data``.
            ``tracker_id``, if set, holds track ids.

    Returns:
        A new image of the same size; a plain copy where there are no detections.
    """
    import supervision as sv

    size_wh = image.shape[1], image.shape[0]
    thickness = max(1, round(min(size_wh) / _PIXELS_PER_LINE))
    scale = max(_MIN_TEXT_SCALE, 0.6 * sv.calculate_optimal_text_scale(size_wh))
    names = detections.data.get("class_name", ())
    confidence = detections.confidence
    labels = [
        str(name) if confidence is None else f"{name} {confidence[i]:.2f}"
        for i, name in enumerate(names)
    ]
    colors = {"color": sv.ColorPalette.DEFAULT, "color_lookup": sv.ColorLookup.CLASS}
    text = sv.Color.WHITE
    if detections.tracker_id is not None:
        labels = [f"#{i} {x}" for i, x in zip(detections.tracker_id, labels, strict=True)]
        colors = {"color": _track_colors(), "color_lookup": sv.ColorLookup.TRACK}
        text = _readable_text_colors(_track_colors())
    canvas = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    canvas = _draw_masks(canvas, detections, **colors)
    canvas = sv.PolygonAnnotator(**colors, thickness=thickness).annotate(canvas, detections)
    canvas = sv.BoxAnnotator(**colors, thickness=thickness).annotate(canvas, detections)
    canvas = sv.LabelAnnotator(
        **colors,
        text_color=text,
        text_scale=scale,
        text_padding=round(8 * scale),
        text_thickness=max(1, thickness // 2),
        smart_position=True,  # keeps labels inside the image and apart
    ).annotate(canvas, detections, labels=labels)
    return cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB)


def image_format(path: str | Path) -> str:
    """Pillow's name of the image format for a path's extension (``PNG``, ``JPEG`` …).

    Raises:
        ImageError: the extension belongs to no format that can be written.
    """
    PIL.Image.init()
    suffix = Path(path).suffix.lower()
    name = PIL.Image.registered_extensions().get(suffix, "")
    if name not in PIL.Image.SAVE:
        raise ImageError(
            f"image {str(path)!r}: cannot write an image with extension {suffix!r}; use .png or "
            ".jpg"
        )
    return name


def save_image(image: Image, path: str | Path) -> None:
    """Write an RGB image in the format of the path's extension; creates the folder.

    Args:
        image: RGB, ``(h, w, 3)`` ``uint8``.
        path: the file, which is replaced.

    Raises:
        ImageError: see `image_format`; or the file cannot be written.
    """
    name = image_format(path)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(path, format=name)
    except OSError as error:
        raise ImageError(f"image {str(path)!r}: cannot be written: {error}") from error


def _draw_masks(
    canvas: Image, detections: sv.Detections, color: sv.ColorPalette, color_lookup: sv.ColorLookup
) -> Image:
    """Blend the masks over the image, as `sv.MaskAnnotator` does in three times the time.

    Each mask is painted within its bounding box only. Pixels of several masks get the color of the
    smallest.
    """
    import supervision as sv

    if detections.mask is None:
        return canvas
    by_track = color_lookup == sv.ColorLookup.TRACK
    color_ids = detections.tracker_id if by_track else detections.class_id
    painted = canvas.copy()
    sizes = [np.count_nonzero(mask) for mask in detections.mask]
    for index in np.argsort(sizes)[::-1]:
        mask = np.asarray(detections.mask[index]).view(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)
        window = np.s_[top : top + height, left : left + width]
        fill = np.full((height, width, 3), color.by_idx(int(color_ids[index])).as_bgr(), np.uint8)
        if sizes[index]:
            cv2.copyTo(fill, mask[window], painted[window])
    return cv2.addWeighted(painted, _MASK_OPACITY, canvas, 1 - _MASK_OPACITY, 0)


def _track_colors() -> sv.ColorPalette:
    """supervision's colors, reordered so that consecutive track ids have distinct colors."""
    import supervision as sv

    colors = sv.ColorPalette.DEFAULT.colors  # in the order of the rainbow
    return sv.ColorPalette([colors[_COLOR_STRIDE * i % len(colors)] for i in range(len(colors))])


def _readable_text_colors(palette: sv.ColorPalette) -> sv.ColorPalette:
    """Black or white for each background color, whichever is readable on it."""
    import supervision as sv

    brightness = [0.3 * color.r + 0.6 * color.g + 0.1 * color.b for color in palette.colors]
    return sv.ColorPalette(
        [sv.Color.BLACK if value > _BRIGHT else sv.Color.WHITE for value in brightness]
    )
