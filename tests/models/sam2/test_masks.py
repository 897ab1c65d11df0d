"""Encoding at the size of the image, against upsampling whole masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from grounded_sam2.geometry.rle import decode, encode
from grounded_sam2.models.sam2.masks import to_rles

SIZES = {
    "upsampled": (100, 140),
    "by whole numbers": (64, 96),
    "as it is": (16, 16),
    "downsampled": (7, 11),
    "tall": (301, 5),
    "one row": (1, 50),
    "one pixel": (1, 1),
}


def blobs(count: int, seed: int, side: int = 16) -> torch.Tensor:
    """Noisy discs of all sizes and positions: many logits are near 0."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    centers, radii = rng.uniform(0, side, (2, count, 1, 1)), rng.uniform(0, side, (count, 1, 1))
    distance = np.hypot(y - centers[0], x - centers[1])
    return torch.from_numpy((radii - distance + rng.normal(0, 1, distance.shape)).astype("f4"))


def upsampled(logits: torch.Tensor, size_hw: tuple[int, int], threshold: float) -> np.ndarray:
    """SAM 2's own post-processing: upsample whole masks, then threshold."""
    full = F.interpolate(logits[:, None], size_hw, mode="bilinear", align_corners=False)
    return (full[:, 0] > threshold).numpy()


@pytest.mark.parametrize("size_hw", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("threshold", [0.0, 0.7, -1.5])
def test_equals_upsampling_the_whole_image(size_hw: tuple[int, int], threshold: float) -> None:
    logits = blobs(12, seed=3)
    expected = encode(upsampled(logits, size_hw, threshold))
    assert to_rles(logits, size_hw, threshold=threshold) == expected


@pytest.mark.parametrize("elements", [1, 50, 1000, 10**9])
def test_the_result_does_not_depend_on_the_elements_held(elements: int) -> None:
    logits = blobs(20, seed=4)
    expected = encode(upsampled(logits, (90, 61), 0.0))
    assert to_rles(logits, (90, 61), max_elements=elements) == expected


@pytest.mark.parametrize(
    ("given", "limit"), [({}, 2**18), ({"max_elements": 2**16}, 2**16)], ids=["default", "given"]
)
def test_full_resolution_values_are_bounded(
    given: dict[str, int], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 0
    lerp = torch.Tensor.lerp_

    def watched(values: torch.Tensor, *args: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, values.numel())
        return lerp(values, *args)

    monkeypatch.setattr(torch.Tensor, "lerp_", watched)
    to_rles(torch.ones(3, 16, 16), (2000, 3000), **given)
    assert 0 < largest <= limit


@pytest.mark.parametrize(
    "place", [(0, 0), (15, 15), (0, 9), (9, 15)], ids=["corner", "far corner", "top", "right"]
)
def test_one_pixel_anywhere(place: tuple[int, int]) -> None:
    logits = torch.full((1, 16, 16), -1.0)
    logits[0, place[0], place[1]] = 1.0
    assert to_rles(logits, (77, 90)) == encode(upsampled(logits, (77, 90), 0.0))


def test_empty_and_full_masks_side_by_side() -> None:
    logits = torch.stack([torch.full((16, 16), -1.0), torch.ones(16, 16), torch.zeros(16, 16)])
    dense = decode(to_rles(logits, (40, 30)))
    assert dense.mean(axis=(1, 2)).tolist() == [0.0, 1.0, 0.0]


def test_no_masks() -> None:
    assert to_rles(torch.zeros(0, 16, 16), (40, 30)) == []


def test_half_precision_is_upsampled_in_float32() -> None:
    logits = blobs(5, seed=5).bfloat16()
    assert to_rles(logits, (90, 61)) == to_rles(logits.float(), (90, 61))
