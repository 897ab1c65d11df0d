from __future__ import annotations

from fractions import Fraction

import pytest

from grounded_sam2.sources.video.decoding import TimestampNormalizer


def times(stamps: list[int | None], durations: list[int | None] | None = None) -> list[float]:
    """Times of frames at 10 per second, in tenths of a second."""
    timestamps = TimestampNormalizer(0.1)
    given = durations or [None] * len(stamps)

    def tenths(value: int | None) -> Fraction | None:
        return None if value is None else Fraction(value, 10)

    return [
        round(10 * timestamps.next_time(tenths(stamp), tenths(duration)), 6)
        for stamp, duration in zip(stamps, given, strict=True)
    ]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([0, 1, 5, 6], [0, 1, 5, 6]),
        ([70, 71, 75], [0, 1, 5]),
        ([None, None, None], [0, 1, 2]),
        ([0, None, 2, None, None, 9], [0, 1, 2, 3, 4, 9]),
        ([None, 50, 53], [0, 1, 4]),
        ([0, 1, 1, 1, 9], [0, 1, 2, 3, 9]),
        ([0, 5, 3, 7], [0, 5, 6, 7]),
        ([0, 5, -90, -89], [0, 5, 6, 7]),
        ([-3, -2, 0], [0, 1, 3]),
    ],
    ids=[
        "as they are",
        "from anywhere",
        "none",
        "some missing",
        "first missing",
        "repeated",
        "one backwards",
        "begun anew",
        "negative",
    ],
)
def test_times_increase_whatever_the_timestamps(
    stamps: list[int | None], expected: list[float]
) -> None:
    assert times(stamps) == expected


def test_missing_timestamp_is_the_end_of_the_previous_frame() -> None:
    assert times([0, None, None], [3, 4, None]) == [0, 3, 7]
