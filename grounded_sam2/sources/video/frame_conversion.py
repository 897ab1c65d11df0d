"""Conversion of decoded frames to upright RGB ``uint8``.

- **Rotation and mirroring** follow the video's display matrix, to the nearest quarter turn.
- **Colors** are converted by the matrix and range that the frame states; BT.601 if it states none,
  as FFmpeg does. High dynamic range is not tone-mapped.
- **Transparency** is blended onto white, as in images.
- **Pixels stay as stored.** Players stretch anamorphic video, whose pixels are not square; here it
  is not resampled, so that masks are exact. Interlaced frames are not deinterlaced.
- **One size**: where the resolution changes within a video, as in video calls, frames are resampled
  to the size of the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import av
import av.error
import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import VideoReformatter

from grounded_sam2.errors import ImageError, one_line
from grounded_sam2.results import Image

__all__ = ["FrameConverter"]


@dataclass(frozen=True, slots=True)
class _Orientation:
    """One of the eight orientations of an image: axes swapped, then flipped."""

    swaps_axes: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    def apply(self, image: Image) -> Image:
        if self == _Orientation():
            return image
        oriented = image.swapaxes(0, 1) if self.swaps_axes else image
        oriented = oriented[::-1] if self.flips_rows else oriented
        return np.ascontiguousarray(oriented[:, ::-1] if self.flips_columns else oriented)


class FrameConverter:
    """Converts the frames of one video to images.

    Args:
        size_hw: height and width of all images; those of the first frame if ``None``.
    """

    def __init__(self, size_hw: tuple[int, int] | None = None) -> None:
        self._size_hw = size_hw
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Image:
        """Return a new array ``(h, w, 3)`` ``uint8``, C-contiguous and writable.

        Raises:
            ImageError: the decoder marks the frame as damaged, or its pixel format is unknown.
        """
        if frame.is_corrupt:
            raise ImageError("is damaged, according to the decoder")
        orientation = _orientation(frame)
        size_hw = self._size_hw or (frame.height, frame.width)
        if self._size_hw is not None and orientation.swaps_axes:
            size_hw = size_hw[::-1]
        has_alpha = frame.format.has_palette or any(c.is_alpha for c in frame.format.components)
        try:
            converted = self._reformatter.reformat(
                frame, size_hw[1], size_hw[0], "rgba" if has_alpha else "rgb24"
            )
            stored = np.asarray(converted.to_ndarray(), np.uint8)
        except (av.error.FFmpegError, ValueError) as error:
            raise ImageError(f"its pixel format cannot be converted: {one_line(error)}") from error
        image = orientation.apply(_blend_on_white(stored) if has_alpha else stored)
        self._size_hw = self._size_hw or (image.shape[0], image.shape[1])
        return image


def _orientation(frame: av.VideoFrame) -> _Orientation:
    # Not `frame.side_data`, which the frame caches: the reference cycle would keep images alive.
    matrix = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    if not isinstance(matrix, Buffer):  # there is none
        return _Orientation()
    # A stored point (x, y) is shown at (a·x + c·y, b·x + d·y), but for a shift; see FFmpeg's
    # libavutil/display.h.
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(matrix), np.int32)[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return _Orientation(False, d < 0, a < 0)
    return _Orientation(True, b < 0, c < 0)


def _blend_on_white(rgba: Image) -> Image:
    alpha = rgba[..., 3:].astype(np.uint16)
    blended = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return blended.astype(np.uint8)
