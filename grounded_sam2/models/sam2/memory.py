"""SAM 2's memory attention and memory encoder, for many objects of a frame at once.

    features ─ condition(memories) ─► conditioned features for the mask decoder
    features, masks ─ encode ─► spatial maps;   mask tokens ─ pointers ─► object pointers

The weights are those of the loaded model, read at every call; the order of the computation differs
from its own forward pass, and the results agree to rounding. Nothing is computed in place and
everything has gradients: the same functions train the memory.

The first self-attention is the same for all objects of a frame and computed once. The rest is one
batch: objects with equally many memories need no padding and no attention mask, which keeps the
fused attention kernels.

Source: https://arxiv.org/abs/2408.00714, as `transformers` has it in ``Sam2VideoModel``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

__all__ = ["NO_OBJECT_LOGIT", "MemoryBatch", "MemoryModules", "resize"]

NO_OBJECT_LOGIT = -1024.0
"""Mask logit of every pixel for an object that is not in the image."""


@dataclass(frozen=True, slots=True, eq=False)
class MemoryBatch:
    """Memories of ``n`` objects, equally many of each.

    Maps are in the order of SAM 2: prompted frames, then others from far to near. Distances are
    frames before the current one in the direction of tracking.
    """

    maps: Tensor
    """``(n, k, L, M)``: spatial memories of ``L`` cells."""
    map_distances: Tensor
    """``(n, k)`` ``int64``; 0 for every prompted frame."""
    pointers: Tensor
    """``(n, p, C)``: object pointers."""
    pointer_distances: Tensor
    """``(n, p)`` ``int64``."""
    max_pointer_distance: int
    """Divisor of pointer distances in their encoding."""

    def rows(self, index: slice) -> MemoryBatch:
        """The memories of a slice of the objects."""
        return replace(
            self,
            maps=self.maps[index],
            map_distances=self.map_distances[index],
            pointers=self.pointers[index],
            pointer_distances=self.pointer_distances[index],
        )


class MemoryModules:
    """The memory attention, memory encoder and pointer projection of a ``Sam2VideoModel``.

    Args:
        model: on its device; read at every call, so that it can be trained meanwhile.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        attention = model.memory_attention
        self._attention = attention
        self._encoder = model.memory_encoder
        self.grid: int = model.prompt_encoder.image_embedding_size[0]
        self._side: int = 16 * self.grid  # of the memory encoder's input masks
        with torch.no_grad():
            shape = torch.Size((1, model.hidden_dim, self.grid, self.grid))
            positions = model.vision_encoder.neck.position_encoding(
                shape, model.device, torch.float32
            )
            self._image_positions = positions.flatten(2).transpose(1, 2)  # (1, L, C)
            cos, sin = attention.rotary_emb(self._image_positions, attention.position_ids)
            # (L, d / 2): each pair of channels is a complex number that is rotated.
            self._rotations = torch.complex(cos.float(), sin.float()).reshape(self.grid**2, -1)[
                :, ::2
            ]
            shape = torch.Size((1, model.mem_dim, self.grid, self.grid))
            positions = self._encoder.position_encoding(shape, model.device, torch.float32)
            self._map_positions = positions.flatten(2).transpose(1, 2)[0]  # (L, M)

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        dtype: torch.dtype = self._encoder.projection.weight.dtype
        return dtype

    def condition(self, cells: Tensor, memories: MemoryBatch) -> Tensor:
        """Condition a frame's features on the memories of each object (memory attention).

        Args:
            cells: ``(1, L, C)``, or ``(n, L, C)``: raw features of the frame.
            memories: of ``n`` objects.

        Returns:
            ``(n, L, C)``: features from which the mask decoder segments the object without prompt.
        """
        keys, values, rotations = self._keys_and_values(memories)
        current = cells.to(self.dtype) + 0.1 * self._image_positions.to(self.dtype)
        for layer in self._attention.layers:
            own = layer.layer_norm1(current)
            current = current + self._attend(layer.self_attn, own, own, own, self._rotations)
            query = layer.layer_norm2(current)
            current = current + self._attend(layer.cross_attn_image, query, keys, values, rotations)
            hidden = layer.activation(layer.linear1(layer.layer_norm3(current)))
            current = current + layer.linear2(hidden)
        conditioned: Tensor = self._attention.layer_norm(current)
        return conditioned

    def encode(self, cells: Tensor, logits: Tensor, present: Tensor, prompted: Tensor) -> Tensor:
        """Encode a frame and its masks as spatial memories.

        Args:
            cells: ``(1, L, C)``, or ``(n, L, C)``: raw features of the frame.
            logits: ``(n, s, s)``: mask logits, of any size.
            present: ``(n,)`` ``bool``: the object is in the image.
            prompted: ``(n,)`` ``bool``: its mask is binarized; otherwise it is a probability.

        Returns:
            ``(n, L, M)``.
        """
        config = self._model.config
        large = resize(logits[:, None].float(), self._side)
        probability = torch.where(
            prompted[:, None, None, None], (large > 0).float(), large.sigmoid()
        )
        scaled = probability * config.sigmoid_scale_for_mem_enc + config.sigmoid_bias_for_mem_enc
        encoder = self._encoder
        pixels = cells.to(self.dtype).transpose(1, 2).unflatten(2, (self.grid, self.grid))
        # The projection of the image is the same for all objects.
        fused = encoder.feature_projection(pixels) + encoder.mask_downsampler(scaled.to(self.dtype))
        maps = encoder.projection(encoder.memory_fuser(fused))
        absent = self._model.occlusion_spatial_embedding_parameter
        if absent is not None:
            hidden = (~present).to(maps.dtype)[:, None, None, None]
            maps = maps + hidden * absent.to(maps.dtype)[..., None, None]
        return maps.flatten(2).transpose(1, 2)

    def pointers(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Project mask tokens to object pointers.

        Args:
            tokens: ``(n, C)``: the decoder's tokens of the chosen masks.
            present: ``(n,)`` ``bool``.

        Returns:
            ``(n, C)``.
        """
        pointers: Tensor = self._model.object_pointer_proj(tokens.to(self.dtype))
        return self.replace_absent(pointers, present)

    def replace_absent(self, pointers: Tensor, present: Tensor) -> Tensor:
        """Pointers in which absent objects have the model's "no object" pointer: ``(n, C)``."""
        nothing = self._model.no_object_pointer.to(pointers.dtype)
        return torch.where(present[:, None], pointers, nothing)

    def _keys_and_values(self, memories: MemoryBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Keys and values ``(n, K, M)``, and the rotation of each ``(K, d / 2)``, which is the
        identity for pointers: they have no position in the image."""
        count, number, channels = memories.pointers.shape
        splits = max(1, channels // memories.maps.shape[-1])
        pointers = memories.pointers.reshape(count, number * splits, -1).to(self.dtype)
        maps = memories.maps.to(self.dtype)
        encodings = self._model.memory_temporal_positional_encoding[:, 0, 0].to(
            self.dtype
        )  # (t, M)
        # Distance 0 takes the last row.
        times = encodings[memories.map_distances - 1][:, :, None]
        positioned_maps = maps + self._map_positions.to(self.dtype) + times
        positioned_pointers = pointers + self._pointer_positions(memories).repeat_interleave(
            splits, dim=1
        )
        keys = torch.cat((positioned_maps.flatten(1, 2), positioned_pointers), dim=1)
        values = torch.cat((maps.flatten(1, 2), pointers), dim=1)
        identity = self._rotations.new_ones(number * splits, self._rotations.shape[1])
        rotations = torch.cat((self._rotations.repeat(maps.shape[1], 1), identity))
        return keys, values, rotations

    def _pointer_positions(self, memories: MemoryBatch) -> Tensor:
        """Encoding of the pointers' distances: ``(n, p, M)``."""
        layer = self._model.temporal_positional_encoding_projection_layer
        distances = memories.pointer_distances
        if not self._model.config.enable_temporal_pos_encoding_for_object_pointers:
            return memories.pointers.new_zeros(*distances.shape, self._model.mem_dim)
        relative = distances.float() / memories.max_pointer_distance
        positions: Tensor = layer(
            _sine_encoding(relative, memories.pointers.shape[2]).to(self.dtype)
        )
        return positions

    def _attend(
        self, attention: Any, queries: Tensor, keys: Tensor, values: Tensor, rotations: Tensor
    ) -> Tensor:
        """Attention with rotary position encoding: ``(n, l, C)``."""
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
        q, k = _rotate(q, self._rotations), _rotate(k, rotations)
        q, k, v = (part.expand(count, -1, -1, -1) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, scale=attention.scaling)
        attended: Tensor = attention.o_proj(mixed.transpose(1, 2).flatten(2))
        return attended


def _rotate(vectors: Tensor, rotations: Tensor) -> Tensor:
    """Rotate ``(n, h, l, d)`` by complex ``(l, d / 2)``, in float32: a pair of channels each."""
    pairs = torch.view_as_complex(vectors.float().unflatten(3, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * rotations).flatten(3).to(vectors.dtype)


def resize(values: Tensor, side: int) -> Tensor:
    """``(n, 1, s, s)`` resized bilinearly to a side, with antialiasing when reduced."""
    if values.shape[-1] == side:
        return values
    return F.interpolate(
        values,
        size=(side, side),
        mode="bilinear",
        align_corners=False,
        antialias=values.shape[-1] > side,
    )


def _sine_encoding(positions: Tensor, channels: int) -> Tensor:
    """Sine and cosine encoding of positions: ``(…)`` → ``(…, channels)``."""
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float32, device=positions.device)
    angles = positions[..., None] / 10000 ** (2 * (steps // 2) / half)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)
