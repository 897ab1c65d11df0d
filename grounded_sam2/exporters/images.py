"""The images of a dataset, put in place one after the other, with their labels.

See `grounded_sam2.exporters.source_images` for where they come from, and in which form they go in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from grounded_sam2.exporters.file_names import ImageFileRules, UniqueFileNames
from grounded_sam2.exporters.frames import SkipImage, every_nth_frame
from grounded_sam2.exporters.options import ExportCounter, ExportOptions
from grounded_sam2.exporters.source_images import SourceImage, SourceImages
from grounded_sam2.exporters.splits import assign_split
from grounded_sam2.exporters.thresholds import labels_at_thresholds
from grounded_sam2.results import Labels
from grounded_sam2.store import Item, LabelStore

__all__ = ["DatasetImage", "FolderCache", "read_images", "write_frames", "write_images"]

_T = TypeVar("_T")

_FOLDERS = 1000
"""To be remembered."""


@dataclass(frozen=True, slots=True)
class DatasetImage:
    """An image that is in the dataset, and its labels."""

    labels: Labels
    split: str
    name: PurePosixPath
    """Path below the folder of its split."""
    video: str | None = None
    """Name of the video that it is a frame of; ``None`` for an image of its own."""
    frame_index: int | None = None
    time: float | None = None
    """Number of the frame in its video, and seconds from the first."""


def write_images(
    store: LabelStore,
    images: Path,
    options: ExportOptions,
    counter: ExportCounter,
    *,
    rules: ImageFileRules,
    min_side: int = 1,
    split_folders: bool = True,
) -> Iterator[DatasetImage]:
    """Put the labeled images of a run into ``images/<split>/``, in the order of their ids.

    Left out, and counted as such, are images that are gone, that are not what was labeled any
    more, or that have a side of fewer than `min_side` pixels; and objects below the thresholds.

    Args:
        store: labels and places of the images.
        images: the folder of all splits; made as needed.
        options: splits, how to place, where to look.
        counter: counts images and what is left out.
        rules: what the format asks of names.
        min_side: smallest side that the format's readers take, in pixels.
        split_folders: whether each split has a folder; if not, all go into `images` itself.
    """

    put = _putting(
        lambda image: (images / image.split if split_folders else images) / image.name,
        options,
        counter,
    )
    with (
        closing(UniqueFileNames(rules)) as names,
        closing(SourceImages(store, options, rules)) as originals,
    ):

        def name(item: Item, split: str, suffix: str) -> PurePosixPath:
            return names.claim(item.item_id, suffix, split=split if split_folders else None)

        chosen = labels_at_thresholds(store, options)
        for image, _ in _each(chosen, originals, options, counter, min_side, name, put):
            yield image


def write_frames(
    store: LabelStore,
    video: str,
    target: Callable[[int, int, str], Path],
    options: ExportOptions,
    counter: ExportCounter,
    *,
    rules: ImageFileRules,
) -> Iterator[DatasetImage]:
    """As `write_images`, for formats of videos: the frames of one of them.

    Args:
        store: labels and places of the frames.
        video: its name.
        target: where a frame shall be, by the number of frames before it in the dataset, its
            number in the video, and its ending.
        options: as there.
        counter: as there.
        rules: what the format asks of endings.

    Yields:
        Images whose names are those of their files.
    """
    placed = 0

    def name(item: Item, split: str, suffix: str) -> PurePosixPath:
        assert item.frame_index is not None, "all items of a video are frames"
        return PurePosixPath(target(placed, item.frame_index, suffix))

    frames = store.frames(store.run(options.run_id).id, video)
    put = _putting(lambda image: Path(image.name), options, counter)
    with closing(SourceImages(store, options, rules)) as originals:
        for image, _ in _each(frames, originals, options, counter, 1, name, put):
            placed += 1
            yield replace(image, name=PurePosixPath(image.name.name))


def read_images(
    store: LabelStore, options: ExportOptions, counter: ExportCounter, *, rules: ImageFileRules
) -> Iterator[tuple[DatasetImage, bytes]]:
    """As `write_images`, for formats that hold images in their own files.

    Yields:
        Each image and the bytes of its file, upright.
    """

    with (
        closing(UniqueFileNames(rules)) as names,
        closing(SourceImages(store, options, rules)) as originals,
    ):
        yield from _each(
            labels_at_thresholds(store, options),
            originals,
            options,
            counter,
            1,
            lambda item, _, suffix: names.claim(item.item_id, suffix),
            lambda _, original: original.read(),
        )


class FolderCache:
    """FolderCache made as needed; the file system is not asked again for those made last."""

    def __init__(self) -> None:
        self._made: set[Path] = set()

    def make(self, folder: Path) -> None:
        """Make a folder and those above it, if they are not there."""
        if folder not in self._made:
            folder.mkdir(parents=True, exist_ok=True)
            if len(self._made) >= _FOLDERS:  # there may be as many as images
                self._made.clear()
            self._made.add(folder)


def _putting(
    target_of: Callable[[DatasetImage], Path], options: ExportOptions, counter: ExportCounter
) -> Callable[[DatasetImage, SourceImage], None]:
    """What puts an image where it shall be."""
    folders = FolderCache()

    def put(image: DatasetImage, original: SourceImage) -> None:
        target = target_of(image)
        folders.make(target.parent)
        remark = original.put(target, options.images)
        if remark is not None:
            counter.note(remark)

    return put


def _each(
    labeled: Iterable[tuple[Item, Labels]],
    originals: SourceImages,
    options: ExportOptions,
    counter: ExportCounter,
    min_side: int,
    name: Callable[[Item, str, str], PurePosixPath],
    take: Callable[[DatasetImage, SourceImage], _T],
) -> Iterator[tuple[DatasetImage, _T]]:
    """The images of an export, and what is made of their originals."""
    for item, labels in every_nth_frame(labeled, options.frame_stride):
        original = None
        try:
            original = originals.of(item)
            if min(labels.size_hw) < min_side:
                raise SkipImage(f"have a side of fewer than {min_side} pixels: readers refuse")
            split = assign_split(
                item, options.split, options.seed, by_folder=options.split_by == "folder"
            )
            objects = tuple(label for label in labels.objects if options.takes(label))
            image = DatasetImage(
                labels=replace(labels, objects=objects),
                split=split,
                name=name(item, split, original.suffix),
                video=None if item.frame_index is None else item.group,
                frame_index=item.frame_index,
                time=item.time,
            )
            taken = take(image, original)
        except SkipImage as reason:
            counter.skip(item.item_id, str(reason))
            continue
        except OSError:
            if original is not None and _can_be_read(original.path):
                raise  # what cannot be written is not the image's fault
            counter.skip(item.item_id, "cannot be read any more")
            continue
        counter.images[split] += 1
        counter.note("objects below the thresholds, left out", len(labels) - len(objects))
        yield image, taken


def _can_be_read(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError:
        return False
    return True
