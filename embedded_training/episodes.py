"""Short stories to learn tracking from: a few frames of some clips, and where some objects are.

Most of the time everything is in plain view, and there is little to learn from it. Stories in which
objects come, go or meet are looked for, and objects that do are preferred. Few come back soon
enough, so some episodes are interrupted by frames of another clip and go on elsewhere in their own.

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

from embedded_training.clip_pool import ClipPool

__all__ = ["Episode", "EpisodeSampler"]

FASTEST = 3
"""Greatest stride between frames."""
SKIPPED = 0.15
"""Share of episodes that skip a while after the first frame."""
LONGEST_AWAY = 60
"""Frames. What counts frames must not meet numbers that it has never seen, in a long clip."""
EVENTFUL = 0.65
"""Share of episodes that are the most eventful of some."""
_LOOKED_AT = 8
INTERRUPTED = 0.2
"""Share of episodes that another clip interrupts."""
LOST = 0.35
"""Share of episodes in which the tracker is told for some frames, rightly or wrongly, that nothing
was found: it must find lost objects again when nothing recent tells of them."""
LOST_FRAMES = 3, 9
ENTERING = 0.4
"""An object that shows less than this share of what it shows later is only coming into view."""
SMALLEST_PROMPT = 0.001
"""Share of the image that an object must show of itself to be prompted."""


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """``t`` frames of ``c`` clips and ``n`` objects of them."""

    pixels: Tensor
    """``(t, c, 3, s, s)`` normalized."""
    rows: Tensor
    """``(n,)`` clip of each object."""
    masks: Tensor
    """``(t, n, s, s)`` ``bool``: visible pixels. On the first frame every object has some."""
    times: tuple[int, ...]
    """Number of each frame, from 0; the second may be far from the first."""
    lost: range
    """Frames on which the tracker is told that it finds nothing, whatever there is."""


class EpisodeSampler:
    """Draws episodes from a pool, flipped and turned at random.

    Args:
        pool: painted clips.
        processor: of the model; how it normalizes.
        side: of the square that images are reduced to.
    """

    def __init__(self, pool: ClipPool, processor: Sam2Processor, side: int) -> None:
        self.pool, self.side = pool, side
        self.mean = np.asarray(processor.image_processor.image_mean, np.float32)
        self.std = np.asarray(processor.image_processor.image_std, np.float32)
        self.areas = np.stack([_areas(clip) for clip in pool.instances])
        self.touching = np.stack([_touching(clip) for clip in pool.instances])

    def draw(self, rng: np.random.Generator, clips: int, frames: int, objects: int) -> Episode:
        """Draw ``frames`` frames of each of ``clips`` clips, and ``objects`` objects in all."""
        kind = rng.random()
        away = int(rng.integers(1, LONGEST_AWAY)) if kind < SKIPPED else 0
        lost, cut = range(0), range(0)
        if SKIPPED <= kind < SKIPPED + LOST:
            lost = range(1, int(rng.integers(*LOST_FRAMES)))
            frames = max(frames - 2, 4) + len(lost)
            if rng.random() < 0.5:
                cut = lost
        elif not away and frames > 3 and rng.random() < INTERRUPTED:
            first = int(rng.integers(1, frames - 2))
            cut = range(first, first + int(rng.integers(1, frames - 1 - first)))
        times = (0, *range(1 + away, frames + away))
        breaks = [1] if away else sorted({*lost[:1], lost.stop, cut.stop} - {0})
        views, instances = [], []
        rows: list[int] = []
        numbers: list[int] = []
        for row in range(clips):
            clip, index, known = self._story(rng, frames, breaks)
            turn = int(rng.integers(8))
            views.append(_turned(self.pool.images[clip][index], turn))
            instances.append(self._reduced(_turned(self.pool.instances[clip][index], turn)))
            share = len(range(row, objects, clips))
            rows += [row] * share
            numbers += rng.permutation(np.resize(known, share)).tolist()
        masks = np.stack([instances[row] == n for row, n in zip(rows, numbers, strict=True)])
        pixels = np.stack([self._pixels(view) for view in views])
        if clips > 1 and cut:
            elsewhere = slice(cut.start, cut.stop)
            masks[:, elsewhere] = False
            pixels[:, elsewhere] = np.roll(pixels[:, elsewhere], 1, axis=0)
        return Episode(
            pixels=torch.from_numpy(np.ascontiguousarray(pixels.transpose(1, 0, 4, 2, 3))),
            rows=torch.tensor(rows),
            masks=torch.from_numpy(np.ascontiguousarray(masks.swapaxes(0, 1))),
            times=times,
            lost=lost,
        )

    def _story(
        self, rng: np.random.Generator, frames: int, breaks: list[int]
    ) -> tuple[int, NDArray[np.int64], list[int]]:
        """A clip, frames of it, and the objects on the first, the eventful before the others.

        There is at least one.
        """
        best: tuple[int, int, NDArray[np.int64], list[int]] | None = None
        wanted = _LOOKED_AT if rng.random() < EVENTFUL else 1
        looked = 0
        while looked < wanted or best is None:
            looked += 1
            clip = int(rng.integers(len(self.pool)))
            parts = zip([0, *breaks], [*breaks, frames], strict=True)
            index = np.concatenate([self._frames(rng, stop - start) for start, stop in parts])
            areas = self.areas[clip][index]
            known = np.flatnonzero(areas[0] >= SMALLEST_PROMPT)
            if not len(known):
                continue
            hides = (areas[1:, known] == 0).any(0)
            enters = areas[0, known] < ENTERING * areas[1:, known].max(0)
            touching = self.touching[clip][index][:, known][:, :, known]
            meets = (touching.any(0) & ~touching.all(0)).any(1)
            eventful = hides | enters | meets
            events = int(eventful.sum())
            if best is None or events > best[0]:
                order = np.lexsort((rng.random(len(known)), ~eventful))
                best = events, clip, index, known[order].tolist()
        return best[1:]

    def _frames(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Some frames of a clip in a row, forwards or backwards."""
        length = self.pool.frames
        fastest = min(FASTEST, (length - 1) // max(count - 1, 1))
        stride = int(rng.integers(1, fastest + 1))
        index = int(rng.integers(length - stride * (count - 1))) + stride * np.arange(count)
        return index[::-1].copy() if rng.random() < 0.5 else index

    def _pixels(self, view: NDArray[np.uint8]) -> NDArray[np.float32]:
        size = (self.side, self.side)
        reduced = np.stack([cv2.resize(v, size, interpolation=cv2.INTER_AREA) for v in view])
        return ((reduced / 255 - self.mean) / self.std).astype(np.float32)

    def _reduced(self, instances: NDArray[np.uint8]) -> NDArray[np.uint8]:
        step = instances.shape[-1] // self.side
        return instances[:, step // 2 :: step, step // 2 :: step]


def _areas(instances: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Share of the image that each number covers, ``(t, 9)``; that of 0 is given as 0."""
    coarse = instances[:, 2::4, 2::4].reshape(len(instances), -1)
    counts = np.stack([np.bincount(frame, minlength=9) for frame in coarse])
    counts[:, 0] = 0
    return (counts / coarse.shape[1]).astype(np.float32)


def _touching(instances: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which numbers lie side by side, ``(t, 9, 9)``; nothing touches 0 or itself."""
    coarse = instances[:, 2::4, 2::4].astype(np.intp)
    touching = np.zeros((len(coarse), 9, 9), bool)
    sides = (coarse[:, :, :-1], coarse[:, :, 1:]), (coarse[:, :-1], coarse[:, 1:])
    frame = np.arange(len(coarse))[:, None, None]
    for before, behind in sides:
        touching[frame, before, behind] = touching[frame, behind, before] = True
    touching[:, 0] = touching[:, :, 0] = False
    touching[:, np.arange(9), np.arange(9)] = False
    return touching


def _turned(frames: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """One of the eight ways to lay a square: ``(t, s, s, …)``."""
    if turn & 1:
        frames = frames[:, :, ::-1]
    if turn & 2:
        frames = frames[:, ::-1]
    if turn & 4:
        frames = frames.swapaxes(1, 2)
    return np.ascontiguousarray(frames)
