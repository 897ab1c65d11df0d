"""Training episodes of the tracker: short frame sequences with the masks of some objects.

Most random sequences show all objects all the time and teach little. The sampler therefore draws
several sequences and prefers one in which objects appear, disappear or meet, and prefers these
objects. Since few objects reappear within an episode, some episodes are interrupted by frames of
another clip and continue elsewhere in their own.

An episode begins with a frame that shows its objects and runs forwards or backwards, at a random
stride. Some have a gap after the first frame, as if the object had been absent: only its appearance
long ago then identifies it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Sam2Processor

from embedded_training.augmentation import apply_symmetry
from embedded_training.clip_pool import ClipPool

__all__ = ["Episode", "EpisodeSampler"]

MAX_STRIDE = 3
"""Greatest stride between frames."""
MAX_GAP = 60
"""Longest gap in frames: the encoding of distances must be trained on those of long clips."""
LOST_FRAMES = 3, 9
"""Range of the first step after a loss."""
PARTIAL_VIEW = 0.4
"""An object that shows less than this share of its later area counts as entering the image."""
MIN_PROMPT_AREA = 0.001
"""Least visible area of an object to prompt, as a share of the image."""
_EVENTFUL_CANDIDATES = 8


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """``t`` frames of ``c`` clips and ``n`` objects of them."""

    pixels: Tensor
    """``(t, c, 3, s, s)`` normalized."""
    clip_index: Tensor
    """``(n,)`` clip of each object."""
    masks: Tensor
    """``(t, n, s, s)`` ``bool``: visible pixels; not empty on the first frame."""
    times: tuple[int, ...]
    """Index of each frame in its clip, from 0 at the first; the second may be far from it."""
    lost: range
    """Steps at which the tracker must behave as if it found nothing."""


class EpisodeSampler:
    """Draws episodes from a pool, each clip under a random symmetry of the square.

    Args:
        pool: the training clips.
        processor: of the model, for its normalization.
        side: side in pixels of the images of episodes.
        gap_share: share of episodes with a gap after the first frame.
        lost_share: share of episodes in which some steps are treated as if nothing were found,
            rightly or wrongly, so that the tracker learns to find lost objects without recent
            memories.
        interrupted_share: share of the other episodes that another clip may interrupt.
        eventful_share: share of episodes that are the most eventful of several sequences.
    """

    def __init__(
        self,
        pool: ClipPool,
        processor: Sam2Processor,
        side: int,
        *,
        gap_share: float = 0.15,
        lost_share: float = 0.35,
        interrupted_share: float = 0.2,
        eventful_share: float = 0.65,
    ) -> None:
        self.pool, self.side = pool, side
        self.gap_share, self.lost_share = gap_share, lost_share
        self.interrupted_share, self.eventful_share = interrupted_share, eventful_share
        self.mean = np.asarray(processor.image_processor.image_mean, np.float32)
        self.std = np.asarray(processor.image_processor.image_std, np.float32)
        self.areas = np.stack([_areas(clip) for clip in pool.instances])
        self.touching = np.stack([_touching(clip) for clip in pool.instances])

    def draw(self, rng: np.random.Generator, clips: int, frames: int, objects: int) -> Episode:
        """Draw ``frames`` frames of each of ``clips`` clips, and ``objects`` objects in all."""
        kind = rng.random()
        gap = int(rng.integers(1, MAX_GAP)) if kind < self.gap_share else 0
        lost, replaced = range(0), range(0)
        if self.gap_share <= kind < self.gap_share + self.lost_share:
            lost = range(1, int(rng.integers(*LOST_FRAMES)))
            frames = max(frames - 2, 4) + len(lost)
            if rng.random() < 0.5:
                replaced = lost
        elif not gap and frames > 3 and rng.random() < self.interrupted_share:
            first = int(rng.integers(1, frames - 2))
            replaced = range(first, first + int(rng.integers(1, frames - 1 - first)))
        times = (0, *range(1 + gap, frames + gap))
        breaks = [1] if gap else sorted({*lost[:1], lost.stop, replaced.stop} - {0})
        images, instances = [], []
        clip_index: list[int] = []
        ids: list[int] = []
        for position in range(clips):
            clip, index, visible = self._choose_sequence(rng, frames, breaks)
            symmetry = int(rng.integers(8))
            images.append(apply_symmetry(self.pool.images[clip][index], symmetry))
            instances.append(
                self._reduced(apply_symmetry(self.pool.instances[clip][index], symmetry))
            )
            share = len(range(position, objects, clips))
            clip_index += [position] * share
            ids += rng.permutation(np.resize(visible, share)).tolist()
        masks = np.stack(
            [instances[clip] == number for clip, number in zip(clip_index, ids, strict=True)]
        )
        pixels = np.stack([self._pixels(each) for each in images])
        if clips > 1 and replaced:
            steps = slice(replaced.start, replaced.stop)
            masks[:, steps] = False
            pixels[:, steps] = np.roll(pixels[:, steps], 1, axis=0)
        return Episode(
            pixels=torch.from_numpy(np.ascontiguousarray(pixels.transpose(1, 0, 4, 2, 3))),
            clip_index=torch.tensor(clip_index),
            masks=torch.from_numpy(np.ascontiguousarray(masks.swapaxes(0, 1))),
            times=times,
            lost=lost,
        )

    def _choose_sequence(
        self, rng: np.random.Generator, frames: int, breaks: list[int]
    ) -> tuple[int, NDArray[np.int64], list[int]]:
        """A clip, indices of its frames, and the ids of the objects on the first of them.

        There is at least one object; those with events come first. The frames are consecutive
        between the breaks.
        """
        best: tuple[int, int, NDArray[np.int64], list[int]] | None = None
        candidates = _EVENTFUL_CANDIDATES if rng.random() < self.eventful_share else 1
        drawn = 0
        while drawn < candidates or best is None:
            drawn += 1
            clip = int(rng.integers(len(self.pool)))
            parts = zip([0, *breaks], [*breaks, frames], strict=True)
            index = np.concatenate([self._frames(rng, stop - start) for start, stop in parts])
            areas = self.areas[clip][index]
            visible = np.flatnonzero(areas[0] >= MIN_PROMPT_AREA)
            if not len(visible):
                continue
            disappears = (areas[1:, visible] == 0).any(0)
            enters = areas[0, visible] < PARTIAL_VIEW * areas[1:, visible].max(0)
            touching = self.touching[clip][index][:, visible][:, :, visible]
            meets = (touching.any(0) & ~touching.all(0)).any(1)
            eventful = disappears | enters | meets
            events = int(eventful.sum())
            if best is None or events > best[0]:
                order = np.lexsort((rng.random(len(visible)), ~eventful))
                best = events, clip, index, visible[order].tolist()
        return best[1:]

    def _frames(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Indices of ``count`` frames of a clip at one stride, forwards or backwards."""
        length = self.pool.frames
        max_stride = min(MAX_STRIDE, (length - 1) // max(count - 1, 1))
        stride = int(rng.integers(1, max_stride + 1))
        index = int(rng.integers(length - stride * (count - 1))) + stride * np.arange(count)
        return index[::-1].copy() if rng.random() < 0.5 else index

    def _pixels(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        size = (self.side, self.side)
        reduced = np.stack([cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images])
        return ((reduced / 255 - self.mean) / self.std).astype(np.float32)

    def _reduced(self, instances: NDArray[np.uint8]) -> NDArray[np.uint8]:
        step = instances.shape[-1] // self.side
        return instances[:, step // 2 :: step, step // 2 :: step]


def _areas(instances: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Area of each id as a share of the image, ``(t, 9)``; 0 for the background."""
    coarse = instances[:, 2::4, 2::4].reshape(len(instances), -1)
    counts = np.stack([np.bincount(frame, minlength=9) for frame in coarse])
    counts[:, 0] = 0
    return (counts / coarse.shape[1]).astype(np.float32)


def _touching(instances: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which ids are adjacent, ``(t, 9, 9)``; nothing touches the background or itself."""
    coarse = instances[:, 2::4, 2::4].astype(np.intp)
    touching = np.zeros((len(coarse), 9, 9), bool)
    sides = (coarse[:, :, :-1], coarse[:, :, 1:]), (coarse[:, :-1], coarse[:, 1:])
    frame = np.arange(len(coarse))[:, None, None]
    for one, other in sides:
        touching[frame, one, other] = touching[frame, other, one] = True
    touching[:, 0] = touching[:, :, 0] = False
    touching[:, np.arange(9), np.arange(9)] = False
    return touching
