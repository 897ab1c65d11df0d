"""A training pool of scenes on disk, rendered once and memory-mapped.

Rendering a scene costs about as much as a training step of the small models. Detector and segmenter
are trained on the same pool; the eight symmetries of the square multiply it.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from grounded_sam2.demo.scenes import COLORS, SHAPES, make_scene

__all__ = ["MAX_OBJECTS", "ScenePool", "build_scene_pool"]

MAX_OBJECTS = 6
TRAINING_SEED = 1_000_003_000
"""Seed of the first training scene, far from those of the demo, the tests and the evaluation."""
_FILES = ("large", "small", "instances", "boxes", "names")
_SMALL, _LARGE = 128, 256


@dataclass(frozen=True, slots=True, eq=False)
class ScenePool:
    """Memory-mapped scenes, all resized to squares."""

    large: NDArray[np.uint8]
    """``(n, 256, 256, 3)`` RGB."""
    small: NDArray[np.uint8]
    """``(n, 128, 128, 3)`` RGB, resized from the original image."""
    instances: NDArray[np.uint8]
    """``(n, 256, 256)``: 0 is background, k the k-th object."""
    boxes: NDArray[np.float32]
    """``(n, 6, 4)`` xyxy in [0, 1]; zeros past the last object."""
    names: NDArray[np.int8]
    """``(n, 6, 2)`` color and shape index; -1 past the last object."""

    def __len__(self) -> int:
        return len(self.large)

    @classmethod
    def open(cls, folder: Path) -> ScenePool:
        """Memory-map a pool that `build_scene_pool` wrote."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in _FILES))


def build_scene_pool(folder: Path, count: int, processes: int = 2) -> None:
    """Render ``count`` scenes into ``folder`` as ``.npy`` files (about 330 kB a scene)."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes_and_types = {
        "large": ((count, _LARGE, _LARGE, 3), np.uint8),
        "small": ((count, _SMALL, _SMALL, 3), np.uint8),
        "instances": ((count, _LARGE, _LARGE), np.uint8),
        "boxes": ((count, MAX_OBJECTS, 4), np.float32),
        "names": ((count, MAX_OBJECTS, 2), np.int8),
    }
    files = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)
        for name, (shape, dtype) in shapes_and_types.items()
    }
    with ProcessPoolExecutor(processes) as workers:
        rows = workers.map(_row, range(TRAINING_SEED, TRAINING_SEED + count), chunksize=32)
        for index, row in enumerate(rows):
            for name, value in row.items():
                files[name][index] = value
    for file in files.values():
        file.flush()
    (folder / "pool.json").write_text(json.dumps({"count": count, "seed": TRAINING_SEED}))


def _row(seed: int) -> dict[str, NDArray[np.generic]]:
    scene = make_scene(seed)
    height, width = scene.image.shape[:2]
    boxes = np.zeros((MAX_OBJECTS, 4), np.float32)
    names = np.full((MAX_OBJECTS, 2), -1, np.int8)
    instances = np.zeros((height, width), np.uint8)
    for index, each in enumerate(scene.objects):
        boxes[index] = np.divide(each.box_xyxy, (width, height, width, height))
        names[index] = list(COLORS).index(each.color), SHAPES.index(each.shape)
        instances[each.mask] = index + 1
    image = PILImage.fromarray(scene.image)
    return {
        "large": np.asarray(image.resize((_LARGE, _LARGE), PILImage.Resampling.BILINEAR)),
        "small": np.asarray(image.resize((_SMALL, _SMALL), PILImage.Resampling.BICUBIC)),
        "instances": np.asarray(
            PILImage.fromarray(instances).resize((_LARGE, _LARGE), PILImage.Resampling.NEAREST)
        ),
        "boxes": boxes,
        "names": names,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    build_scene_pool(arguments.folder, arguments.count, arguments.processes)
