"""Scores of tracks: perfect, empty, swapped, late; J and F as TrackEval computes them."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("trackeval", reason="needs the evaluation extra")

from embedded_training.tracking_metrics import score_clip, summarize
from grounded_sam2.demo.davis_metrics import border_agreement

SIZE = (60, 80)


def disk(x: float, y: float = 30, radius: float = 10) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


NOTHING = np.zeros(SIZE, np.bool_)
TRUTH = [{1: disk(15 + t), 2: disk(60 - t)} for t in range(8)]


def scores_of(predicted, truth=TRUTH, **options):
    return summarize([score_clip(truth, predicted, **options)])


def test_perfect():
    scores = scores_of(TRUTH)
    assert (scores.region, scores.border, scores.hota) == (1, 1, 1)
    assert scores.region_and_border == 1
    assert (scores.objects, scores.switches, scores.switch_share) == (2, 0, 0)


def test_nothing_found():
    scores = scores_of([{} for _ in TRUTH])
    assert (scores.region, scores.border, scores.hota, scores.switches) == (0, 0, 0, 0)


def test_an_empty_mask_is_no_mask():
    found = [{1: frame[1], 2: NOTHING} for frame in TRUTH]
    without = [{1: frame[1]} for frame in TRUTH]
    assert scores_of(found) == scores_of(without)


def test_what_is_rightly_not_found_scores_one():
    truth = [*TRUTH[:4], *({1: NOTHING, 2: frame[2]} for frame in TRUTH[4:])]
    found = [*TRUTH[:4], *({2: frame[2]} for frame in TRUTH[4:])]
    assert scores_of(found, truth).region == 1


def test_what_is_found_where_nothing_is_scores_zero():
    truth = [{1: frame[1] if t < 4 else NOTHING} for t, frame in enumerate(TRUTH)]
    found = [{1: frame[1]} for frame in TRUTH]
    scores = scores_of(found, truth)
    assert scores.region == scores.border == 0.5
    assert scores.detection < 1


def test_an_object_never_seen_is_none():
    truth = [{**frame, 3: NOTHING} for frame in TRUTH]
    assert scores_of(TRUTH, truth).objects == 2


def test_half_of_a_mask():
    found = [{number: mask & (np.arange(80) < 40) for number, mask in f.items()} for f in TRUTH]
    scores = scores_of(found)
    assert 0.3 < scores.region < 0.7
    assert scores.association == pytest.approx(scores.association, abs=0.1)


def test_frames_before_the_prompt_do_not_count():
    found = [{2: frame[2]} if t < 4 else frame for t, frame in enumerate(TRUTH)]
    assert scores_of(found).region == 0.75
    assert scores_of(found, since={1: 4}).region == 1


def test_an_object_that_is_shown_on_the_last_frame_has_nothing_to_score():
    assert scores_of(TRUTH, since={1: len(TRUTH)}).region == 0.5


def test_other_numbers_are_matched():
    found = [{7: frame[2], 9: frame[1]} for frame in TRUTH]
    assert scores_of(found).region == 0
    matched = scores_of(found, match=True)
    assert (matched.region, matched.hota, matched.switches) == (1, 1, 0)


def test_more_tracks_than_objects_and_fewer():
    more = [{**frame, 5: disk(40, 50, 5)} for frame in TRUTH]
    assert scores_of(more, match=True).region == 1
    assert scores_of(more, match=True).hota < 1
    fewer = [{4: frame[1]} for frame in TRUTH]
    assert scores_of(fewer, match=True).region == 0.5


def test_swapped_numbers_are_switches():
    found = [f if t < 4 else {1: f[2], 2: f[1]} for t, f in enumerate(TRUTH)]
    scores = scores_of(found)
    assert (scores.switches, scores.switch_share) == (2, 1)
    assert scores.detection == 1
    assert scores.association < 0.6
    assert scores.region == pytest.approx(0.5, abs=0.05)


def test_clips_are_averaged_by_object():
    one = [{1: frame[1]} for frame in TRUTH]
    clips = [score_clip(TRUTH, TRUTH), score_clip(one, [{} for _ in one])]
    scores = summarize(clips)
    assert scores.objects == 3
    assert scores.region == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        (NOTHING, NOTHING, 1.0),
        (disk(30), NOTHING, 0.0),
        (NOTHING, disk(30), 0.0),
        (disk(30), disk(30), 1.0),
        (disk(30), disk(31), 1.0),  # within the tolerance of one pixel
        (disk(15), disk(60), 0.0),
    ],
    ids=["both empty", "missed", "made up", "same", "a pixel off", "elsewhere"],
)
def test_borders(truth, found, expected):
    assert border_agreement(truth, found) == pytest.approx(expected, abs=0.12)


def test_a_mask_that_fills_the_image_has_no_border():
    """As in DAVIS: the image's own edge is none."""
    assert border_agreement(~NOTHING, ~NOTHING) == 1
    assert border_agreement(~NOTHING, disk(30)) == 0


def test_borders_as_trackeval_finds_them():
    from trackeval.metrics import JAndF

    from grounded_sam2.demo.davis_metrics import _border

    rng = np.random.default_rng(0)
    for mask in (disk(30), disk(0), disk(79, 0), rng.random(SIZE) < 0.5, NOTHING, ~NOTHING):
        expected = JAndF._seg2bmap(mask.astype(np.uint8))
        np.testing.assert_array_equal(_border(mask).astype(bool), expected.astype(bool))


def test_regions_as_trackeval_finds_them(monkeypatch):
    """Its J and F with our masks; it, too, gives every object the best track."""
    # All it takes of scikit-image.
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
    assert ours.region == pytest.approx(expected["J-Mean"], abs=1e-6)
    assert ours.border == pytest.approx(expected["F-Mean"], abs=1e-6)
