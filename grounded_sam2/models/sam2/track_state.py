"""The tracker's state: an immutable value with the memory of each object.

A state holds, for each object, its memory of the frames it was prompted on and of the last few
frames. It never grows with the video: memories that no later frame can use are dropped when the
next frame is added, and removing an object removes its memories.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from grounded_sam2.errors import CheckpointError
from grounded_sam2.models.sam2.memory import MemoryBatch

__all__ = ["FrameMemory", "MemoryLimits", "ObjectMemory", "Sam2TrackerState", "batch_memories"]


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """How many frames back memory reaches."""

    map_distance: int
    """Largest distance in frames at which spatial maps are attended to: 6 in SAM 2."""
    pointer_distance: int
    """Largest distance in frames at which object pointers are attended to: 15 in SAM 2."""
    prompted_frames: int
    """Prompted frames that are kept: the first, and the last of the others."""
    attended_prompted_frames: int | None
    """Prompted frames whose maps are attended to, nearest first; ``None`` for all."""
    correction_window: int
    """Last frames that can still be corrected."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameMemory:
    """The memory of one object in one frame."""

    frame: int
    pointer: Tensor
    """``(C,)``: object pointer."""
    map: Tensor | None
    """``(L, M)`` ``bfloat16``: spatial memory; ``None`` where only the pointer is still needed."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectMemory:
    """The memory of one object in all frames that later frames can use."""

    prompted: tuple[FrameMemory, ...] = ()
    """Frames that the object was prompted on, in the order of the prompts."""
    recent: Mapping[int, FrameMemory] = field(default_factory=dict)
    """Other frames, by frame number."""

    def add(self, memory: FrameMemory, limits: MemoryLimits, *, prompted: bool) -> ObjectMemory:
        """This memory with a frame added or replaced, without what no next frame can use."""
        frame = memory.frame
        others = tuple(each for each in self.prompted if each.frame != frame)
        recent = {at: each for at, each in self.recent.items() if at != frame}
        if prompted:
            others = (*others, memory)
            if len(others) > limits.prompted_frames:  # keep the first: the user's original prompt
                others = (others[0], *others[len(others) - limits.prompted_frames + 1 :])
        else:
            recent[frame] = memory
        # The next frame, in either direction, is at distance 1 of this one.
        farthest = max(limits.map_distance, limits.pointer_distance) + limits.correction_window
        kept = {
            at: each
            if abs(at - frame) < limits.map_distance + limits.correction_window
            else replace(each, map=None)
            for at, each in recent.items()
            if abs(at - frame) < farthest
        }
        return ObjectMemory(others, kept)

    def select_for(self, frame: int, limits: MemoryLimits, *, reverse: bool) -> _SelectedMemories:
        """The memories that a frame attends to, in SAM 2's order."""
        step = -1 if reverse else 1
        attended, others = _nearest(self.prompted, frame, limits.attended_prompted_frames)
        maps = [(0, each) for each in attended]
        for distance in range(limits.map_distance, 0, -1):
            at = frame - step * distance
            memory = self.recent.get(at) or others.get(at)
            if memory is not None and memory.map is not None:
                maps.append((distance, memory))
        behind = [each for each in self.prompted if (frame - each.frame) * step >= 0]
        pointers = [((frame - each.frame) * step, each) for each in behind]
        for distance in range(1, limits.pointer_distance + 1):
            memory = self.recent.get(frame - step * distance)
            if memory is not None:
                pointers.append((distance, memory))
        return _SelectedMemories(maps, pointers)


