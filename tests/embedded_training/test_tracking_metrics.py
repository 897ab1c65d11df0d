"""Scores of tracks: perfect, empty, swapped; J and F equal to TrackEval's."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("trackeval", reason="needs the evaluation extra")

from embedded_training.tracking_metrics import score_clip, summarize
from grounded_sam2.demo.davis_metrics import mask_boundary

SIZE = (60, 80)


def disk(x: float, y: float = 30, radius: float = 10) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


EMPTY = np.zeros(SIZE, np.bool_)
TRUTH = [{1: disk(15 + t), 2: disk(60 - t)} for t in range(8)]


def scores_of(predicted, truth=TRUTH, **options):
    return summarize([score_clip(truth, predicted, **options)])


def test_the_truth_scores_one_without_identity_switches():
    scores = scores_of(TRUTH)
    assert (scores.davis.j_and_f, scores.hota) == (1, 1)
    assert (scores.objects, scores.switches, scores.switches_per_object) == (2, 0, 0)


def test_no_masks_score_zero():
    scores = scores_of([{} for _ in TRUTH])
    assert (scores.davis.j_and_f, scores.hota, scores.switches) == (0, 0, 0)


def test_an_empty_mask_counts_as_no_mask():
    with_empty = [{1: frame[1], 2: EMPTY} for frame in TRUTH]
    without = [{1: frame[1]} for frame in TRUTH]
    assert scores_of(with_empty) == scores_of(without)


def test_masks_of_absent_objects_lower_the_detection_accuracy():
    truth = [{1: frame[1] if t < 4 else EMPTY} for t, frame in enumerate(TRUTH)]
    assert scores_of([{1: frame[1]} for frame in TRUTH], truth).detection < 1


def test_half_of_the_objects_halve_the_detection_accuracy_alone():
    scores = scores_of([{1: frame[1]} for frame in TRUTH])
    assert scores.davis.region == 0.5
    assert scores.detection == pytest.approx(0.5)
    assert scores.association == pytest.approx(1)


def test_other_ids_are_matched():
    matched = scores_of([{7: frame[2], 9: frame[1]} for frame in TRUTH], match=True)
    assert (matched.davis.region, matched.hota, matched.switches) == (1, 1, 0)


def test_false_tracks_lower_hota():
    more = [{**frame, 5: disk(40, 50, 5)} for frame in TRUTH]
    assert scores_of(more, match=True).davis.region == 1
    assert scores_of(more, match=True).hota < 1


def test_swapped_ids_are_identity_switches():
    found = [f if t < 4 else {1: f[2], 2: f[1]} for t, f in enumerate(TRUTH)]
    scores = scores_of(found)
    assert (scores.switches, scores.switches_per_object) == (2, 1)
    assert scores.detection == 1
    assert scores.association < 0.6
    assert scores.davis.region == pytest.approx(0.5, abs=0.05)


def test_j_and_f_of_clips_are_means_over_objects():
    one = [{1: frame[1]} for frame in TRUTH]
    scores = summarize([score_clip(TRUTH, TRUTH), score_clip(one, [{} for _ in one])])
    assert scores.objects == 3
    assert scores.davis.region == pytest.approx(2 / 3)


def test_boundaries_equal_those_of_trackeval():
    from trackeval.metrics import JAndF

    rng = np.random.default_rng(0)
    for mask in (disk(30), disk(0), disk(79, 0), rng.random(SIZE) < 0.5, EMPTY, ~EMPTY):
        expected = JAndF._seg2bmap(mask.astype(np.uint8))
        np.testing.assert_array_equal(mask_boundary(mask), expected.astype(bool))


def test_j_and_f_equal_those_of_trackeval(monkeypatch):
    """Like ours, TrackEval assigns every object its best track."""
    # All that TrackEval uses of scikit-image.
    steps = np.arange(-1, 2)
    morphology = SimpleNamespace(disk=lambda reach: steps[:, None] ** 2 + steps**2 <= reach**2)
    monkeypatch.setitem(sys.modules, "skimage", SimpleNamespace(morphology=morphology))
    monkeypatch.setitem(sys.modules, "skimage.morphology", morphology)
    from pycocotools import mask as coco
    from trackeval.metrics import JAndF

    rng = np.random.default_rng(1)
    found = [
        {4: disk(15 + t + rng.integers(-3, 4)), 6: disk(60 - t, 30 + rng.integers(-3, 4))}
        for t in range(len(TRUTH))
    ]

    def coded(frames):
        return [
            [coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in f.values()] for f in frames
        ]

    numbers = [np.array([0, 1])] * len(TRUTH)
    data = {
        "num_timesteps": len(TRUTH),
        "num_gt_ids": 2,
        "num_tracker_ids": 2,
        "gt_ids": numbers,
        "tracker_ids": numbers,
        "gt_dets": coded(TRUTH),
        "tracker_dets": coded(found),
    }
    expected = JAndF().eval_sequence(data)
    ours = scores_of(found, match=True)
    assert ours.davis.region == pytest.approx(expected["J-Mean"], abs=1e-6)
    assert ours.davis.boundary == pytest.approx(expected["F-Mean"], abs=1e-6)
