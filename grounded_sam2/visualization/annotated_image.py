"""Pictures of results: one annotated image or frame of a video, and a sheet of many.

supervision's annotators do the drawing, but for the inside of masks. They take OpenCV's BGR,
everything here is RGB: the channels are turned on the way in and out, so that colors are
supervision's own.
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

_MASK_OPACITY = 0.3  # the thing can still be seen; the outline says where the mask ends
_SMALLEST_TEXT = 0.35  # OpenCV's stroke font is not readable below
_PIXELS_PER_LINE = 540  # lines of 1 pixel to 720p, 2 in Full HD, 4 in 4K
_FAR = 8  # of 21 colors, and without a common divisor
_BRIGHT = 140


def annotate(image: Image, detections: sv.Detections) -> Image:
    """Draw masks, outlines, boxes, class names and confidences, one color per class.

    Frames of videos have one color per track instead, which follows from its id alone and so is
    the same in all frames, and ids before the names.

    Args:
        image: upright RGB, ``(h, w, 3)`` ``uint8``. Left as it is.
        detections: as `GroundedSAM2.predict` returns them; ``class_name`` is read from ``data``.
            With ``tracker_id`` they are those of a frame.

    Returns:
        A new image of the same size; a plain copy where there are no detections.
    """
    import supervision as sv

    size_wh = image.shape[1], image.shape[0]
    thickness = max(1, round(min(size_wh) / _PIXELS_PER_LINE))
    scale = max(_SMALLEST_TEXT, 0.6 * sv.calculate_optimal_text_scale(size_wh))
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
        text = _text_on(_track_colors())
    canvas = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    canvas = _tinted(canvas, detections, **colors)
    canvas = sv.PolygonAnnotator(**colors, thickness=thickness).annotate(canvas, detections)
    canvas = sv.BoxAnnotator(**colors, thickness=thickness).annotate(canvas, detections)
    canvas = sv.LabelAnnotator(
        **colors,
        text_color=text,
        text_scale=scale,
        text_padding=round(8 * scale),
        text_thickness=max(1, thickness // 2),
        smart_position=True,  # inside the image, and not on one another
    ).annotate(canvas, detections, labels=labels)
    return cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB)


def image_format(path: str | Path) -> str:
    """Pillow's name of the format that a path's ending stands for (``PNG``, ``JPEG`` …).

    Raises:
        ImageError: the ending stands for no format that can be written.
    """
    PIL.Image.init()
    suffix = Path(path).suffix.lower()
    name = PIL.Image.registered_extensions().get(suffix, "")
    if name not in PIL.Image.SAVE:
        raise ImageError(
            f"image {str(path)!r}: cannot write an image with ending {suffix!r}; use .png or .jpg"
        )
    return name


def save_image(image: Image, path: str | Path) -> None:
    """Write an RGB image in the format that its path's ending stands for; makes the folder.

    Raises:
        ImageError: see `image_format`; or the file cannot be written.
    """
    name = image_format(path)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(path, format=name)
    except OSError as error:
        raise ImageError(f"image {str(path)!r}: cannot be written: {error}") from error


def _tinted(
    canvas: Image, detections: sv.Detections, color: sv.ColorPalette, color_lookup: sv.ColorLookup
) -> Image:
    """What `sv.MaskAnnotator` draws, in a third of the time: each mask is painted where it is.

    The pixels of several masks are those of the smallest.
    """
    import supervision as sv

    if detections.mask is None:
        return canvas
    by_track = color_lookup == sv.ColorLookup.TRACK
    numbers = detections.tracker_id if by_track else detections.class_id
    tinted = canvas.copy()
    sizes = [np.count_nonzero(mask) for mask in detections.mask]
    for index in np.argsort(sizes)[::-1]:
        mask = np.asarray(detections.mask[index]).view(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)
        place = np.s_[top : top + height, left : left + width]
        paint = np.full((height, width, 3), color.by_idx(int(numbers[index])).as_bgr(), np.uint8)
        if sizes[index]:
            cv2.copyTo(paint, mask[place], tinted[place])
    return cv2.addWeighted(tinted, _MASK_OPACITY, canvas, 1 - _MASK_OPACITY, 0)


def _track_colors() -> sv.ColorPalette:
    """supervision's colors, in an order in which those of things that came together differ."""
    import supervision as sv

    colors = sv.ColorPalette.DEFAULT.colors  # in the order of the rainbow
    return sv.ColorPalette([colors[_FAR * i % len(colors)] for i in range(len(colors))])


def _text_on(palette: sv.ColorPalette) -> sv.ColorPalette:
    """Black or white for each color, whichever can be read on it."""
    import supervision as sv

    brightness = [0.3 * color.r + 0.6 * color.g + 0.1 * color.b for color in palette.colors]
    return sv.ColorPalette(
        [sv.Color.BLACK if value > _BRIGHT else sv.Color.WHITE for value in brightness]
    )
