"""Selection of the video source for an input.

``clip.mp4``, ``clip.gif`` …     any file that FFmpeg reads
a folder                         its images are the frames, in natural order of their names
``rtsp://…``, ``https://…``      a stream or file on a network
``0``, ``1`` … (integers)        a camera of this machine
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
_CAMERA_FORMATS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation")}
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
    """Open a video. Only its beginning is decoded.

    Args:
        given: path of a file or of a folder of frames, address, index of a camera, or images:
            arrays ``(h, w, 3)`` RGB ``uint8`` or PIL images.
        stride: selects the frames whose index is a multiple of it.
        start: seconds from the first frame, inclusive.
        end: seconds from the first frame, exclusive.
        fps: frames per second of folders and images, which do not state it; 25 is the rate of most
            datasets of frames.
        name: name of the items; by default that of `video_name`, or ``frames`` for images.
        limits: limit of the size of frames.

    Raises:
        SourceError: the input does not exist, is no video or has no frame that can be decoded, or
            an option is out of range.
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
            text, display_name=redact_address(text), name=name, selection=selection, limits=limits
        )
    if path.is_dir():
        return FrameFolder(path, name=name, fps=fps, selection=selection, limits=limits)
    _check_file(path)
    return FFmpegVideo(
        path, display_name=printable(path), name=name, selection=selection, limits=limits
    )


def local_video_path(given: str | os.PathLike[str] | int) -> Path | None:
    """Path of a video that is a local file or folder, which need not exist.

    Args:
        given: path, address or index of a camera.

    Returns:
        ``None`` for cameras, and for addresses other than ``file://…``: their frames may not come
        a second time.
    """
    if isinstance(given, int):
        return None
    text = os.fspath(given)
    if not _ADDRESS.match(text):
        return Path(text)
    address = urlsplit(text)
    return Path(url2pathname(address.path)) if address.scheme.lower() == "file" else None


def video_name(given: str | os.PathLike[str] | int) -> str:
    """Default name of a video.

    Args:
        given: path, address or index of a camera.

    Returns:
        The name of the file without its extension, or of the folder; for an address the same, or
        else its host, without user, password and query; ``camera-0`` for a camera.
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
    """Whether a path is a video file.

    The extension decides where it is unambiguous. A GIF is a video if it has more than one frame;
    files with other extensions, or none, are opened. ``False`` for folders, which may hold frames
    or unrelated images, for missing files, and for addresses.
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
    if sys.platform not in _CAMERA_FORMATS:
        raise SourceError(
            f"camera {number}: cannot be opened by its index on {sys.platform}; read it with "
            "another library and give its images as a generator"
        )
    address, input_format = _CAMERA_FORMATS[sys.platform]
    return FFmpegVideo(
        address.format(number),
        display_name=f"camera {number}",
        name=name,
        selection=selection,
        limits=limits,
        input_format=input_format,
    )


def _check_file(path: Path) -> None:
    display_name = f"video {printable(path)!r}"
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise SourceError(
                f"{display_name}: is a pipe or device; give a file, or the index of a camera"
            )
        with path.open("rb") as file:
            beginning = file.read(SIGNATURE_BYTES)
    except FileNotFoundError as error:
        raise SourceError(f"{display_name}: does not exist; check its name") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise SourceError(f"{display_name}: cannot be read: {one_line(error)}") from error
    if not beginning:
        raise SourceError(f"{display_name}: is empty (0 bytes); copy or download it again")
    description = describe_file_type(beginning)
    if description is not None and "video" not in description:
        raise SourceError(f"{display_name}: is not a video, but {description}")
