"""Whatever may be a video, opened as one.

``clip.mp4``, ``clip.gif`` …     any file that FFmpeg reads
a folder                         its images are the frames, in natural order of their names
``rtsp://…``, ``https://…``      a stream or file on a network
``0``, ``1`` … (numbers)         a camera of this machine
arrays, PIL images               from a list or a generator
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

import PIL.Image

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import SourceError, one_line, printable
from grounded_sam2.sources.file_signatures import SIGNATURE_BYTES, describe_file_type
from grounded_sam2.sources.folder import IMAGE_EXTENSIONS
from grounded_sam2.sources.image import ImageInput
from grounded_sam2.sources.names import item_name, redact_address
from grounded_sam2.sources.video.decoding import open_container, video_stream
from grounded_sam2.sources.video.ffmpeg_video import FFmpegVideo
from grounded_sam2.sources.video.frame_folder import FrameFolder
from grounded_sam2.sources.video.image_sequence import ImageSequence
from grounded_sam2.sources.video.source import VIDEO_EXTENSIONS, FrameSelection, VideoSource

__all__ = ["is_video", "local_video_path", "open_video", "video_name"]

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CAMERAS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation")}
_DEFAULT_FPS = 25.0
_DEFAULTS = ImageConfig()


def open_video(
    given: str | os.PathLike[str] | int | Iterable[ImageInput],
    *,
    stride: int = 1,
    start: float | None = None,
    end: float | None = None,
    fps: float = _DEFAULT_FPS,
    name: str | None = None,
    limits: ImageConfig = _DEFAULTS,
) -> VideoSource:
    """Open a video. No more than its beginning is decoded.

    Args:
        given: path of a file or of a folder of frames, address, number of a camera, or images:
            arrays ``(h, w, 3)`` RGB ``uint8`` or PIL images.
        stride: takes every so many frames: those whose number is a multiple of it.
        start: seconds from the first frame at which to begin.
        end: seconds from the first frame at which to stop; a frame at that time is left out.
        fps: frames per second of folders and images, which do not say it. 25: what most data
            sets of frames were cut at.
        name: of the items; see `video_name`, and ``frames`` for images, if ``None``.
        limits: of the size of frames.

    Raises:
        SourceError: it does not exist, is no video, or has no frame that can be decoded; an option
            is out of range. Says which, and what helps.
    """
    selection = FrameSelection(stride, start, end)
    if not 0 < fps < float("inf"):
        raise SourceError(f"video: fps is {fps:g}; give the frames per second, such as 25")
    if not isinstance(given, (str, os.PathLike, int)):
        return ImageSequence(
            given, name=name or "frames", fps=fps, selection=selection, limits=limits
        )
    name = name or video_name(given)
    if isinstance(given, int):
        return _camera(given, name, selection, limits)
    path = local_video_path(given)
    if path is None:
        text = os.fspath(given)
        return FFmpegVideo(
            text, shown=redact_address(text), name=name, selection=selection, limits=limits
        )
    if path.is_dir():
        return FrameFolder(path, name=name, fps=fps, selection=selection, limits=limits)
    _check_file(path)
    return FFmpegVideo(path, shown=printable(path), name=name, selection=selection, limits=limits)


def local_video_path(given: str | os.PathLike[str] | int) -> Path | None:
    """Where a video lies on this machine, if it is a file or folder; nothing is looked at.

    Args:
        given: path, address or number of a camera.

    Returns:
        ``None`` for cameras, and for addresses other than ``file://…``: what comes from them may
        not come a second time.
    """
    if isinstance(given, int):
        return None
    text = os.fspath(given)
    if not _ADDRESS.match(text):
        return Path(text)
    address = urlsplit(text)
    return Path(url2pathname(address.path)) if address.scheme.lower() == "file" else None


def video_name(given: str | os.PathLike[str] | int) -> str:
    """What a video is called when nobody says how.

    Args:
        given: path, address or number of a camera.

    Returns:
        The name of the file without ending, or of the folder; of an address the same, or its host,
        and nothing of its user, password or query; ``camera-0``.
    """
    if isinstance(given, int):
        return f"camera-{given}"
    path = local_video_path(given)
    if path is None:
        address = urlsplit(os.fspath(given))
        return item_name(PurePosixPath(address.path).stem) or address.hostname or "stream"
    if path.is_dir():
        return item_name(path.resolve().name) or "frames"
    return item_name(path.stem) or "video"


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a video rather than an image, a list or anything else.

    By its ending, where that can mean only one thing. A GIF is a video if it has more than one
    frame; files with other endings, or none, are opened to see. ``False`` for folders, which may
    hold frames or unrelated images, for what does not exist, and for addresses.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        return False
    if suffix in VIDEO_EXTENSIONS:
        return True
    if suffix == ".gif":
        try:
            with PIL.Image.open(path, formats=["GIF"]) as image:
                return bool(getattr(image, "is_animated", False))
        except Exception:  # decoders raise anything on a damaged file
            return False
    if suffix in IMAGE_EXTENSIONS:
        return False
    try:
        with open_container(str(path), str(path)) as container:
            video_stream(container, str(path), _DEFAULTS)
    except SourceError:
        return False
    return True


def _camera(number: int, name: str, selection: FrameSelection, limits: ImageConfig) -> FFmpegVideo:
    if sys.platform not in _CAMERAS:
        raise SourceError(
            f"camera {number}: cannot be opened by number on {sys.platform}; read it with another "
            "library and give its images as a generator"
        )
    address, input_format = _CAMERAS[sys.platform]
    return FFmpegVideo(
        address.format(number),
        shown=f"camera {number}",
        name=name,
        selection=selection,
        limits=limits,
        input_format=input_format,
    )


def _check_file(path: Path) -> None:
    shown = f"video {printable(path)!r}"
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise SourceError(
                f"{shown}: is a pipe or device; give a file, or the number of a camera"
            )
        with path.open("rb") as file:
            beginning = file.read(SIGNATURE_BYTES)
    except FileNotFoundError as error:
        raise SourceError(f"{shown}: does not exist; check its name") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise SourceError(f"{shown}: cannot be read: {one_line(error)}") from error
    if not beginning:
        raise SourceError(f"{shown}: is empty (0 bytes); copy or download it again")
    instead = describe_file_type(beginning)
    if instead is not None and "video" not in instead:
        raise SourceError(f"{shown}: is not a video, but {instead}")
