"""SAM 2's mask decoder for many prompts of an image at once.

The weights are those of the loaded model; only the order of the computation differs from its own
forward pass, and the results agree to rounding:

- What does not depend on the prompt is computed once per image, not once per prompt: the first
  layer's keys, values and queries of the image's cells, and the finer features. This is a fifth of
  the arithmetic. Positions are projected once per model.
- The two transposed convolutions do not overlap (2×2 at stride 2), so each is a linear map from a
  cell to its four parts. The parts of a cell stay contiguous to the end, and only the chosen
  mask is converted to raster order, not 64 channels and then 32.
- Sums and activations are computed in place: on a CPU the forward pass spends half its time on
  sums, copies and page faults.

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

__all__ = ["DecoderFeatures", "DecoderOutput", "MaskDecoder"]


@dataclass(frozen=True, slots=True, eq=False)
class DecoderFeatures:
    """Decoder inputs of ``b`` images of ``L`` cells each (64×64 for 1024×1024 pixels)."""

    cells: Tensor
    """``(b, L, C)``: image features, with the embedding of "no mask given" added."""
    key: Tensor
    """``(b, L, C/2)``: keys of the cells in the first layer's token-to-image attention."""
    value: Tensor
    """``(b, L, C/2)``: values in the same attention."""
    query: Tensor
    """``(b, L, C/2)``: queries of the cells in the first layer's image-to-token attention."""
    features_2x: Tensor
    """``(b, L, 4, C/4)``: features of twice the resolution, the 2×2 parts of each cell."""
    features_4x: Tensor
    """``(b, L, 4, 4, C/8)``: features of four times the resolution, the 2×2 parts of each part."""

    def gather(self, images: Sequence[int]) -> DecoderFeatures:
        """Features of rows, given the image of each: ``b`` becomes the number of rows.

        If all rows have the same image, ``b`` becomes 1, and nothing is copied.
        """
        if len(set(images)) == 1:
            index: slice | list[int] = slice(images[0], images[0] + 1)
        else:
            index = list(images)
        return DecoderFeatures(*(getattr(self, name)[index] for name in self.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class DecoderOutput:
    """Four masks for each of ``n`` prompts.

    The first is for unambiguous prompts, the other three are alternatives for an ambiguous one:
    part, whole and surrounding object.
    """

    masks: Tensor
    """``(n, 4, 16·L)``: logits by cell; see `MaskDecoder.to_raster_order`."""
    quality: Tensor
    """``(n, 4)``: predicted IoU."""
    tokens: Tensor
    """``(n, t, C)``: final values of the decoder's own tokens, then of the prompt's."""

    def mask_tokens(self, choice: Tensor) -> Tensor:
        """The tokens of the chosen masks: ``(n,)`` → ``(n, C)``."""
        each = torch.arange(len(choice), device=choice.device)
        return self.tokens[each, 2 + choice]


class MaskDecoder:
    """The prompt-dependent half of SAM 2 and EdgeTAM.

    Copies and projects some weights at construction: construct another after changing them.

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
        """Elements of the largest intermediate of `decode` per prompt: the cells at four times the
        resolution."""
        return self.grid**2 * 16 * (self._no_mask.shape[1] // 8)

    def prepare(self, features: Sequence[Tensor]) -> DecoderFeatures:
        """Compute what all prompts of an image share.

        Args:
            features: the model's ``get_image_embeddings``, from fine to coarse:
                ``(b, C/8, 4g, 4g)``, ``(b, C/4, 2g, 2g)``, ``(b, C, g, g)``.
        """
        fine_4x, fine_2x, coarse = (feature.to(self.dtype) for feature in features)
        cells = rearrange(coarse, "b c h w -> b (h w) c") + self._no_mask
        return DecoderFeatures(
            cells,
            *self._project(cells, 0),
            rearrange(fine_2x, "b c (h y) (w x) -> b (h w) (y x) c", y=2, x=2)
            + self._decoder.upscale_conv1.bias,
            rearrange(fine_4x, "b c (h y v) (w x u) -> b (h w) (y x) (v u) c", y=2, x=2, v=2, u=2)
            + self._decoder.upscale_conv2.bias,
        )

    def with_cells(self, features: DecoderFeatures, cells: Tensor) -> DecoderFeatures:
        """The features of an image with other coarse features for each row: ``(n, L, C)``."""
        cells = cells.to(self.dtype) + self._no_mask
        return DecoderFeatures(
            cells, *self._project(cells, 0), features.features_2x, features.features_4x
        )

    def decode(
        self, features: DecoderFeatures, prompt_tokens: Tensor, mask_cells: Tensor | None = None
    ) -> DecoderOutput:
        """Predict the masks of prompts.

        Args:
            features: of the ``n`` rows, or of one image that all rows share.
            prompt_tokens: ``(n, t, C)``: embedded points and boxes.
            mask_cells: ``(n, C, g, g)``: embedded mask prompts, if any.
        """
        count = len(prompt_tokens)
        first = torch.cat((self._tokens.expand(count, -1, -1), prompt_tokens.to(self.dtype)), dim=1)
        tokens, cells = first, features.cells
        projected = features.key, features.value, features.query
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
        return DecoderOutput(self._masks(tokens, cells, features), quality, tokens)

    def score(self, output: DecoderOutput) -> Tensor:
        """Object score: logit that the prompted object is in the image, ``(n,)``."""
        scores: Tensor = self._decoder.pred_obj_score_head(output.tokens[:, 0])
        return scores[:, 0]

    def choose(self, output: DecoderOutput, *, multimask: bool) -> Tensor:
        """Index of the mask to use of the four of each prompt: ``(n,)`` ``int64``.

        With ``multimask`` the last three compete by predicted quality. Without, it is the first,
        unless the checkpoint's configuration has ``dynamic_multimask_via_stability`` and the first
        is unstable (changes much when its threshold changes little): then, too, the best of three.
        """
        masks = output.masks
        best = output.quality[:, 1:].argmax(dim=1) + 1
        if multimask:
            return best
        if not self._decoder.dynamic_multimask_via_stability:
            return torch.zeros_like(best)
        delta = self._decoder.dynamic_multimask_stability_delta
        smaller = (masks[:, 0] > delta).sum(dim=1).float()
        larger = (masks[:, 0] > -delta).sum(dim=1).float()
        stability = torch.where(larger > 0, smaller / larger, 1.0)
        return torch.where(stability >= self._decoder.dynamic_multimask_stability_thresh, 0, best)

    def to_raster_order(self, masks: Tensor) -> Tensor:
        """Convert masks from cell order to rows and columns: ``(n, 16·L)`` → ``(n, 4g, 4g)``."""
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
        """Self-attention of the tokens, then token-to-image and image-to-token attention."""
        own = layer.self_attn
        if layer.skip_first_layer_pe:
            tokens = _attend(own, tokens, own.k_proj(tokens), own.v_proj(tokens))
        else:
            positioned = tokens + first
            tokens = tokens + _attend(own, positioned, own.k_proj(positioned), own.v_proj(tokens))
        tokens = layer.layer_norm1(tokens)
        key, value, query = projected
        read = _attend(layer.cross_attn_token_to_image, tokens + first, key, value)
        tokens = layer.layer_norm2(tokens + read)
        tokens = layer.layer_norm3(tokens + layer.mlp(tokens))
        writer = layer.cross_attn_image_to_token
        positioned = tokens + first
        mixed = _mix(writer, query, writer.k_proj(positioned), writer.v_proj(tokens))
        return tokens, layer.layer_norm4(writer.o_proj(mixed).add_(cells))

    def _masks(self, tokens: Tensor, cells: Tensor, features: DecoderFeatures) -> Tensor:
        """Mask logits: each mask token's filter, applied to the upscaled cells."""
        decoder = self._decoder
        count, length, _ = cells.shape
        norm = decoder.upscale_layer_norm
        doubled = (
            F.linear(cells, self._upscale1).view(count, length, 4, -1).add_(features.features_2x)
        )
        doubled = F.layer_norm(doubled, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        upscaled = F.linear(_gelu_(doubled), self._upscale2).view(count, length, 4, 4, -1)
        upscaled = _gelu_(upscaled.add_(features.features_4x)).view(count, length * 16, -1)
        filters = torch.stack(
            [
                network(tokens[:, 2 + index])
                for index, network in enumerate(decoder.output_hypernetworks_mlps)
            ],
            dim=1,
        )
        return filters @ upscaled.transpose(1, 2)


def _attend(attention: Any, queries: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of unprojected queries to projected keys and values, with output projection."""
    mixed: Tensor = attention.o_proj(_mix(attention, attention.q_proj(queries), key, value))
    return mixed


def _mix(attention: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Multi-head attention without projections; a side with one row shares it with all rows of the
    other."""
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
