"""Tracking agrees, frame by frame, with the reference that takes one object at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from grounded_sam2.config import TrackerConfig
from grounded_sam2.geometry.rle import encode
from grounded_sam2.models.protocols import Tracker, TrackPrompt
from grounded_sam2.models.sam2.tracker import Sam2Tracker, TrackAnswers
from grounded_sam2.results import Image

SIZE_HW = (48, 60)
FRAMES = 20
"""More than a memory of 7 frames and 16 pointers holds."""

Script = Mapping[int, Mapping[int, TrackPrompt]]
"""Prompts by frame and object."""


def clip(frames: int, size_hw: tuple[int, int] = SIZE_HW) -> list[Image]:
    """Blobs that move over noise."""
    rng = np.random.default_rng(5)
    height, width = size_hw
    background = rng.integers(0, 80, (height, width, 3))
    rows, columns = np.mgrid[:height, :width]
    pictures = []
    for frame in range(frames):
        picture = background + rng.integers(0, 20, (height, width, 3))
        for index in range(7):
            y = height * (0.2 + 0.09 * index) + 4 * np.sin(0.4 * frame + index)
            x = width * (0.1 + 0.12 * index) + 1.1 * frame * (-1) ** index
            inside = (rows - y) ** 2 + (columns - x) ** 2 < 36
            picture[inside] = [(index * 37) % 255, 255 - index * 30, 120 + 15 * index]
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return pictures


def box(index: int) -> TrackPrompt:
    y, x = 48 * (0.2 + 0.09 * index), 60 * (0.1 + 0.12 * index)
    return TrackPrompt(box_xyxy=np.array([x - 7, y - 7, x + 7, y + 7]).clip(0, 59))


def click(index: int, *, more: int = 0) -> TrackPrompt:
    y, x = 48 * (0.2 + 0.09 * index), 60 * (0.1 + 0.12 * index)
    points = [[x, y], *([2.0 + 5 * each, 3.0] for each in range(more))]
    return TrackPrompt(points_xy=points, point_labels=[1, *([0] * more)])


def mask(index: int) -> TrackPrompt:
    rows, columns = np.mgrid[:48, :60]
    y, x = 48 * (0.2 + 0.09 * index), 60 * (0.1 + 0.12 * index)
    [rle] = encode((rows - y) ** 2 + (columns - x) ** 2 < 50)
    return TrackPrompt(mask=rle)


SCRIPTS: dict[str, Script] = {
    "one box": {0: {1: box(1)}},
    "one point": {0: {1: click(2)}},
    "points inside and outside": {0: {4: click(2, more=2)}},
    "one mask": {0: {1: mask(3)}},
    "box and points": {
        0: {1: TrackPrompt(box(1).box_xyxy, click(1).points_xy, click(1).point_labels)}
    },
    "two": {0: {1: box(1), 2: mask(5)}},
    "seven of all kinds": {
        0: {
            1: box(0),
            2: click(1),
            3: mask(2),
            4: box(3),
            5: click(4, more=1),
            6: mask(5),
            7: box(6),
        }
    },
    "added later": {0: {1: box(1)}, 3: {2: box(4)}, 9: {3: click(5), 4: mask(2)}},
    "prompted again": {0: {1: box(1), 2: box(4)}, 8: {1: box(1)}, 12: {1: mask(1)}},
}


@dataclass
class Expected:
    """What the reference says of a frame."""

    ids: list[int]
    logits: torch.Tensor
    score: NDArray[np.float32]
    masks: NDArray[np.bool_]


class Reference:
    """`Sam2VideoModel` and its session."""

    def __init__(self, tracker: Sam2Tracker) -> None:
        self.tracker = tracker
        side = tracker.model.prompt_encoder.input_image_size
        self.processor = transformers.Sam2VideoProcessor(
            image_processor=tracker.image_processor,
            video_processor=transformers.Sam2VideoVideoProcessor(),
            target_size=side,
        )
        self.session = Sam2VideoInferenceSession(dtype=torch.float32)

    def add(self, frame: int, prompts: Mapping[int, TrackPrompt], size_hw: tuple[int, int]) -> None:
        # Each call makes its objects the only ones with new inputs.
        for number, asked in prompts.items():
            inputs: dict[str, Any] = {}
            if asked.mask is not None:
                inputs["input_masks"] = [asked.mask.decode()]
            if asked.box_xyxy is not None:
                inputs["input_boxes"] = [[asked.box_xyxy.tolist()]]
            if asked.points_xy is not None and asked.point_labels is not None:
                inputs["input_points"] = [[asked.points_xy.tolist()]]
                inputs["input_labels"] = [[asked.point_labels.tolist()]]
            self.processor.add_inputs_to_inference_session(
                self.session, frame, number, original_size=size_hw, **inputs
            )
        self.session.obj_with_new_inputs = list(prompts)

    def see(self, frame: int, image: Image | None, size_hw: tuple[int, int]) -> Expected:
        pixels = None
        if image is not None:
            pixels = self.tracker.image_processor(
                images=[image], input_data_format="channels_last", return_tensors="pt"
            )["pixel_values"][0]
        said = self.tracker.model(self.session, frame_idx=frame, frame=pixels)
        large = torch.nn.functional.interpolate(
            said.pred_masks, size=size_hw, mode="bilinear", align_corners=False
        )
        return Expected(
            list(said.object_ids),
            said.pred_masks[:, 0],
            said.object_score_logits[:, 0].numpy(),
            (large[:, 0] > 0).numpy(),
        )


def reference_run(
    tracker: Sam2Tracker, pictures: list[Image], script: Script
) -> Iterator[Expected]:
    reference = Reference(tracker)
    for frame, picture in enumerate(pictures):
        reference.add(frame, script.get(frame, {}), picture.shape[:2])
        yield reference.see(frame, picture, picture.shape[:2])


def our_run(tracker: Sam2Tracker, pictures: list[Image], script: Script) -> Iterator[TrackAnswers]:
    state = tracker.empty()
    for frame, picture in enumerate(pictures):
        encoded = tracker.encode(picture)
        prompts = script.get(frame, {})
        parts = [tracker.propagate(encoded, state.without(prompts), frame)]
        if prompts:
            parts.append(tracker.prompt(encoded, prompts))
        answers = TrackAnswers.joined(parts)
        state = tracker.remember(encoded, state, frame, answers)
        yield answers.in_order(sorted(answers.ids))


def assert_agree(ours: TrackAnswers, expected: Expected) -> None:
    theirs = [expected.ids.index(each) for each in ours.ids]
    assert sorted(expected.ids) == list(ours.ids)
    np.testing.assert_allclose(ours.score, expected.score[theirs], atol=1e-3)
    assert ((ours.score > 0) == (expected.score[theirs] > 0)).all()
    torch.testing.assert_close(ours.logits, expected.logits[theirs], atol=1e-3, rtol=1e-4)
    for rle, wanted in zip(ours.masks(), expected.masks[theirs], strict=True):
        assert (rle.decode() != wanted).mean() < 1e-3


@pytest.fixture(scope="module")
def transformers_like(checkpoints: dict[str, Path]) -> Sam2Tracker:
    return Sam2Tracker.from_pretrained(
        checkpoints["sam2_tracking"],
        device="cpu",
        options=TrackerConfig(compat="transformers"),
    )


@pytest.fixture(scope="module")
def embedded() -> Sam2Tracker:
    return Sam2Tracker.from_pretrained(
        "demo", device="cpu", options=TrackerConfig(compat="transformers")
    )


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_agrees_with_the_reference(transformers_like: Sam2Tracker, script: Script) -> None:
    pictures = clip(FRAMES)
    ours = our_run(transformers_like, pictures, script)
    theirs = reference_run(transformers_like, pictures, script)
    for one, other in zip(ours, theirs, strict=True):
        assert_agree(one, other)


def test_it_satisfies_the_protocol(transformers_like: Sam2Tracker) -> None:
    assert isinstance(transformers_like, Tracker)
