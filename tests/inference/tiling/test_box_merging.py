"""What several windows show becomes one box for one thing, in named cases.

The image is 300 high and 1000 wide, seen through tiles of 300 that share 50 with the next:
0…300, 250…550, 500…800, 700…1000, and as a whole.
"""

from __future__ import annotations

import tracemalloc

import numpy as np

from grounded_sam2.inference.tiling.box_merging import Sightings, merge

SIZE_HW = (300, 1000)
WINDOWS = np.array([(x, 0, x + 300, 300) for x in (0, 250, 500, 700)] + [(0, 0, 1000, 300)], float)
FIRST, SECOND, THIRD, FOURTH, WHOLE = range(5)

Box = tuple[float, float, float, float]


def merged(*seen: tuple[int, Box, float]) -> list[tuple[Box, float]]:
    """Boxes and confidence of what windows show: number of the window, box, confidence."""
    boxes, confidence = merge(
        Sightings(
            boxes_xyxy=np.array([box for _, box, _ in seen], np.float64).reshape(-1, 4),
            confidence=np.array([sure for _, _, sure in seen], np.float32),
            views=np.array([view for view, _, _ in seen], np.intp),
            windows_xyxy=WINDOWS,
        ),
        SIZE_HW,
    )
    return [
        ((box[0], box[1], box[2], box[3]), round(sure, 2))
        for box, sure in zip(boxes.tolist(), confidence.tolist(), strict=True)
    ]


def test_nothing() -> None:
    assert merged() == []


def test_one_thing_in_one_window() -> None:
    assert merged((FIRST, (10, 10, 60, 60), 0.7)) == [((10, 10, 60, 60), 0.7)]


def test_a_thing_that_two_windows_show_whole_is_one_with_the_surer_box() -> None:
    assert merged(
        (FIRST, (256, 10, 290, 60), 0.6),
        (SECOND, (257, 11, 291, 61), 0.8),
        (WHOLE, (250, 5, 300, 65), 0.7),
    ) == [((257, 11, 291, 61), 0.8)]


def test_two_things_in_one_window_stay_two_however_close() -> None:
    here, beside = (10, 10, 60, 60), (14, 10, 64, 60)
    found = merged((FIRST, here, 0.9), (FIRST, beside, 0.8), (WHOLE, beside, 0.7))
    assert found == [(here, 0.9), (beside, 0.8)]


def test_things_apart_stay_apart() -> None:
    assert len(merged((FIRST, (10, 10, 60, 60), 0.9), (WHOLE, (100, 10, 160, 60), 0.9))) == 2


def test_a_part_belongs_to_the_whole_that_the_next_window_shows() -> None:
    assert merged((FIRST, (270, 10, 300, 60), 0.9), (SECOND, (270, 10, 400, 60), 0.6)) == [
        ((270, 10, 400, 60), 0.9)
    ]


def test_many_parts_belong_to_one_whole() -> None:
    assert merged(
        (FIRST, (100, 10, 300, 200), 0.5),
        (SECOND, (250, 12, 550, 190), 0.6),
        (THIRD, (500, 10, 620, 200), 0.4),
        (WHOLE, (95, 5, 630, 205), 0.3),
    ) == [((95, 5, 630, 205), 0.6)]


def test_a_part_that_differs_from_what_its_window_shows_of_the_whole_but_lies_in_it() -> None:
    assert merged((FIRST, (280, 40, 300, 60), 0.9), (WHOLE, (200, 10, 420, 200), 0.6)) == [
        ((200, 10, 420, 200), 0.9)
    ]


def test_a_whole_thing_in_front_of_a_larger_one_stays() -> None:
    small, large = (100, 100, 140, 140), (50, 10, 240, 200)
    assert merged((FIRST, small, 0.9), (FIRST, large, 0.8)) == [(small, 0.9), (large, 0.8)]
    assert merged((FIRST, small, 0.9), (WHOLE, large, 0.8)) == [(small, 0.9), (large, 0.8)]


def test_parts_of_a_thing_that_is_whole_nowhere_are_put_together() -> None:
    assert merged(
        (FIRST, (100, 10, 300, 200), 0.5),
        (SECOND, (250, 12, 550, 190), 0.7),
        (THIRD, (500, 10, 620, 205), 0.4),
    ) == [((100, 10, 620, 205), 0.7)]


def test_parts_that_do_not_agree_where_both_windows_look_are_different_things() -> None:
    upper, lower = (20, 10, 300, 80), (250, 200, 540, 280)
    found = merged((FIRST, upper, 0.9), (SECOND, lower, 0.8), (WHOLE, (5, 205, 260, 295), 0.7))
    assert ((5, 205, 260, 295), 0.7) in found
    assert all(box != (20, 10, 540, 280) for box, _ in found)


def test_a_part_that_another_window_shows_whole_and_takes_for_nothing_is_nothing() -> None:
    assert merged((FIRST, (280, 10, 300, 40), 0.9)) == []


def test_a_part_that_is_whole_only_where_it_is_shown_much_smaller_stays() -> None:
    windows = np.array([(0, 0, 30, 30), (0, 0, 1000, 300)], np.float64)
    box = np.array([(18.0, 5, 30, 15)])
    boxes, _ = merge(Sightings(box, np.array([0.9], np.float32), np.array([0]), windows), SIZE_HW)
    assert boxes.tolist() == box.tolist()


def test_the_order_of_windows_that_show_the_same_does_not_matter_for_the_thing() -> None:
    seen = [
        (SECOND, (257.0, 11.0, 291.0, 61.0), 0.8),
        (FIRST, (100.0, 100.0, 300.0, 200.0), 0.5),
        (FIRST, (256.0, 10.0, 290.0, 60.0), 0.6),
        (SECOND, (250.0, 100.0, 400.0, 200.0), 0.7),
    ]
    assert (
        merged(*seen)
        == merged(*seen[::-1])
        == [
            ((257, 11, 291, 61), 0.8),
            ((100, 100, 400, 200), 0.7),
        ]
    )


def test_thousands_of_boxes_never_make_a_matrix_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    begins = np.arange(40.0) * 2500
    windows = np.stack((begins, 0 * begins, begins + 3000, 0 * begins + 3000), axis=1)
    views = np.repeat(np.arange(40), 100)
    corners = windows[views, :2] + rng.uniform(0, 2980, (4000, 2))
    boxes = np.concatenate((corners, corners + 20), axis=1)
    seen = Sightings(boxes, np.full(4000, 0.5, np.float32), views, windows)
    tracemalloc.start()
    try:
        kept, _ = merge(seen, (3000, 100_500))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 3500 < len(kept) < 4000
    assert peak < 4000 * 4000 * 8 / 4
