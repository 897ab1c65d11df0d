"""SAM 2's memory, for many objects of a frame at once.

    features ─ condition(memories) ─► what the mask decoder sees
    features, masks ─ encode ─► a map to remember;  decoder's tokens ─ pointers ─► one vector each

The weights are those of the loaded model, read at every call; the order of the work differs from
its own forward pass, and the results agree to rounding. Nothing here is in place and everything has
gradients: the same functions train the memory.

What a frame looks at first is itself, which is the same for all objects, so that half of the first
layer is computed once. The rest is one batch: objects with equally many memories need no padding
and no attention mask, which keeps the fused attention kernels.

Source: https://arxiv.org/abs/2408.00714, as `transformers` has it in ``Sam2VideoModel``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

__all__ = ["NO_OBJECT_LOGIT", "MemoryBatch", "MemoryModules", "resized"]

NO_OBJECT_LOGIT = -1024.0
"""Mask logit everywhere for an object that is not in the image."""


@dataclass(frozen=True, slots=True, eq=False)
class MemoryBatch:
    """What ``n`` objects remember, each of them as much.

    Maps come in the order of SAM 2: frames that were prompted, then others from far to near.
    Distances count frames back in the direction of tracking.
    """

    maps: Tensor
    """``(n, k, L, M)``: spatial memories of ``L`` cells."""
    map_distances: Tensor
    """``(n, k)`` ``int64``; 0 stands for every prompted frame."""
    pointers: Tensor
    """``(n, p, C)``."""
    pointer_distances: Tensor
    """``(n, p)`` ``int64``."""
    farthest_pointer: int
    """Distances of pointers are told as shares of this."""

    def rows(self, index: slice) -> MemoryBatch:
        """Those of some of the objects."""
        return replace(
            self,
            maps=self.maps[index],
            map_distances=self.map_distances[index],
            pointers=self.pointers[index],
            pointer_distances=self.pointer_distances[index],
        )


class MemoryModules:
    """The part of a ``Sam2VideoModel`` that remembers.

    Args:
        model: on its device; read at every call, so that it may be trained meanwhile.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        attention = model.memory_attention
        self._attention = attention
        self._encoder = model.memory_encoder
        self.grid: int = model.prompt_encoder.image_embedding_size[0]
        self._side: int = 16 * self.grid  # of the masks that the encoder takes
        with torch.no_grad():
            shape = torch.Size((1, model.hidden_dim, self.grid, self.grid))
            positions = model.vision_encoder.neck.position_encoding(
                shape, model.device, torch.float32
            )
            self._image_positions = positions.flatten(2).transpose(1, 2)  # (1, L, C)
            cos, sin = attention.rotary_emb(self._image_positions, attention.position_ids)
            # (L, d / 2): each pair of channels is a complex number that is turned.
            self._turns = torch.complex(cos.float(), sin.float()).reshape(self.grid**2, -1)[:, ::2]
            shape = torch.Size((1, model.mem_dim, self.grid, self.grid))
            positions = self._encoder.position_encoding(shape, model.device, torch.float32)
            self._map_positions = positions.flatten(2).transpose(1, 2)[0]  # (L, M)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        dtype: torch.dtype = self._encoder.projection.weight.dtype
        return dtype

    def condition(self, cells: Tensor, memories: MemoryBatch) -> Tensor:
        """Let a frame look at what each object remembers.

        Args:
            cells: ``(1, L, C)``, or ``(n, L, C)``: raw features of the frame.
            memories: of ``n`` objects.

        Returns:
            ``(n, L, C)``: features in which the mask decoder finds the object without a prompt.
        """
        keys, values, turns = self._remembered(memories)
        current = cells.to(self.dtype) + 0.1 * self._image_positions.to(self.dtype)
        for layer in self._attention.layers:
            own = layer.layer_norm1(current)
            current = current + self._look(layer.self_attn, own, own, own, self._turns)
            query = layer.layer_norm2(current)
            current = current + self._look(layer.cross_attn_image, query, keys, values, turns)
            hidden = layer.activation(layer.linear1(layer.layer_norm3(current)))
            current = current + layer.linear2(hidden)
        conditioned: Tensor = self._attention.layer_norm(current)
        return conditioned

    def encode(self, cells: Tensor, logits: Tensor, present: Tensor, prompted: Tensor) -> Tensor:
        """Make the maps to remember of a frame and the masks found in it.

        Args:
            cells: ``(1, L, C)``, or ``(n, L, C)``: raw features of the frame.
            logits: ``(n, s, s)``: mask logits, of any size; masks given by hand as they are given.
            present: ``(n,)`` ``bool``: the object is in the image.
            prompted: ``(n,)`` ``bool``: its mask is remembered as a yes or no, not as a chance.

        Returns:
            ``(n, L, M)``.
        """
        config = self._model.config
        large = resized(logits[:, None].float(), self._side)
        chance = torch.where(prompted[:, None, None, None], (large > 0).float(), large.sigmoid())
        scaled = chance * config.sigmoid_scale_for_mem_enc + config.sigmoid_bias_for_mem_enc
        encoder = self._encoder
        pixels = cells.to(self.dtype).transpose(1, 2).unflatten(2, (self.grid, self.grid))
        # The image's part is the same for all objects.
        fused = encoder.feature_projection(pixels) + encoder.mask_downsampler(scaled.to(self.dtype))
        maps = encoder.projection(encoder.memory_fuser(fused))
        absent = self._model.occlusion_spatial_embedding_parameter
        if absent is not None:
            hidden = (~present).to(maps.dtype)[:, None, None, None]
            maps = maps + hidden * absent.to(maps.dtype)[..., None, None]
        return maps.flatten(2).transpose(1, 2)

    def pointers(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Make the pointers to remember.

        Args:
            tokens: ``(n, C)``: the decoder's token of the mask that was chosen.
            present: ``(n,)`` ``bool``.

        Returns:
            ``(n, C)``.
        """
        pointers: Tensor = self._model.object_pointer_proj(tokens.to(self.dtype))
        return self.absent_pointers(pointers, present)

    def absent_pointers(self, pointers: Tensor, present: Tensor) -> Tensor:
        """The pointer of "not there" in place of those of objects that are not: ``(n, C)``."""
        nothing = self._model.no_object_pointer.to(pointers.dtype)
        return torch.where(present[:, None], pointers, nothing)

    def _remembered(self, memories: MemoryBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Keys and values ``(n, K, M)``, and how each of them is turned ``(K, d / 2)``: pointers,
        which have no place in the image, not at all."""
        count, number, channels = memories.pointers.shape
        splits = max(1, channels // memories.maps.shape[-1])
        pointers = memories.pointers.reshape(count, number * splits, -1).to(self.dtype)
        maps = memories.maps.to(self.dtype)
        when = self._model.memory_temporal_positional_encoding[:, 0, 0].to(self.dtype)  # (t, M)
        # Distance 0 takes the last row.
        times = when[memories.map_distances - 1][:, :, None]
        placed = maps + self._map_positions.to(self.dtype) + times
        named = pointers + self._pointer_positions(memories).repeat_interleave(splits, dim=1)
        keys = torch.cat((placed.flatten(1, 2), named), dim=1)
        values = torch.cat((maps.flatten(1, 2), pointers), dim=1)
        unturned = self._turns.new_ones(number * splits, self._turns.shape[1])
        turns = torch.cat((self._turns.repeat(maps.shape[1], 1), unturned))
        return keys, values, turns

    def _pointer_positions(self, memories: MemoryBatch) -> Tensor:
        """``(n, p, M)``."""
        layer = self._model.temporal_positional_encoding_projection_layer
        distances = memories.pointer_distances
        if not self._model.config.enable_temporal_pos_encoding_for_object_pointers:
            return memories.pointers.new_zeros(*distances.shape, self._model.mem_dim)
        shares = distances.float() / memories.farthest_pointer
        positions: Tensor = layer(_waves(shares, memories.pointers.shape[2]).to(self.dtype))
        return positions

    def _look(
        self, attention: Any, queries: Tensor, keys: Tensor, values: Tensor, turns: Tensor
    ) -> Tensor:
        """Attention between places that are told by turning: ``(n, l, C)``."""
        count = max(len(queries), len(keys))
        # (n, l, h·d) → (n, h, l, d)
        q, k, v = (
            projection(given).unflatten(2, (-1, attention.head_dim)).transpose(1, 2)
            for projection, given in (
                (attention.q_proj, queries),
                (attention.k_proj, keys),
                (attention.v_proj, values),
            )
        )
        q, k = _turned(q, self._turns), _turned(k, turns)
        q, k, v = (part.expand(count, -1, -1, -1) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, scale=attention.scaling)
        looked: Tensor = attention.o_proj(mixed.transpose(1, 2).flatten(2))
        return looked


def _turned(vectors: Tensor, turns: Tensor) -> Tensor:
    """Turn ``(n, h, l, d)`` by ``(l, d / 2)``, in float32: each pair of channels is a number."""
    pairs = torch.view_as_complex(vectors.float().unflatten(3, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns).flatten(3).to(vectors.dtype)


def resized(values: Tensor, side: int) -> Tensor:
    """``(n, 1, s, s)`` enlarged or, with care for what lies between, reduced to a side."""
    if values.shape[-1] == side:
        return values
    return F.interpolate(
        values,
        size=(side, side),
        mode="bilinear",
        align_corners=False,
        antialias=values.shape[-1] > side,
    )


def _waves(positions: Tensor, channels: int) -> Tensor:
    """Sines and cosines of positions: ``(…)`` → ``(…, channels)``."""
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float32, device=positions.device)
    angles = positions[..., None] / 10000 ** (2 * (steps // 2) / half)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)
