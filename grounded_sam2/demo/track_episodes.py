"""Short stories to learn tracking from: a few frames of some clips, and where some objects are.

An episode begins with the frame that shows the objects and goes on forwards or backwards, slowly
or fast. Some skip a while after the first frame, as if the object had been away: what it looked
like is then all that tells it, and it was long ago.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Sam2Processor

from grounded_sam2.demo.clip_pool import ClipPool

__all__ = ["Episode", "EpisodeSampler"]

FASTEST = 3
"""Greatest stride between frames."""
SKIPPED = 0.3
"""Share of episodes that skip a while after the first frame."""
LONGEST_AWAY = 60
"""Frames. What counts frames must not meet numbers that it has never seen, in a long clip."""
SMALLEST_PROMPT = 0.004
"""Share of the picture that an object must show of itself to be prompted."""


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """``t`` frames of ``c`` clips and ``n`` objects of them."""

    pixels: Tensor
    """``(t, c, 3, s, s)`` normalised."""
    rows: Tensor
    """``(n,)`` clip of each object."""
    masks: Tensor
    """``(t, n, s, s)`` ``bool``: visible pixels. On the first frame every object has some."""
    times: tuple[int, ...]
    """Number of each frame, from 0; the second may be far from the first."""


class EpisodeSampler:
    """Draws episodes from a pool, flipped and turned at random.

    Args:
        pool: painted clips.
        processor: of the model; how it normalises.
        side: of the square that pictures are reduced to.
    """

    def __init__(self, pool: ClipPool, processor: Sam2Processor, side: int) -> None:
        self.pool, self.side = pool, side
        self.mean = np.asarray(processor.image_processor.image_mean, np.float32)
        self.std = np.asarray(processor.image_processor.image_std, np.float32)

    def draw(self, rng: np.random.Generator, clips: int, frames: int, objects: int) -> Episode:
        """Draw ``frames`` frames of each of ``clips`` clips, and ``objects`` objects in all."""
        away = int(rng.integers(1, LONGEST_AWAY)) if rng.random() < SKIPPED else 0
        times = (0, *range(1 + away, frames + away))
        views, instances = [], []
        for clip in rng.integers(len(self.pool), size=clips):
            index = self._frames(rng, frames, bool(away))
            turn = int(rng.integers(8))
            views.append(_turned(self.pool.pictures[clip][index], turn))
            instances.append(_turned(self.pool.instances[clip][index], turn))
        rows, numbers = self._objects(rng, instances, objects)
        small = [self._reduced(numbers_of_clip) for numbers_of_clip in instances]
        masks = np.stack([small[row] == number for row, number in zip(rows, numbers, strict=True)])
        pixels = np.stack([self._pixels(view) for view in views])
        return Episode(
            pixels=torch.from_numpy(np.ascontiguousarray(pixels.transpose(1, 0, 4, 2, 3))),
            rows=torch.tensor(rows),
            masks=torch.from_numpy(np.ascontiguousarray(masks.swapaxes(0, 1))),
            times=times,
        )

    def _frames(self, rng: np.random.Generator, frames: int, away: bool) -> NDArray[np.int64]:
        """Which frames of a clip, in the order of the story."""
        length = self.pool.frames
        stride = int(rng.integers(1, min(FASTEST, (length - 1) // (frames - 1)) + 1))
        start = int(rng.integers(length - stride * (frames - 1)))
        index = start + stride * np.arange(frames)
        if rng.random() < 0.5:
            index = index[::-1].copy()
        if away:
            index[0] = rng.integers(length)
        return index

    def _objects(
        self, rng: np.random.Generator, instances: list[NDArray[np.uint8]], count: int
    ) -> tuple[list[int], list[int]]:
        """Clip and number of objects that can be shown on the first frame, in turns."""
        least = SMALLEST_PROMPT * instances[0].shape[1] * instances[0].shape[2]
        candidates = [
            (row, int(number))
            for row, clip in enumerate(instances)
            for number in np.flatnonzero(np.bincount(clip[0].ravel()) >= least)
            if number
        ]
        order = rng.permutation(len(candidates))
        chosen = sorted(candidates[i] for i in np.resize(order, count))
        return [row for row, _ in chosen], [number for _, number in chosen]

    def _pixels(self, view: NDArray[np.uint8]) -> NDArray[np.float32]:
        size = (self.side, self.side)
        reduced = np.stack([cv2.resize(v, size, interpolation=cv2.INTER_AREA) for v in view])
        return ((reduced / 255 - self.mean) / self.std).astype(np.float32)

    def _reduced(self, instances: NDArray[np.uint8]) -> NDArray[np.uint8]:
        step = instances.shape[-1] // self.side
        return instances[:, step // 2 :: step, step // 2 :: step]


def _turned(frames: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """One of the eight ways to lay a square: ``(t, s, s, …)``."""
    if turn & 1:
        frames = frames[:, :, ::-1]
    if turn & 2:
        frames = frames[:, ::-1]
    if turn & 4:
        frames = frames.swapaxes(1, 2)
    return np.ascontiguousarray(frames)