@dataclass(frozen=True, slots=True, eq=False)
class Sam2TrackerState:
    """The memory of all objects of one video, on the model's device."""

    objects: Mapping[int, ObjectMemory] = field(default_factory=dict)

    @property
    def ids(self) -> tuple[int, ...]:
        """The objects' ids, in the order in which they were added."""
        return tuple(self.objects)

    def without(self, ids: Collection[int]) -> Sam2TrackerState:
        """The other objects."""
        return Sam2TrackerState({at: each for at, each in self.objects.items() if at not in ids})

    def select(self, ids: Collection[int]) -> Sam2TrackerState:
        """Some of the objects."""
        return Sam2TrackerState({at: each for at, each in self.objects.items() if at in ids})

    def to_bytes(self) -> bytes:
        """The state as safetensors, losslessly."""
        tensors: dict[str, Tensor] = {}
        order = []
        for number, memory in self.objects.items():
            order.append([number, [each.frame for each in memory.prompted], list(memory.recent)])
            for each in (*memory.prompted, *memory.recent.values()):
                tensors[f"{number}/{each.frame}/pointer"] = each.pointer.cpu().contiguous()
                if each.map is not None:
                    tensors[f"{number}/{each.frame}/map"] = each.map.cpu().contiguous()
        tensors["order"] = torch.frombuffer(
            bytearray(json.dumps(order).encode()), dtype=torch.uint8
        )
        return save(tensors)

    @classmethod
    def from_bytes(cls, data: bytes, device: torch.device) -> Sam2TrackerState:
        """The inverse of `to_bytes`.

        Raises:
            CheckpointError: the bytes are not a state.
        """
        try:
            tensors = {name: tensor.to(device) for name, tensor in load(data).items()}
            order = json.loads(bytes(tensors.pop("order").tolist()))
        except (SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"the tracker's state of {len(data)} bytes cannot be read ({error}); track the "
                "video again from its beginning"
            ) from error

        def frame_memory(number: int, frame: int) -> FrameMemory:
            name = f"{number}/{frame}"
            return FrameMemory(frame, tensors[f"{name}/pointer"], tensors.get(f"{name}/map"))

        return cls(
            {
                number: ObjectMemory(
                    tuple(frame_memory(number, frame) for frame in prompted),
                    {frame: frame_memory(number, frame) for frame in recent},
                )
                for number, prompted, recent in order
            }
        )


def batch_memories(
    state: Sam2TrackerState, ids: Iterable[int], frame: int, limits: MemoryLimits, *, reverse: bool
) -> list[tuple[list[int], MemoryBatch]]:
    """The memories that a frame attends to, in batches of objects with equally many.

    Returns:
        For each batch, the indices of its objects in ``ids``, and their memories.
    """
    selected = [state.objects[each].select_for(frame, limits, reverse=reverse) for each in ids]
    groups: dict[tuple[int, int], list[int]] = {}
    for index, memories in enumerate(selected):
        groups.setdefault((len(memories.maps), len(memories.pointers)), []).append(index)
    return [
        (indices, _stack([selected[index] for index in indices], limits.pointer_distance))
        for indices in groups.values()
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _SelectedMemories:
    """Memories of one object with their distances."""

    maps: list[tuple[int, FrameMemory]]
    pointers: list[tuple[int, FrameMemory]]


def _stack(objects: list[_SelectedMemories], max_pointer_distance: int) -> MemoryBatch:
    maps = [each.map for memories in objects for _, each in memories.maps if each.map is not None]
    pointers = [each.pointer for memories in objects for _, each in memories.pointers]
    device = maps[0].device
    return MemoryBatch(
        torch.stack(maps).unflatten(0, (len(objects), -1)),
        torch.tensor([[at for at, _ in memories.maps] for memories in objects], device=device),
        torch.stack(pointers).unflatten(0, (len(objects), -1)),
        torch.tensor([[at for at, _ in memories.pointers] for memories in objects], device=device),
        max_pointer_distance,
    )


def _nearest(
    memories: tuple[FrameMemory, ...], frame: int, limit: int | None
) -> tuple[list[FrameMemory], dict[int, FrameMemory]]:
    """The nearest before a frame, the nearest at or after it, then others by distance, up to a
    limit; and the rest by frame number."""
    if limit is None or len(memories) <= limit:
        return list(memories), {}
    by_distance = sorted(memories, key=lambda each: abs(each.frame - frame))
    before = [each for each in by_distance if each.frame < frame][:1]
    after = [each for each in by_distance if each.frame >= frame][:1]
    chosen = [*before, *after]
    chosen += [each for each in by_distance if each not in chosen][: limit - len(chosen)]
    return chosen, {each.frame: each for each in memories if each not in chosen}
