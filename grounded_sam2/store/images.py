"""The images of labeled items: found, checked to be those that were labeled, and decoded.

    with ItemImages.of_run(store, images_from=folder) as images:
        for item, labels in store.labels():
            image = images.find(item).decode()         # upright RGB

The store holds labels and paths, not images. All readers of a store (exports, reports, the demo)
find images here, so that all refuse the same ones, for the same reasons (`UnavailableReason`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError, UnavailableImageError, UnavailableReason
from grounded_sam2.results import Image
from grounded_sam2.sources.fingerprint import is_same_file
from grounded_sam2.sources.image import load_image, read_image_header
from grounded_sam2.store.frame_reader import FrameReader
from grounded_sam2.store.label_store import LabelStore
from grounded_sam2.store.records import Item, StoredVideo

__all__ = ["ItemImage", "ItemImages"]


@dataclass(frozen=True, slots=True)
class ItemImage:
    """The image of a labeled item, found and unchanged; read on demand."""

    item: Item
    path: Path
    """The file to read: that of the image, or of the video that holds it."""
    frames: FrameReader | None = None
    """Decodes the image, if it is a frame inside a video file; ``None`` for an image file."""

    @property
    def in_video(self) -> bool:
        """Whether it is a frame inside a video file, which has no bytes of its own."""
        return self.frames is not None

    def exif_orientation(self) -> int:
        """Orientation tag of the image file, 1 to 8; 1 for a frame inside a video file.

        Raises:
            UnavailableImageError: the header of a frame's file cannot be read.
        """
        if self.frames is not None:
            return 1
        if self.item.frame_index is None:
            return self.item.exif_orientation
        try:  # the store holds no orientation of frames
            return read_image_header(self.path).exif_orientation
        except ImageError as error:
            raise self._undecodable() from error

    def decode(self, *, longer_side: int | None = None) -> Image:
        """Decode the image.

        Args:
            longer_side: sufficient length of the longer side in pixels; a JPEG much larger is
                decoded at a fraction of its size, as by `grounded_sam2.sources.image.load_image`.

        Returns:
            Upright RGB, ``(h, w, 3)`` ``uint8``.

        Raises:
            UnavailableImageError: it cannot be decoded any more.
        """
        if self.frames is not None:
            return self.frames.image(self.item)
        assert self.item.size_hw is not None, "a labeled item has a size"
        height, width = self.item.size_hw
        try:
            return load_image(
                self.path, config=_limited_to(height * width), longer_side=longer_side
            )
        except ImageError as error:
            raise self._undecodable() from error

    def _undecodable(self) -> UnavailableImageError:
        return UnavailableImageError(self.item.item_id, UnavailableReason.UNDECODABLE)


class ItemImages:
    """Finder of the images of a run's items. Close after use; a context manager.

    It holds nothing but the video that was read last, and no connection to the store. Image files
    may be found and decoded in several threads at the same time; frames of videos in one thread,
    and best in order. Threads that serve frames have one each, made of the same `videos`.

    Args:
        videos: the videos of the run, `LabelStore.videos`.
        images_from: folder that holds images by their ids, and videos by their names, if they were
            moved; ``None`` for the recorded paths.
        only: indices of the frames that will be decoded, by the name of the video, where known;
            the others are not converted to images.
    """

    def __init__(
        self,
        videos: Sequence[StoredVideo],
        *,
        images_from: Path | None = None,
        only: Mapping[str, AbstractSet[int]] | None = None,
    ) -> None:
        self._images_from = images_from
        self._frames = FrameReader(videos, images_from, only)

    @classmethod
    def of_run(
        cls, store: LabelStore, run_id: int | None = None, *, images_from: Path | None = None
    ) -> ItemImages:
        """Make the finder of a run's images.

        Args:
            store: the label store; needed for this call only.
            run_id: the run; the current one if ``None``.
            images_from: as above.

        Raises:
            StoreError: there is no such run.
        """
        return cls(store.videos(run_id), images_from=images_from)

    def find(self, item: Item) -> ItemImage:
        """Find the image of an item, and check that it is unchanged since it was labeled.

        Mostly the size and the time of the file tell; if they differ, its bytes are hashed.

        Raises:
            UnavailableImageError: it is missing, has changed, or was never a file.
        """
        if item.frame_index is None:
            return ItemImage(item, self._image_file(item))
        file = self._frames.frame_file(item)
        if file is not None:
            return ItemImage(item, file)
        return ItemImage(item, self._frames.video_path(item), self._frames)

    def close(self) -> None:
        """Close the open video. Calling it again has no effect."""
        self._frames.close()

    def __enter__(self) -> ItemImages:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _image_file(self, item: Item) -> Path:
        path = item.path if self._images_from is None else self._images_from / item.item_id
        if path is None:
            raise UnavailableImageError(item.item_id, UnavailableReason.NEVER_A_FILE)
        try:
            unchanged = is_same_file(path, stamp=item.file_stamp, content_hash=item.content_hash)
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
            raise UnavailableImageError(item.item_id, UnavailableReason.GONE) from error
        if not unchanged:
            raise UnavailableImageError(item.item_id, UnavailableReason.CHANGED)
        return path


@lru_cache(maxsize=64)  # a folder has few image sizes, and creating a configuration checks it
def _limited_to(pixels: int) -> ImageConfig:
    return ImageConfig(max_pixels=pixels)
