"""From a decoded frame to upright RGB ``uint8``.

- **Rotation and mirroring** are what the video's display matrix says, to the nearest quarter turn.
- **Colors** are converted by the matrix and range that the frame names; BT.601 where it names
  none, as FFmpeg does. High dynamic range is not mapped to tones.
- **Transparency** is laid on white, as in images.
- **Pixels stay as they are stored.** Where they are not square (anamorphic video), players stretch
  the image; here it is not resampled, so that masks are exact. Nor are interlaced frames undone.
- **One size**: where the resolution changes on the way, as it does in calls over a network, frames
  are resampled to the size of the first.
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
class _Turn:
    """One of the eight ways in which an image may lie: swapped, then flipped."""

    swaps_axes: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    def applied(self, image: Image) -> Image:
        if self == _Turn():
            return image
        turned = image.swapaxes(0, 1) if self.swaps_axes else image
        turned = turned[::-1] if self.flips_rows else turned
        return np.ascontiguousarray(turned[:, ::-1] if self.flips_columns else turned)


class FrameConverter:
    """Makes the images of one video.

    Args:
        size_hw: of all of them; that of the first if ``None``.
    """

    def __init__(self, size_hw: tuple[int, int] | None = None) -> None:
        self._size_hw = size_hw
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Image:
        """A new array ``(h, w, 3)`` ``uint8``, C-contiguous and writable.

        Raises:
            ImageError: the decoder says that the frame is damaged, or it has an unknown layout.
        """
        if frame.is_corrupt:
            raise ImageError("is damaged, as the decoder says")
        turn = _turn_of(frame)
        size_hw = self._size_hw or (frame.height, frame.width)
        if self._size_hw is not None and turn.swaps_axes:
            size_hw = size_hw[::-1]
        has_alpha = frame.format.has_palette or any(c.is_alpha for c in frame.format.components)
        try:
            converted = self._reformatter.reformat(
                frame, size_hw[1], size_hw[0], "rgba" if has_alpha else "rgb24"
            )
            stored = np.asarray(converted.to_ndarray(), np.uint8)
        except (av.error.FFmpegError, ValueError) as error:
            raise ImageError(
                f"its pixels are of a kind that is not known: {one_line(error)}"
            ) from error
        image = turn.applied(_on_white(stored) if has_alpha else stored)
        self._size_hw = self._size_hw or (image.shape[0], image.shape[1])
        return image


def _turn_of(frame: av.VideoFrame) -> _Turn:
    # Not `frame.side_data`, which the frame keeps: images would wait in a circle of references.
    matrix = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    if not isinstance(matrix, Buffer):  # there is none
        return _Turn()
    # A stored point (x, y) is shown at (a·x + c·y, b·x + d·y), but for a shift; see FFmpeg's
    # libavutil/display.h.
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(matrix), np.int32)[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return _Turn(False, d < 0, a < 0)
    return _Turn(True, b < 0, c < 0)


def _on_white(rgba: Image) -> Image:
    alpha = rgba[..., 3:].astype(np.uint16)
    blended = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return blended.astype(np.uint8)
