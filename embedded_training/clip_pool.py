"""A training pool of clips on disk, rendered once and memory-mapped.

Hard cases are rare in random clips. Half of the training clips are therefore crowded with objects
of one or two colors, which occlude each other and must be kept apart where they meet.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from embedded_training.scene_pool import TRAINING_SEED
from grounded_sam2.demo.clips import Clip, make_clip
from grounded_sam2.demo.scenes import SHAPES

__all__ = ["ClipPool", "build_clip_pool", "training_clip"]

CROWDED_EVERY = 2
"""One of this many clips is crowded."""
CROWD = 6, 8
"""Fewest and most objects of a crowded clip."""
_SIDE = 256
_FILES = ("pictures", "instances")


@dataclass(frozen=True, slots=True, eq=False)
class ClipPool:
    """Memory-mapped clips of equal length, all resized to squares."""

    images: NDArray[np.uint8]
    """``(n, t, 256, 256, 3)`` RGB."""
    instances: NDArray[np.uint8]
    """``(n, t, 256, 256)``: 0 is background, k the object with that ``track_id``."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def frames(self) -> int:
        """Length of each clip."""
        return self.images.shape[1]

    @classmethod
    def open(cls, folder: Path) -> ClipPool:
        """Memory-map a pool that `build_clip_pool` wrote."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in _FILES))


def build_clip_pool(
    folder: Path, count: int, frames: int, processes: int = 2, *, skip: int = 0
) -> None:
    """Render ``count`` clips into ``folder`` as ``.npy`` files (about 260 kB a frame).

    The first ``skip`` training clips are left out, for example because another pool has them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = count, frames, _SIDE, _SIDE
    files = [
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, (*shape, *channels))
        for name, channels in zip(_FILES, [(3,), ()], strict=True)
    ]
    with ProcessPoolExecutor(processes) as workers:
        first = TRAINING_SEED + skip
        rows = workers.map(partial(_row, frames), range(first, first + count))
        for index, row in enumerate(rows):
            for file, value in zip(files, row, strict=True):
                file[index] = value
    for file in files:
        file.flush()


def training_clip(seed: int, frames: int) -> Clip:
    """The training clip of a seed; every second seed gives a crowded one."""
    if seed % CROWDED_EVERY:
        return make_clip(seed, frames)
    rng = np.random.default_rng([seed, 0xC40D])
    objects, colors = int(rng.integers(CROWD[0], CROWD[1] + 1)), int(rng.integers(1, 3))
    return make_clip(seed, frames, objects=min(objects, colors * len(SHAPES)), colors=colors)


def _row(frames: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images = np.empty((frames, _SIDE, _SIDE, 3), np.uint8)
    instances = np.empty((frames, _SIDE, _SIDE), np.uint8)
    for frame in training_clip(seed, frames):
        ids = np.zeros(frame.image.shape[:2], np.uint8)
        for number, mask in frame.masks.items():
            ids[mask] = number
        size = (_SIDE, _SIDE)
        images[frame.index] = cv2.resize(frame.image, size, interpolation=cv2.INTER_LINEAR)
        instances[frame.index] = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)
    return images, instances


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--skip", type=int, default=0, help="first training clips to leave out")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    build_clip_pool(
        arguments.folder,
        arguments.count,
        arguments.frames,
        arguments.processes,
        skip=arguments.skip,
    )
