"""SAM 2's mask decoder, run for many prompts of an image at once.

The weights are those of the loaded model; only the order of the work differs from its own
forward pass, and the results agree to rounding:

- What does not depend on the prompt is computed once per image, not once per prompt: the first
  layer's keys, values and queries of the image's cells, and the finer features. These are a
  fifth of the arithmetic. Positions go through the projections once per model.
- The two transposed convolutions do not overlap (2×2 at stride 2), so each is a linear map from a
  cell to its four parts. Cells stay together to the end, and only the one mask that is wanted is
  put into reading order, not 64 channels and then 32.
- Sums and activations are done in place: on a CPU the forward pass spends half its time on sums,
  copies and fresh pages.

Sources: the two-way transformer of https://arxiv.org/abs/2304.02643, the mask decoder of
https://arxiv.org/abs/2408.00714 as `transformers` has it in ``Sam2MaskDecoder``, which
``EdgeTamModel`` and the two video models repeat unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from torch import Tensor

__all__ = ["CellFeatures", "Decoded", "MaskDecoder"]


@dataclass(frozen=True, slots=True, eq=False)
class CellFeatures:
    """What the decoder needs of ``b`` images of ``L`` cells each (64×64 for 1024×1024 pixels)."""

    cells: Tensor
    """``(b, L, C)``: image features, with the embedding of "no mask given" added."""
    key: Tensor
    """``(b, L, C/2)``: first layer, of the cells as the prompts see them."""
    value: Tensor
    query: Tensor
    """``(b, L, C/2)``: first layer, of the cells as they look at the prompts."""
    halves: Tensor
    """``(b, L, 4, C/4)``: finer features of each cell's 2×2 parts."""
    quarters: Tensor
    """``(b, L, 4, 4, C/8)``: and of each part's 2×2 parts."""

    def rows(self, images: Sequence[int]) -> CellFeatures:
        """Features for rows that each belong to an image: ``b`` becomes the number of rows.

        If all belong to the same, ``b`` becomes 1, and nothing is copied.
        """
        if len(set(images)) == 1:
            index: slice | list[int] = slice(images[0], images[0] + 1)
        else:
            index = list(images)
        return CellFeatures(*(getattr(self, name)[index] for name in self.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The answers to ``n`` prompts, four masks each.

    The first mask is for prompts that leave no doubt, the other three are readings of one that
    does: part, whole and thing around it.
    """

    masks: Tensor
    """``(n, 4, 16·L)``: logits by cell; see `MaskDecoder.in_reading_order`."""
    quality: Tensor
    """``(n, 4)``: predicted IoU."""
    tokens: Tensor
    """``(n, t, C)``: what the decoder's own tokens, and those of the prompt, have become."""

    def mask_tokens(self, choice: Tensor) -> Tensor:
        """The token of the chosen mask of each: ``(n,)`` → ``(n, C)``."""
        each = torch.arange(len(choice), device=choice.device)
        return self.tokens[each, 2 + choice]


class MaskDecoder:
    """The prompt-dependent half of SAM 2 and EdgeTAM.

    Reads the model's weights when it is made; make another after changing them.

    Args:
        model: a ``Sam2Model``, ``Sam2VideoModel``, ``EdgeTamModel`` or ``EdgeTamVideoModel``.
    """

    @torch.inference_mode()
    def __init__(self, model: Any) -> None:
        decoder = model.mask_decoder
        self._decoder = decoder
        self._layers = list(decoder.transformer.layers)
        self._last = decoder.transformer.final_attn_token_to_image
        self.dtype: torch.dtype = decoder.iou_token.weight.dtype
        self.grid: int = model.prompt_encoder.image_embedding_size[0]
        self._no_mask = model.prompt_encoder.no_mask_embed.weight.to(self.dtype)  # (1, C)
        self._tokens = torch.cat(
            (decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight)
        )
        positions = model.get_image_wide_positional_embeddings().to(self.dtype)
        positions = rearrange(positions, "1 c h w -> 1 (h w) c")
        readers = [layer.cross_attn_token_to_image for layer in self._layers] + [self._last]
        self._key_positions = [reader.k_proj(positions) for reader in readers]
        self._query_positions = [
            layer.cross_attn_image_to_token.q_proj(positions) for layer in self._layers
        ]
        self._upscale1 = rearrange(
            decoder.upscale_conv1.weight, "c d y x -> (y x d) c"
        ).contiguous()
        self._upscale2 = rearrange(
            decoder.upscale_conv2.weight, "c d y x -> (y x d) c"
        ).contiguous()

    @property
    def elements_per_row(self) -> int:
        """Size of the largest intermediate of `decode`, per prompt: the cells' quarters."""
        return self.grid**2 * 16 * (self._no_mask.shape[1] // 8)

    def prepare(self, features: Sequence[Tensor]) -> CellFeatures:
        """The work that all prompts of an image share.

        Args:
            features: the model's ``get_image_embeddings``, from fine to coarse:
                ``(b, C/8, 4g, 4g)``, ``(b, C/4, 2g, 2g)``, ``(b, C, g, g)``.
        """
        quarters, halves, coarse = (feature.to(self.dtype) for feature in features)
        cells = rearrange(coarse, "b c h w -> b (h w) c") + self._no_mask
        return CellFeatures(
            cells,
            *self._project(cells, 0),
            rearrange(halves, "b c (h y) (w x) -> b (h w) (y x) c", y=2, x=2)
            + self._decoder.upscale_conv1.bias,
            rearrange(quarters, "b c (h y v) (w x u) -> b (h w) (y x) (v u) c", y=2, x=2, v=2, u=2)
            + self._decoder.upscale_conv2.bias,
        )

    def seen_as(self, features: CellFeatures, cells: Tensor) -> CellFeatures:
        """The same image with other coarse features, one for each row: ``(n, L, C)``."""
        cells = cells.to(self.dtype) + self._no_mask
        return CellFeatures(cells, *self._project(cells, 0), features.halves, features.quarters)

    def decode(
        self, rows: CellFeatures, prompt_tokens: Tensor, mask_cells: Tensor | None = None
    ) -> Decoded:
        """Answer prompts.

        Args:
            rows: features of the ``n`` rows, or of one image that is shared by all.
            prompt_tokens: ``(n, t, C)``: embedded points and boxes.
            mask_cells: ``(n, C, g, g)``: embedded mask prompts, if there are any.
        """
        count = len(prompt_tokens)
        first = torch.cat((self._tokens.expand(count, -1, -1), prompt_tokens.to(self.dtype)), dim=1)
        tokens, cells = first, rows.cells
        projected = rows.key, rows.value, rows.query
        if mask_cells is not None:
            instead = rearrange(mask_cells, "n c h w -> n (h w) c") - self._no_mask
            cells = cells + instead.to(self.dtype)
            projected = self._project(cells, 0)
        for index, layer in enumerate(self._layers):
            if index:
                projected = self._project(cells, index)
            tokens, cells = self._layer(layer, tokens, first, cells, projected)
        key = F.linear(cells, self._last.k_proj.weight).add_(self._key_positions[-1])
        read = _attend(self._last, tokens + first, key, self._last.v_proj(cells))
        tokens = self._decoder.transformer.layer_norm_final_attn(tokens + read)
        quality = self._decoder.iou_prediction_head(tokens[:, 1])
        return Decoded(self._masks(tokens, cells, rows), quality, tokens)

    def score(self, decoded: Decoded) -> Tensor:
        """How sure it is that what was asked for is in the image: ``(n,)`` logits."""
        scores: Tensor = self._decoder.pred_obj_score_head(decoded.tokens[:, 0])
        return scores[:, 0]

    def choose(self, decoded: Decoded, *, multimask: bool) -> Tensor:
        """Which of the four masks is the answer: ``(n,)`` ``int64``.

        With ``multimask`` the best by its own prediction of the last three. Without, the first,
        unless the checkpoint's configuration has ``dynamic_multimask_via_stability`` and the mask
        changes much when its threshold changes little: then, too, the best of the three.
        """
        masks = decoded.masks
        best = decoded.quality[:, 1:].argmax(dim=1) + 1
        if multimask:
            return best
        if not self._decoder.dynamic_multimask_via_stability:
            return torch.zeros_like(best)
        delta = self._decoder.dynamic_multimask_stability_delta
        smaller = (masks[:, 0] > delta).sum(dim=1).float()
        larger = (masks[:, 0] > -delta).sum(dim=1).float()
        stability = torch.where(larger > 0, smaller / larger, 1.0)
        return torch.where(stability >= self._decoder.dynamic_multimask_stability_thresh, 0, best)

    def in_reading_order(self, masks: Tensor) -> Tensor:
        """From cell by cell to rows and columns: ``(n, 16·L)`` → ``(n, 4g, 4g)``."""
        return rearrange(
            masks,
            "n (h w y x v u) -> n (h y v) (w x u)",
            h=self.grid,
            w=self.grid,
            y=2,
            x=2,
            v=2,
            u=2,
        )

    def _project(self, cells: Tensor, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, values and queries of the cells in a layer's two cross-attentions."""
        reader = self._layers[index].cross_attn_token_to_image
        writer = self._layers[index].cross_attn_image_to_token
        return (
            F.linear(cells, reader.k_proj.weight).add_(self._key_positions[index]),
            reader.v_proj(cells),
            F.linear(cells, writer.q_proj.weight).add_(self._query_positions[index]),
        )

    def _layer(
        self,
        layer: Any,
        tokens: Tensor,
        first: Tensor,
        cells: Tensor,
        projected: tuple[Tensor, Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Tokens look at each other, then at the cells; then the cells look at the tokens."""
        own = layer.self_attn
        if layer.skip_first_layer_pe:
            tokens = _attend(own, tokens, own.k_proj(tokens), own.v_proj(tokens))
        else:
            placed = tokens + first
            tokens = tokens + _attend(own, placed, own.k_proj(placed), own.v_proj(tokens))
        tokens = layer.layer_norm1(tokens)
        key, value, query = projected
        read = _attend(layer.cross_attn_token_to_image, tokens + first, key, value)
        tokens = layer.layer_norm2(tokens + read)
        tokens = layer.layer_norm3(tokens + layer.mlp(tokens))
        writer = layer.cross_attn_image_to_token
        placed = tokens + first
        heard = _mix(writer, query, writer.k_proj(placed), writer.v_proj(tokens))
        return tokens, layer.layer_norm4(writer.o_proj(heard).add_(cells))

    def _masks(self, tokens: Tensor, cells: Tensor, rows: CellFeatures) -> Tensor:
        """Every mask token's filter on the cells at four times their resolution."""
        decoder = self._decoder
        count, length, _ = cells.shape
        norm = decoder.upscale_layer_norm
        halves = F.linear(cells, self._upscale1).view(count, length, 4, -1).add_(rows.halves)
        halves = F.layer_norm(halves, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        quarters = F.linear(_gelu_(halves), self._upscale2).view(count, length, 4, 4, -1)
        quarters = _gelu_(quarters.add_(rows.quarters)).view(count, length * 16, -1)
        filters = torch.stack(
            [
                network(tokens[:, 2 + index])
                for index, network in enumerate(decoder.output_hypernetworks_mlps)
            ],
            dim=1,
        )
        return filters @ quarters.transpose(1, 2)


def _attend(attention: Any, queries: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One attention from unprojected queries to projected keys and values."""
    mixed: Tensor = attention.o_proj(_mix(attention, attention.q_proj(queries), key, value))
    return mixed


def _mix(attention: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention over heads; whichever side has one row shares it with all rows of the other."""
    count = max(len(query), len(key))
    # (n, l, h·d) → (n, h, l, d); einops would cost as much as the attention of a small model.
    q, k, v = (
        part.expand(count, -1, -1).unflatten(2, (-1, attention.head_dim)).transpose(1, 2)
        for part in (query, key, value)
    )
    mixed = F.scaled_dot_product_attention(q, k, v, scale=attention.scaling)
    return mixed.transpose(1, 2).flatten(2)


def _gelu_(values: Tensor) -> Tensor:
    """GELU in place, which `torch.nn.functional` does not offer."""
    result: Tensor = torch.ops.aten.gelu_(values)
    return result
