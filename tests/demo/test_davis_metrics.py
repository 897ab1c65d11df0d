"""J and F of tracked masks: perfect, empty, late, other ids."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.demo.davis_metrics import (
    DavisScores,
    boundary_f_score,
    davis_scores,
    visible_ids,
)

SIZE = (60, 80)


def disk(x: float, y: float = 30, radius: float = 10) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


EMPTY = np.zeros(SIZE, np.bool_)
TRUTH = [{1: disk(15 + t), 2: disk(60 - t)} for t in range(8)]


def mean_scores(predicted, truth=TRUTH, **options):
    return davis_scores(truth, predicted, **options).mean()


def test_the_truth_scores_one():
    scores = mean_scores(TRUTH)
    assert (scores.region, scores.boundary, scores.j_and_f) == (1, 1, 1)


def test_no_masks_score_zero():
    scores = mean_scores([{} for _ in TRUTH])
    assert (scores.region, scores.boundary) == (0, 0)


def test_an_empty_mask_counts_as_no_mask():
    with_empty = [{1: frame[1], 2: EMPTY} for frame in TRUTH]
    without = [{1: frame[1]} for frame in TRUTH]
    assert mean_scores(with_empty) == mean_scores(without)


def test_an_absent_object_without_a_mask_scores_one():
    truth = [*TRUTH[:4], *({1: EMPTY, 2: frame[2]} for frame in TRUTH[4:])]
    found = [*TRUTH[:4], *({2: frame[2]} for frame in TRUTH[4:])]
    assert mean_scores(found, truth).region == 1


def test_a_mask_of_an_absent_object_scores_zero():
    truth = [{1: frame[1] if t < 4 else EMPTY} for t, frame in enumerate(TRUTH)]
    found = [{1: frame[1]} for frame in TRUTH]
    scores = mean_scores(found, truth)
    assert scores.region == scores.boundary == 0.5


def test_an_object_that_no_frame_shows_is_not_scored():
    truth = [{**frame, 3: EMPTY} for frame in TRUTH]
    assert visible_ids(truth) == [1, 2]
    assert len(davis_scores(truth, TRUTH)) == 2


def test_half_of_a_mask_scores_its_iou():
    found = [{n: mask & (np.arange(80) < 15) for n, mask in f.items()} for f in TRUTH[:1]]
    truth = [{1: TRUTH[0][1]}]
    expected = found[0][1].sum() / TRUTH[0][1].sum()
    assert mean_scores(found, truth).region == pytest.approx(expected)


def test_frames_before_the_prompt_do_not_count():
    found = [{2: frame[2]} if t < 4 else frame for t, frame in enumerate(TRUTH)]
    assert mean_scores(found).region == 0.75
    assert mean_scores(found, since={1: 4}).region == 1


def test_an_object_prompted_on_the_last_frame_scores_zero():
    np.testing.assert_array_equal(davis_scores(TRUTH, TRUTH, since={1: len(TRUTH)}).region, [0, 1])


def test_other_ids_score_only_if_matched():
    found = [{7: frame[2], 9: frame[1]} for frame in TRUTH]
    assert mean_scores(found).region == 0
    assert mean_scores(found, match=True).region == 1


def test_matching_allows_more_tracks_than_objects_and_fewer():
    more = [{**frame, 5: disk(40, 50, 5)} for frame in TRUTH]
    assert mean_scores(more, match=True).region == 1
    fewer = [{4: frame[1]} for frame in TRUTH]
    np.testing.assert_array_equal(davis_scores(TRUTH, fewer, match=True).region, [1, 0])


def test_scores_of_clips_are_joined_in_order():
    one = [{1: frame[1]} for frame in TRUTH]
    joined = DavisScores.concatenate(
        [davis_scores(TRUTH, TRUTH), davis_scores(one, [{} for _ in one])]
    )
    np.testing.assert_array_equal(joined.region, [1, 1, 0])
    assert joined.mean().region == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        (EMPTY, EMPTY, 1.0),
        (disk(30), EMPTY, 0.0),
        (EMPTY, disk(30), 0.0),
        (disk(30), disk(30), 1.0),
        (disk(30), disk(31), 1.0),  # within the tolerance of one pixel
        (disk(15), disk(60), 0.0),
    ],
    ids=["both empty", "missed", "false", "same", "one pixel off", "elsewhere"],
)
def test_boundary_f_score(truth, found, expected):
    assert boundary_f_score(truth, found) == pytest.approx(expected, abs=0.12)


def test_a_mask_that_fills_the_image_has_no_boundary():
    """As in DAVIS: the edge of the image is no boundary."""
    assert boundary_f_score(~EMPTY, ~EMPTY) == 1
    assert boundary_f_score(~EMPTY, disk(30)) == 0
