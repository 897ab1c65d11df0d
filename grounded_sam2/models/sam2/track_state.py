"""What the tracker remembers of objects: a value that goes in and comes out.

A state holds, for each object, the frames it was prompted on and the last few frames. It never
grows with the video: what no later frame can ask for is dropped when the next is remembered, and
what belongs to an object goes with the object.
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

__all__ = ["Moment", "ObjectMemory", "Reach", "Sam2TrackerState", "batched"]


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back memory goes, in frames."""

    maps: int
    """Distances 1 to this many have their map looked at: 6 in SAM 2."""
    pointers: int
    """Distances 1 to this many have their pointer looked at: 15 in SAM 2."""
    prompted: int
    """Prompted frames that are kept: the first, and the last of the others."""
    attended: int | None
    """Maps of prompted frames that a frame looks at, nearest first; ``None`` for all."""
    corrections: int
    """Remembered frames, the last of them, that may still be corrected."""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What one object left in one frame."""

    frame: int
    pointer: Tensor
    """``(C,)``."""
    map: Tensor | None
    """``(L, M)`` ``bfloat16``; ``None`` when only the pointer is still asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectMemory:
    """What one object left in all frames that may still be looked at."""

    prompted: tuple[Moment, ...] = ()
    """In the order that they were prompted."""
    recent: Mapping[int, Moment] = field(default_factory=dict)
    """Other frames, by their number."""

    def with_moment(self, moment: Moment, reach: Reach, *, prompted: bool) -> ObjectMemory:
        """One frame more, or again; what is out of reach from the next on is dropped."""
        frame = moment.frame
        others = tuple(each for each in self.prompted if each.frame != frame)
        recent = {at: each for at, each in self.recent.items() if at != frame}
        if prompted:
            others = (*others, moment)
            if len(others) > reach.prompted:  # the first is what a user pointed at
                others = (others[0], *others[len(others) - reach.prompted + 1 :])
        else:
            recent[frame] = moment
        # Whichever frame is next, it is one away from this one.
        farthest = max(reach.maps, reach.pointers) + reach.corrections
        kept = {
            at: each
            if abs(at - frame) < reach.maps + reach.corrections
            else replace(each, map=None)
            for at, each in recent.items()
            if abs(at - frame) < farthest
        }
        return ObjectMemory(others, kept)

    def seen_from(self, frame: int, reach: Reach, *, reverse: bool) -> _View:
        """The moments that a frame looks at, in SAM 2's order."""
        step = -1 if reverse else 1
        attended, left_out = _nearest(self.prompted, frame, reach.attended)
        maps = [(0, each) for each in attended]
        for distance in range(reach.maps, 0, -1):
            at = frame - step * distance
            moment = self.recent.get(at) or left_out.get(at)
            if moment is not None and moment.map is not None:
                maps.append((distance, moment))
        behind = [each for each in self.prompted if (frame - each.frame) * step >= 0]
        pointers = [((frame - each.frame) * step, each) for each in behind]
        for distance in range(1, reach.pointers + 1):
            moment = self.recent.get(frame - step * distance)
            if moment is not None:
                pointers.append((distance, moment))
        return _View(maps, pointers)


@dataclass(frozen=True, slots=True, eq=False)
class Sam2TrackerState:
    """The memory of all objects of one video, on the model's device."""

    objects: Mapping[int, ObjectMemory] = field(default_factory=dict)

    @property
    def ids(self) -> tuple[int, ...]:
        """The objects, in the order that they came."""
        return tuple(self.objects)

    def without(self, ids: Collection[int]) -> Sam2TrackerState:
        """The other objects."""
        return Sam2TrackerState({at: each for at, each in self.objects.items() if at not in ids})

    def select(self, ids: Collection[int]) -> Sam2TrackerState:
        """Some of the objects."""
        return Sam2TrackerState({at: each for at, each in self.objects.items() if at in ids})

    def to_bytes(self) -> bytes:
        """All of it, exactly, as safetensors."""
        tensors: dict[str, Tensor] = {}
        order = []
        for number, memory in self.objects.items():
            order.append([number, [each.frame for each in memory.prompted], list(memory.recent)])
            for moment in (*memory.prompted, *memory.recent.values()):
                tensors[f"{number}/{moment.frame}/pointer"] = moment.pointer.cpu().contiguous()
                if moment.map is not None:
                    tensors[f"{number}/{moment.frame}/map"] = moment.map.cpu().contiguous()
        tensors["order"] = torch.frombuffer(
            bytearray(json.dumps(order).encode()), dtype=torch.uint8
        )
        return save(tensors)

    @classmethod
    def from_bytes(cls, data: bytes, device: torch.device) -> Sam2TrackerState:
        """What `to_bytes` wrote.

        Raises:
            CheckpointError: it did not.
        """
        try:
            tensors = {name: tensor.to(device) for name, tensor in load(data).items()}
            order = json.loads(bytes(tensors.pop("order").tolist()))
        except (SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"the tracker's state of {len(data)} bytes cannot be read ({error}); track the "
                "video again from its beginning"
            ) from error

        def moment(number: int, frame: int) -> Moment:
            name = f"{number}/{frame}"
            return Moment(frame, tensors[f"{name}/pointer"], tensors.get(f"{name}/map"))

        return cls(
            {
                number: ObjectMemory(
                    tuple(moment(number, frame) for frame in prompted),
                    {frame: moment(number, frame) for frame in recent},
                )
                for number, prompted, recent in order
            }
        )


def batched(
    state: Sam2TrackerState, ids: Iterable[int], frame: int, reach: Reach, *, reverse: bool
) -> list[tuple[list[int], MemoryBatch]]:
    """The memories that a frame looks at, of objects that remember equally much together.

    Returns:
        For each group, the places of its objects in ``ids``, and their memories.
    """
    views = [state.objects[each].seen_from(frame, reach, reverse=reverse) for each in ids]
    groups: dict[tuple[int, int], list[int]] = {}
    for place, view in enumerate(views):
        groups.setdefault((len(view.maps), len(view.pointers)), []).append(place)
    return [
        (places, _stacked([views[place] for place in places], reach.pointers))
        for places in groups.values()
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """Moments with their distances."""

    maps: list[tuple[int, Moment]]
    pointers: list[tuple[int, Moment]]


def _stacked(views: list[_View], farthest_pointer: int) -> MemoryBatch:
    maps = [each.map for view in views for _, each in view.maps if each.map is not None]
    pointers = [each.pointer for view in views for _, each in view.pointers]
    device = maps[0].device
    return MemoryBatch(
        torch.stack(maps).unflatten(0, (len(views), -1)),
        torch.tensor([[at for at, _ in view.maps] for view in views], device=device),
        torch.stack(pointers).unflatten(0, (len(views), -1)),
        torch.tensor([[at for at, _ in view.pointers] for view in views], device=device),
        farthest_pointer,
    )


def _nearest(
    moments: tuple[Moment, ...], frame: int, most: int | None
) -> tuple[list[Moment], dict[int, Moment]]:
    """The nearest before a frame, the nearest from it on, then others by nearness; and the rest."""
    if most is None or len(moments) <= most:
        return list(moments), {}
    by_nearness = sorted(moments, key=lambda each: abs(each.frame - frame))
    before = [each for each in by_nearness if each.frame < frame][:1]
    after = [each for each in by_nearness if each.frame >= frame][:1]
    chosen = [*before, *after]
    chosen += [each for each in by_nearness if each not in chosen][: most - len(chosen)]
    return chosen, {each.frame: each for each in moments if each not in chosen}
