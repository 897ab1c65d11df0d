"""The segmenter against the models' own processors and forward passes, and its batching."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor

from grounded_sam2.config import load_config
from grounded_sam2.errors import CheckpointError, PromptError
from grounded_sam2.geometry.rle import decode
from grounded_sam2.models.protocols import Segmenter
from grounded_sam2.models.sam2 import Prompts, Sam2Options, Sam2Segmenter
from grounded_sam2.models.sam2.decoder import DecoderOutput
from grounded_sam2.results import SegmentedMasks

BOXES = [[3, 4, 40, 41], [20.5, 10, 69, 45], [0, 0, 70, 50]]
SIZES = [(50, 70), (90, 33), (64, 64), (3, 40)]


@pytest.fixture(scope="module")
def images() -> list[NDArray[np.uint8]]:
    """Four sizes: wide, tall, square and all but flat."""
    rng = np.random.default_rng(0)
    small = [rng.integers(0, 256, (-(-h // 8), -(-w // 8), 3), np.uint8) for h, w in SIZES]
    large = [image.repeat(8, axis=0).repeat(8, axis=1) for image in small]
    return [image[:h, :w] for image, (h, w) in zip(large, SIZES, strict=True)]


def load(folder: Path, **options: Any) -> Sam2Segmenter:
    return Sam2Segmenter.from_pretrained(
        folder, device="cpu", options=Sam2Options(**options), local_files_only=True
    )


@pytest.fixture(scope="module")
def segmenter(checkpoints: dict[str, Path]) -> Sam2Segmenter:
    return load(checkpoints["sam2"], complement="flag")


class Reference:
    """A model with its own processor, one image at a time, as in its documentation."""

    def __init__(self, folder: Path, cls: type[Any] = transformers.Sam2Model) -> None:
        self.model = cls.from_pretrained(folder).eval()
        self.processor = transformers.Sam2Processor(
            transformers.Sam2ImageProcessor.from_pretrained(folder)
        )

    @torch.inference_mode()
    def __call__(
        self, image: NDArray[np.uint8], *, multimask: bool = False, **prompts: Any
    ) -> tuple[NDArray[np.bool_], Tensor, Tensor]:
        """Masks ``(n, h, w)``, quality ``(n,)``, logits ``(n, s, s)``, the best if of three."""
        masks = prompts.pop("input_masks", None)
        inputs = self.processor(
            images=image, input_data_format="channels_last", return_tensors="pt", **prompts
        )
        sizes = inputs.pop("original_sizes")
        output = self.model(**inputs, input_masks=masks, multimask_output=multimask)
        [full] = self.processor.post_process_masks(output.pred_masks, sizes)
        quality, best = output.iou_scores[0].max(dim=1)
        each = torch.arange(len(best))
        return full[each, best].numpy(), quality, output.pred_masks[0][each, best]


def assert_same(
    predicted: SegmentedMasks, expected: tuple[NDArray[np.bool_], Tensor, Tensor]
) -> None:
    masks, quality, logits = expected
    torch.testing.assert_close(torch.from_numpy(predicted.quality), quality, rtol=1e-4, atol=1e-5)
    assert predicted.low_res_logits is not None
    torch.testing.assert_close(
        torch.from_numpy(predicted.low_res_logits), logits, rtol=1e-3, atol=1e-3
    )
    ours = decode(predicted.masks)
    assert ours.shape == masks.shape
    assert 0.01 < masks.mean() < 0.99, "the masks are all but constant"
    assert (ours != masks).mean() < 1e-3  # rounding can change pixels whose logit is near 0


# --- agreement with the models' own code


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("sam2", transformers.Sam2Model),
        ("sam2_video", transformers.Sam2Model),
        ("edgetam", transformers.EdgeTamModel),
        ("edgetam_video", transformers.EdgeTamModel),
    ],
)
def test_boxes(
    kind: str, reference: type[Any], checkpoints: dict[str, Path], images: list[Any]
) -> None:
    """Checkpoints for video predict the masks of the image classes with the same weights."""
    segmenter = load(checkpoints[kind], complement="flag")
    assert type(segmenter.model).__name__.lower().removesuffix("model") == kind.replace("_", "")
    [predicted] = segmenter.segment(
        segmenter.encode(images[:1]), [Prompts(boxes_xyxy=BOXES)], return_logits=True
    )
    expected = Reference(checkpoints[kind], reference)(images[0], input_boxes=[BOXES])
    assert_same(predicted, expected)


@pytest.fixture(scope="module")
def reference(checkpoints: dict[str, Path]) -> Reference:
    return Reference(checkpoints["sam2"])


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("index", range(len(SIZES)))
def test_a_point_on_images_of_all_shapes(
    index: int,
    multimask: bool,
    segmenter: Sam2Segmenter,
    reference: Reference,
    images: list[Any],
) -> None:
    points, labels = [[[9, 2]], [[30, 1]]], [[1], [0]]
    [predicted] = segmenter.segment(
        segmenter.encode([images[index]]),
        [Prompts(points_xy=points, point_labels=labels)],
        multimask=multimask,
        return_logits=True,
    )
    expected = reference(
        images[index], input_points=[points], input_labels=[labels], multimask=multimask
    )
    assert_same(predicted, expected)


def test_ignored_points_and_a_box_with_points(
    segmenter: Sam2Segmenter, reference: Reference, images: list[Any]
) -> None:
    points, labels = [[[9, 2], [50, 40], [1, 1]]], [[1, 0, -1]]
    prompts = Prompts(points_xy=points, point_labels=labels, boxes_xyxy=BOXES[:1])
    [predicted] = segmenter.segment(segmenter.encode(images[:1]), [prompts], return_logits=True)
    expected = reference(
        images[0], input_points=[points], input_labels=[labels], input_boxes=[BOXES[:1]]
    )
    assert_same(predicted, expected)


def test_mask_logits_refine_a_mask(
    segmenter: Sam2Segmenter, reference: Reference, images: list[Any]
) -> None:
    embeddings = segmenter.encode(images[:1])
    boxes = Prompts(boxes_xyxy=BOXES)
    [first] = segmenter.segment(embeddings, [boxes], return_logits=True)
    refined = replace(boxes, mask_logits=first.low_res_logits)
    [predicted] = segmenter.segment(embeddings, [refined], return_logits=True)
    for index, box in enumerate(BOXES):  # the model itself takes one mask prompt per image
        masks = torch.from_numpy(first.low_res_logits[None, index : index + 1])
        expected = reference(images[0], input_boxes=[[box]], input_masks=masks)
        part = slice(index, index + 1)
        assert_same(
            SegmentedMasks(
                predicted.masks[part],
                predicted.quality[part],
                predicted.complement[part],
                predicted.low_res_logits[part],
            ),
            expected,
        )


def test_mask_logits_alone_are_a_prompt(
    segmenter: Sam2Segmenter, reference: Reference, images: list[Any]
) -> None:
    logits = np.random.default_rng(1).normal(0, 5, (1, 16, 16)).astype(np.float32)
    [predicted] = segmenter.segment(
        segmenter.encode(images[:1]), [Prompts(mask_logits=logits)], return_logits=True
    )
    assert_same(predicted, reference(images[0], input_masks=torch.from_numpy(logits[None])))


# --- many prompts on many images


def equal_masks(first: SegmentedMasks, second: SegmentedMasks) -> bool:
    same_pixels = decode(first.masks) == decode(second.masks)
    return bool(same_pixels.mean() > 0.999 and np.allclose(first.quality, second.quality, 1e-3))


@pytest.mark.parametrize("prompts_per_batch", [1, 2, 64])
def test_different_numbers_and_forms_in_one_call(
    prompts_per_batch: int, checkpoints: dict[str, Path], images: list[Any]
) -> None:
    segmenter = load(checkpoints["sam2"], prompts_per_batch=prompts_per_batch, complement="flag")
    rng = np.random.default_rng(2)
    boxes = np.sort(rng.uniform(0, 33, (7, 2, 2)), axis=1).reshape(7, 4)
    prompts = [
        Prompts(boxes_xyxy=boxes),
        Prompts(),
        Prompts(boxes_xyxy=boxes[:1], points_xy=[[[3, 3]]], point_labels=[[1]]),
        Prompts(boxes_xyxy=boxes[2:5]),
    ]
    together = segmenter.segment(segmenter.encode(images), prompts)
    assert [len(predicted) for predicted in together] == [7, 0, 1, 3]
    for image, given, predicted in zip(images, prompts, together, strict=True):
        for index in range(len(given)):
            alone = Prompts(
                boxes_xyxy=given.boxes_xyxy[index : index + 1],
                points_xy=None if given.points_xy is None else given.points_xy,
                point_labels=None if given.point_labels is None else given.point_labels,
            )
            [expected] = segmenter.segment(segmenter.encode([image]), [alone])
            part = slice(index, index + 1)
            got = SegmentedMasks(
                predicted.masks[part], predicted.quality[part], predicted.complement[part]
            )
            assert equal_masks(got, expected)


def test_batches_have_at_most_the_configured_size(
    checkpoints: dict[str, Path], images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = load(checkpoints["sam2"], prompts_per_batch=3, complement="flag")
    steps = []
    decode_rows = segmenter.predictor.decoder.decode

    def watched(rows: Any, tokens: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        steps.append(len(tokens))
        return decode_rows(rows, tokens, masks)

    monkeypatch.setattr(segmenter.predictor.decoder, "decode", watched)
    segmenter.segment_boxes(images[:2], [np.array(BOXES[:2] * 2), np.array(BOXES)])
    assert steps == [3, 3, 1]


def test_batches_that_do_not_fit_into_memory_are_halved(
    checkpoints: dict[str, Path], images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = load(checkpoints["sam2"], complement="flag")
    boxes = [np.array(BOXES[:2] * 2), np.array(BOXES)]
    whole = segmenter.segment_boxes(images[:2], boxes)
    steps = []
    decode_rows = segmenter.predictor.decoder.decode

    def small(rows: Any, tokens: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        steps.append(len(tokens))
        if len(tokens) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode_rows(rows, tokens, masks)

    monkeypatch.setattr(segmenter.predictor.decoder, "decode", small)
    halved = segmenter.segment_boxes(images[:2], boxes)
    assert steps[0] == 7
    assert max(steps[1:]) == 3  # 7 → 3 → 1
    assert all(equal_masks(one, other) for one, other in zip(halved, whole, strict=True))


def test_the_deferred_step_can_run_later_in_another_thread(
    segmenter: Sam2Segmenter, images: list[Any]
) -> None:
    boxes = [np.array(BOXES[:2]), np.zeros((0, 4), np.float32), np.array(BOXES)]
    finish = segmenter.start_segment_boxes(images[:3], boxes)
    segmenter.segment_boxes(images[:1], boxes[:1])  # in use in between
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(finish).result()
    at_once = segmenter.segment_boxes(images[:3], boxes)
    assert [len(predicted) for predicted in later] == [2, 0, 3]
    for image in (0, 2):
        assert equal_masks(later[image], at_once[image])


def test_images_without_boxes_are_not_encoded(
    segmenter: Sam2Segmenter, images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = segmenter.model.get_image_embeddings

    def watched(pixels: Tensor) -> list[Tensor]:
        encoded.append(len(pixels))
        return list(encode(pixels))

    monkeypatch.setattr(segmenter.model, "get_image_embeddings", watched)
    none = np.zeros((0, 4), np.float32)
    predictions = segmenter.segment_boxes(images[:3], [none, np.array(BOXES[:1]), none])
    assert [len(predicted) for predicted in predictions] == [0, 1, 0]
    assert encoded == [1]
    assert segmenter.segment_boxes(images[:1], [none])[0].masks == ()
    assert segmenter.segment_boxes([], []) == []
    assert encoded == [1]


def test_logits_are_returned_on_request(segmenter: Sam2Segmenter, images: list[Any]) -> None:
    embeddings = segmenter.encode(images[:2])
    prompts = [Prompts(boxes_xyxy=BOXES), Prompts()]
    assert segmenter.segment(embeddings, prompts)[0].low_res_logits is None
    with_logits = segmenter.segment(embeddings, prompts, return_logits=True)
    assert [predicted.low_res_logits.shape for predicted in with_logits] == [
        (3, 16, 16),
        (0, 16, 16),
    ]
    assert with_logits[0].low_res_logits.dtype == np.float32


def test_a_higher_threshold_gives_the_same_logits_and_a_smaller_mask(
    segmenter: Sam2Segmenter, checkpoints: dict[str, Path], images: list[Any]
) -> None:
    strict = load(checkpoints["sam2"], mask_threshold=2.0, complement="flag")
    prompts = [Prompts(boxes_xyxy=BOXES)]
    [usual] = segmenter.segment(segmenter.encode(images[:1]), prompts, return_logits=True)
    [smaller] = strict.segment(strict.encode(images[:1]), prompts, return_logits=True)
    np.testing.assert_allclose(smaller.low_res_logits, usual.low_res_logits, atol=1e-5)
    for one, other in zip(decode(smaller.masks), decode(usual.masks), strict=True):
        assert one.sum() < other.sum()
        assert not (one & ~other).any()


# --- complements


class Contrary:
    """A decoder that predicts the complement: always, or without a mask prompt if it learns."""

    def __init__(self, segmenter: Sam2Segmenter, *, learns: bool) -> None:
        self.learns = learns
        self.grid = segmenter.predictor.decoder.grid
        self.mask_prompts: list[Tensor | None] = []

    def __call__(
        self, rows: Any, tokens: Tensor, mask_cells: Tensor | None = None
    ) -> DecoderOutput:
        self.mask_prompts.append(mask_cells)
        mask = torch.full((len(tokens), 4, self.grid**2, 16), -4.0)
        mask[:, :, self.grid + 1] = 4.0  # the second cell of the second row
        right = mask_cells is not None and self.learns
        quality = torch.full((len(tokens), 4), 0.6 if right else 0.9)
        return DecoderOutput((mask if right else -mask).flatten(2), quality, tokens)


AROUND = [[14.0, 14.0, 34.0, 34.0], [0.0, 0.0, 64.0, 64.0]]
"""On an image of 64×64: around the object, and around the whole image."""


@pytest.mark.parametrize(
    ("complement", "learns", "flagged", "area", "calls"),
    [
        ("repair", True, False, 16 * 16, 2),
        ("repair", False, True, 64 * 64 - 16 * 16, 2),
        ("flag", True, True, 64 * 64 - 16 * 16, 1),
    ],
)
def test_complements_are_repaired_or_flagged(
    complement: Any,
    learns: bool,
    flagged: bool,
    area: int,
    calls: int,
    checkpoints: dict[str, Path],
    images: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    segmenter = load(checkpoints["sam2"], complement=complement)
    contrary = Contrary(segmenter, learns=learns)
    monkeypatch.setattr(segmenter.predictor.decoder, "decode", contrary)
    [predicted] = segmenter.segment_boxes(images[2:3], [np.array(AROUND, np.float32)])
    assert predicted.complement.tolist() == [flagged, False]
    assert predicted.masks[0].area == pytest.approx(area, rel=0.05)  # rounded corners
    assert predicted.quality[0] == pytest.approx(0.9 if flagged else 0.6)
    assert predicted.quality[1] == pytest.approx(0.9)
    assert [0 if given is None else len(given) for given in contrary.mask_prompts] == [0, 1][:calls]


def test_point_prompts_have_no_complement(
    checkpoints: dict[str, Path], images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = load(checkpoints["sam2"])
    contrary = Contrary(segmenter, learns=True)
    monkeypatch.setattr(segmenter.predictor.decoder, "decode", contrary)
    prompts = Prompts(points_xy=[[[20, 20]]], point_labels=[[1]])
    [predicted] = segmenter.segment(segmenter.encode(images[2:3]), [prompts])
    assert predicted.complement.tolist() == [False]
    assert len(contrary.mask_prompts) == 1


# --- invalid input


def test_prompts_for_another_number_of_images(segmenter: Sam2Segmenter, images: list[Any]) -> None:
    with pytest.raises(PromptError, match="1 encoded images and prompts for 2"):
        segmenter.segment(segmenter.encode(images[:1]), [Prompts(), Prompts()])
    with pytest.raises(PromptError, match="2 images and boxes for 1"):
        segmenter.segment_boxes(images[:2], [np.array(BOXES)])


def test_mask_logits_of_the_wrong_size(segmenter: Sam2Segmenter, images: list[Any]) -> None:
    prompts = Prompts(mask_logits=np.zeros((1, 256, 256)))
    with pytest.raises(PromptError, match=r"\(1, 256, 256\); this model takes \(n, 16, 16\)"):
        segmenter.segment(segmenter.encode(images[:1]), [prompts])


def test_a_processor_of_another_input_size(segmenter: Sam2Segmenter) -> None:
    with pytest.raises(CheckpointError, match="1024×1024, the model takes 64×64"):
        Sam2Segmenter(segmenter.model, transformers.Sam2ImageProcessor())


# --- loading


def test_satisfies_the_protocol(segmenter: Sam2Segmenter) -> None:
    assert isinstance(segmenter, Segmenter)


def test_from_a_configuration(checkpoints: dict[str, Path]) -> None:
    options = {"checkpoint": str(checkpoints["edgetam"]), "prompts_per_batch": 5}
    config = load_config({"segmenter": options, "runtime": {"device": "cpu", "dtype": "bfloat16"}})
    segmenter = Sam2Segmenter.from_config(config)
    assert segmenter.options.prompts_per_batch == 5
    assert segmenter.device == torch.device("cpu")
    assert segmenter.model.mask_decoder.iou_token.weight.dtype == torch.bfloat16


def test_bfloat16_agrees_with_float32_and_keeps_positions_in_float32(
    checkpoints: dict[str, Path], segmenter: Sam2Segmenter, images: list[Any]
) -> None:
    half = Sam2Segmenter.from_pretrained(
        checkpoints["sam2"], device="cpu", dtype="bfloat16", options=segmenter.options
    )
    assert next(half.model.vision_encoder.parameters()).dtype == torch.bfloat16
    assert half.model.prompt_encoder.point_embed.weight.dtype == torch.float32
    [coarse], [fine] = (
        model.segment(model.encode(images[:1]), [Prompts(boxes_xyxy=BOXES)], multimask=True)
        for model in (half, segmenter)
    )
    assert (decode(coarse.masks) == decode(fine.masks)).mean() > 0.98
    np.testing.assert_allclose(coarse.quality, fine.quality, atol=0.02)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_agrees_with_the_cpu(
    checkpoints: dict[str, Path], segmenter: Sam2Segmenter, images: list[Any]
) -> None:
    on_gpu = Sam2Segmenter.from_pretrained(
        checkpoints["sam2"], device="cuda", dtype="float32", options=segmenter.options
    )
    boxes = [np.array(BOXES), np.zeros((0, 4)), np.array(BOXES[:1]), np.array(BOXES[:2])]
    for fast, slow in zip(
        on_gpu.segment_boxes(images, boxes), segmenter.segment_boxes(images, boxes), strict=True
    ):
        assert len(fast) == len(slow)
        assert not len(fast) or (decode(fast.masks) == decode(slow.masks)).mean() > 0.98


def test_another_type_of_model_is_an_error(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"of type 'bert', which .* 'sam2' cannot"):
        load(tmp_path)
