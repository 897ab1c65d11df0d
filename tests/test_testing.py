"""The fake tracker, on which the tests of tracking rely."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.errors import PromptError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.models.protocols import Tracker, TrackPrompt
from grounded_sam2.testing import COLORS, FakeFrameMasks, FakeTracker

TRACKER = FakeTracker()


def frame(*things: tuple[str, int, int, int, int]) -> np.ndarray:
    image = np.zeros((20, 30, 3), np.uint8)
    for color, left, top, right, bottom in things:
        image[top:bottom, left:right] = COLORS[color]
    return image


def boxes(answers: FakeFrameMasks) -> dict[int, tuple[float, ...]]:
    return {i: m.bbox_xyxy for i, m in zip(answers.ids, answers.to_rles(), strict=True) if m.area}


def test_it_satisfies_the_protocol() -> None:
    assert isinstance(TRACKER, Tracker)


def test_without_objects_there_are_no_answers() -> None:
    answers = TRACKER.propagate(TRACKER.encode(frame()), TRACKER.empty_state(), 0)
    assert (answers.ids, answers.to_rles(), answers.score.shape) == ((), (), (0,))


def test_it_follows_the_nearest_area_of_a_color_and_says_when_it_is_gone() -> None:
    first = TRACKER.encode(
        frame(("red", 2, 2, 6, 6), ("red", 20, 2, 24, 6), ("blue", 9, 9, 12, 12))
    )
    prompts = {
        7: TrackPrompt(box_xyxy=np.array([1, 1, 7, 7])),
        2: TrackPrompt(points_xy=np.array([[10, 10]]), point_labels=np.array([1])),
        5: TrackPrompt(mask=encode(np.pad(np.ones((4, 4), bool), ((2, 14), (20, 6))))[0]),
    }
    shown = TRACKER.prompt(first, prompts)
    assert shown.ids == (7, 2, 5)
    assert boxes(shown) == {7: (2, 2, 6, 6), 2: (9, 9, 12, 12), 5: (20, 2, 24, 6)}
    state = TRACKER.update_state(first, TRACKER.empty_state(), 0, shown, prompted=prompts)
    assert state.ids == (2, 5, 7)

    second = TRACKER.encode(frame(("red", 4, 2, 8, 6), ("red", 22, 2, 26, 6)))
    answers = TRACKER.propagate(second, state, 1)
    assert answers.ids == (2, 5, 7)
    assert boxes(answers) == {7: (4, 2, 8, 6), 5: (22, 2, 26, 6)}
    assert (answers.score > 0).tolist() == [False, True, True]
    assert answers.quality.tolist() == pytest.approx([0, 0.8, 0.8])
    assert boxes(answers.select([5])) == {5: (22, 2, 26, 6)}
    both = FakeFrameMasks.concatenate([answers.select([7]), answers.select([5])])
    assert both.ids == (7, 5)

    state = TRACKER.update_state(second, state, 1, answers)
    assert TRACKER.load(TRACKER.save(state)) == state
    assert state.without([2, 99]) == state.select([5, 7])
    third = TRACKER.encode(frame(("blue", 0, 15, 3, 18), ("red", 5, 2, 9, 6)))
    assert boxes(TRACKER.propagate(third, state.select([2]), 2)) == {2: (0, 15, 3, 18)}


def test_where_a_prompt_shows_nothing_there_is_nothing_then_or_later() -> None:
    encoded = TRACKER.encode(frame(("red", 2, 2, 6, 6)))
    shown = TRACKER.prompt(encoded, {1: TrackPrompt(box_xyxy=np.array([10, 10, 15, 15]))})
    assert (boxes(shown), shown.score.tolist()) == ({}, [-5])
    state = TRACKER.update_state(encoded, TRACKER.empty_state(), 0, shown)
    assert boxes(TRACKER.propagate(encoded, state, 1)) == {}


def test_points_outside_alone_show_no_object() -> None:
    outside = TrackPrompt(points_xy=np.array([[1, 1]]), point_labels=np.array([0]))
    with pytest.raises(PromptError, match="give one inside"):
        TRACKER.prompt(TRACKER.encode(frame()), {1: outside})
