"""The decoder against the model's own, with the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from grounded_sam2.models.sam2.decoder import DecoderOutput, MaskDecoder

CLASSES = {
    "sam2": "Sam2Model",
    "sam2_video": "Sam2VideoModel",
    "edgetam": "EdgeTamModel",
    "edgetam_video": "EdgeTamVideoModel",
}
COUNT = 5


@pytest.fixture(params=CLASSES, scope="module")
def model(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> Any:
    cls = getattr(transformers, CLASSES[request.param])
    return cls.from_pretrained(checkpoints[request.param]).eval()


@pytest.fixture(scope="module")
def features(model: Any) -> list[Tensor]:
    """Features of two images."""
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return list(model.get_image_embeddings(pixels))


def embedded(model: Any, *, boxes: bool, points: bool, masks: bool) -> tuple[Tensor, Tensor]:
    """Random prompts, one per row, from the model's own prompt encoder."""
    generator = torch.Generator().manual_seed(2)
    corners = torch.rand(COUNT, 1, 2, 2, generator=generator).sort(dim=2).values * 64
    spots = torch.rand(COUNT, 1, 3, 2, generator=generator) * 64
    labels = torch.tensor([[1, 0, -1]]).expand(COUNT, 1, 3)
    logits = torch.randn(COUNT, 1, 16, 16, generator=generator) * 5
    sparse, dense = model.prompt_encoder(
        spots if points else None,
        labels if points else None,
        corners.flatten(2) if boxes else None,
        logits if masks else None,
    )
    return sparse, dense


def reference(
    model: Any, features: list[Tensor], images: list[int], prompts: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """All four masks and their quality from the model's own decoder, one row per image."""
    decoder, positions = model.mask_decoder, model.get_image_wide_positional_embeddings()
    by_stability = decoder.dynamic_multimask_via_stability
    decoder.dynamic_multimask_via_stability = False  # the first mask, however unstable
    outputs = [
        decoder(
            image_embeddings=features[2][images],
            image_positional_embeddings=positions.repeat(len(images), 1, 1, 1),
            sparse_prompt_embeddings=prompts[0],
            dense_prompt_embeddings=prompts[1],
            multimask_output=multimask,
            high_resolution_features=[features[0][images], features[1][images]],
        )
        for multimask in (False, True)
    ]
    decoder.dynamic_multimask_via_stability = by_stability
    (first, first_quality, *_), (others, other_quality, *_) = outputs
    masks = torch.cat((first[:, 0], others[:, 0]), dim=1)
    return masks, torch.cat((first_quality[:, 0], other_quality[:, 0]), dim=1)


@pytest.mark.parametrize("images", [[1] * COUNT, [0, 0, 1, 1, 1]], ids=["shared", "mixed"])
@pytest.mark.parametrize(
    "given",
    [
        {"boxes": True, "points": False, "masks": False},
        {"boxes": False, "points": True, "masks": False},
        {"boxes": True, "points": True, "masks": False},
        {"boxes": True, "points": False, "masks": True},
    ],
    ids=lambda given: "+".join(name for name, is_given in given.items() if is_given),
)
@torch.inference_mode()
def test_agrees_with_the_model(
    model: Any, features: list[Tensor], images: list[int], given: dict[str, bool]
) -> None:
    prompts = embedded(model, **given)
    expected_masks, expected_quality = reference(model, features, images, prompts)
    decoder = MaskDecoder(model)
    rows = decoder.prepare(features).gather(images)
    cells = prompts[1] if given["masks"] else None
    decoded = decoder.decode(rows, prompts[0][:, 0], cells)
    torch.testing.assert_close(decoded.quality, expected_quality, rtol=1e-4, atol=1e-5)
    scale = float(expected_masks.abs().max())
    assert scale > 0.1, "logits too small for a comparison"
    for index in range(4):
        torch.testing.assert_close(
            decoder.to_raster_order(decoded.masks[:, index]),
            expected_masks[:, index],
            rtol=1e-4,
            atol=1e-5 * scale,
        )


NO_TOKENS = torch.zeros(1, 0, 0)


def cell_masks(decoder: MaskDecoder, values: list[float]) -> Tensor:
    """Constant masks with some of the first one's pixels at given values."""
    masks = torch.full((1, 4, decoder.grid**2 * 16), 9.0)
    masks[0, 0, : len(values)] = torch.tensor(values)
    return masks


@pytest.mark.parametrize(
    ("values", "multimask", "choice"),
    [
        ([], False, 0),
        ([0.01] * 5, False, 0),  # 5 of 256 pixels within the margin: 98.05 % stable
        ([0.01] * 6, False, 2),
        ([-9.0] * 256, False, 0),  # an empty mask is stable
        ([], True, 2),
    ],
)
def test_an_unstable_first_mask_is_replaced_by_the_best_of_three(
    checkpoints: dict[str, Path], values: list[float], multimask: bool, choice: int
) -> None:
    decoder = MaskDecoder(transformers.Sam2Model.from_pretrained(checkpoints["sam2"]))
    quality = torch.tensor([[0.99, 0.1, 0.7, 0.6]])
    masks = cell_masks(decoder, values)
    assert decoder.choose(
        DecoderOutput(masks, quality, NO_TOKENS), multimask=multimask
    ).tolist() == [choice]


def test_the_checkpoint_can_disable_the_stability_check(checkpoints: dict[str, Path]) -> None:
    model = transformers.Sam2Model.from_pretrained(checkpoints["sam2"])
    model.mask_decoder.dynamic_multimask_via_stability = False
    decoder = MaskDecoder(model)
    quality = torch.tensor([[0.1, 0.2, 0.7, 0.6]])
    masks = cell_masks(decoder, [0.01] * 100)
    assert decoder.choose(DecoderOutput(masks, quality, NO_TOKENS), multimask=False).tolist() == [0]


def test_the_features_of_one_image_are_shared_not_copied(
    model: Any, features: list[Tensor]
) -> None:
    prepared = MaskDecoder(model).prepare(features)
    shared = prepared.gather([1, 1, 1])
    assert shared.cells.shape[0] == 1
    assert shared.cells.data_ptr() == prepared.cells[1].data_ptr()
    assert prepared.gather([0, 1, 1]).cells.shape[0] == 3
