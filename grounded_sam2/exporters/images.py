"""The images of a dataset, written one after the other, with their labels.

`grounded_sam2.exporters.source_images` decides how each is written.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from grounded_sam2.errors import UnavailableImageError
from grounded_sam2.exporters.file_names import ImageFileRules, UniqueFileNames
from grounded_sam2.exporters.options import ExportCounter, ExportOptions
from grounded_sam2.exporters.source_images import SourceImage, SourceImages
from grounded_sam2.exporters.splits import assign_split
from grounded_sam2.exporters.thresholds import labels_at_thresholds
from grounded_sam2.results import Labels
from grounded_sam2.store import Item, LabelStore

__all__ = ["DatasetImage", "FolderCache", "read_images", "write_frames", "write_images"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class DatasetImage:
    """An image of a dataset, and its labels."""

    labels: Labels
    split: str
    name: PurePosixPath
    """Path relative to the folder of its split."""
    video: str | None = None
    """Name of the video that it is a frame of; ``None`` for a still image."""
    frame_index: int | None = None
    """Index of the frame in its video."""
    time: float | None = None
    """Seconds from the first frame."""


def write_images(
    store: LabelStore,
    images: Path,
    options: ExportOptions,
    counter: ExportCounter,
    *,
    rules: ImageFileRules,
    min_side: int = 1,
    split_folders: bool = True,
) -> Generator[DatasetImage, None, None]:
    """Write the labeled images of a run to ``images/<split>/``, in the order of their ids.

    Images that are missing, that have changed since they were labeled, or that have a side shorter
    than `min_side` are left out and counted; so are objects below the thresholds.

    Args:
        store: labels and paths of the images.
        images: the folder of all splits; created if missing.
        options: splits, how to place images, where to find them.
        counter: counts images, and what is left out.
        rules: the format's requirements on image files.
        min_side: shortest side that the format's readers accept, in pixels.
        split_folders: whether each split has a folder; if not, all images go into `images` itself.

    Yields:
        Each image once it is written.
    """

    def target(image: DatasetImage) -> Path:
        return (images / image.split if split_folders else images) / image.name

    with (
        closing(UniqueFileNames(rules)) as names,
        closing(SourceImages(store, options, rules)) as sources,
    ):

        def name(item: Item, split: str, suffix: str) -> PurePosixPath:
            return names.claim(item.item_id, suffix, split=split if split_folders else None)

        labeled = labels_at_thresholds(store, options)
        write = _writer(target, options, counter)
        for image, _ in _process(labeled, sources, options, counter, min_side, name, write):
            yield image


def write_frames(
    store: LabelStore,
    video: str,
    target: Callable[[int, int, str], Path],
    options: ExportOptions,
    counter: ExportCounter,
    *,
    rules: ImageFileRules,
) -> Generator[DatasetImage, None, None]:
    """Write the labeled frames of one video, for video formats.

    Args:
        store: labels and paths of the frames.
        video: name of the video.
        target: returns the path of a frame, from the number of frames before it in the dataset,
            its index in the video, and its suffix.
        options: as in `write_images`.
        counter: as in `write_images`.
        rules: the format's requirements on suffixes and image types.

    Yields:
        Each frame once it is written; ``name`` is the name of its file.
    """
    written = 0

    def name(item: Item, split: str, suffix: str) -> PurePosixPath:
        assert item.frame_index is not None, "all items of a video are frames"
        return PurePosixPath(target(written, item.frame_index, suffix))

    frames = store.frames(store.run(options.run_id).id, video)
    write = _writer(lambda image: Path(image.name), options, counter)
    with closing(SourceImages(store, options, rules)) as sources:
        for image, _ in _process(frames, sources, options, counter, 1, name, write):
            written += 1
            yield replace(image, name=PurePosixPath(image.name.name))


def read_images(
    store: LabelStore, options: ExportOptions, counter: ExportCounter, *, rules: ImageFileRules
) -> Generator[tuple[DatasetImage, bytes], None, None]:
    """Read the labeled images of a run, for formats that embed images in their own files.

    Yields:
        Each image, and the bytes of its upright image file.
    """
    with (
        closing(UniqueFileNames(rules)) as names,
        closing(SourceImages(store, options, rules)) as sources,
    ):
        yield from _process(
            labels_at_thresholds(store, options),
            sources,
            options,
            counter,
            1,
            lambda item, _, suffix: names.claim(item.item_id, suffix),
            lambda _, source: source.read(),
        )


class FolderCache:
    """Creates folders, and remembers some so as not to query the file system for every file.

    Args:
        max_folders: number of folders to remember.
    """

    def __init__(self, *, max_folders: int = 1000) -> None:
        self._max_folders = max_folders
        self._created: set[Path] = set()

    def create(self, folder: Path) -> None:
        """Create a folder and its parents if they are missing."""
        if folder not in self._created:
            folder.mkdir(parents=True, exist_ok=True)
            if len(self._created) >= self._max_folders:  # there may be as many as images
                self._created.clear()
            self._created.add(folder)


def _writer(
    target: Callable[[DatasetImage], Path], options: ExportOptions, counter: ExportCounter
) -> Callable[[DatasetImage, SourceImage], None]:
    """Return a function that writes an image to its target path."""
    folders = FolderCache()

    def write(image: DatasetImage, source: SourceImage) -> None:
        path = target(image)
        folders.create(path.parent)
        remark = source.write_to(path, options.images)
        if remark is not None:
            counter.note(remark)

    return write


def _process(
    labeled: Iterable[tuple[Item, Labels]],
    sources: SourceImages,
    options: ExportOptions,
    counter: ExportCounter,
    min_side: int,
    name: Callable[[Item, str, str], PurePosixPath],
    use: Callable[[DatasetImage, SourceImage], _T],
) -> Generator[tuple[DatasetImage, _T], None, None]:
    """Yield the images of an export, and the result of `use` for the source of each."""
    for item, labels in _every_nth_frame(labeled, options.frame_stride):
        source = None
        if options.skips_unreviewed_images and not item.is_reviewed:
            counter.skip(item.item_id, "are not reviewed; accept their objects or confirm them")
            continue
        try:
            source = sources.find(item)
            if min(labels.size_hw) < min_side:
                reason = f"have a side shorter than {min_side} pixels, which readers refuse"
                counter.skip(item.item_id, reason)
                continue
            split = assign_split(
                item, options.split, options.seed, by_folder=options.split_by == "folder"
            )
            objects = tuple(label for label in labels.objects if options.accepts(label))
            image = DatasetImage(
                labels=replace(labels, objects=objects),
                split=split,
                name=name(item, split, source.suffix),
                video=None if item.frame_index is None else item.group,
                frame_index=item.frame_index,
                time=item.time,
            )
            result = use(image, source)
        except UnavailableImageError as error:
            counter.skip(item.item_id, error.reason.of_many)
            continue
        except OSError:
            if source is not None and _is_readable(source.path):
                raise  # writing failed, which is not the image's fault
            counter.skip(item.item_id, "cannot be read any more")
            continue
        counter.images[split] += 1
        left_out = "objects below the thresholds, left out"
        if options.skips_unreviewed_objects:
            left_out = "objects that are not reviewed, left out"
        counter.note(left_out, len(labels) - len(objects))
        yield image, result


def _every_nth_frame(
    labels: Iterable[tuple[Item, Labels]], stride: int
) -> Iterator[tuple[Item, Labels]]:
    """Yield the first and then every n-th labeled frame of each video, and all still images.

    Args:
        labels: items in the order of the store.
        stride: 1 for all frames.
    """
    video, position = None, 0
    for item, objects in labels:
        if item.frame_index is None:
            yield item, objects
            continue
        if item.group != video:
            video, position = item.group, 0
        if position % stride == 0:
            yield item, objects
        position += 1


def _is_readable(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError:
        return False
    return True
