"""Formats of times."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.report.messages import format_time


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0:00.0"),
        (4.12, "0:04.1"),
        (59.96, "1:00.0"),
        (754.5, "12:34.5"),
        (3599.99, "1:00:00.0"),
        (36_061.2, "10:01:01.2"),
        (np.nan, ""),
    ],
)
def test_a_time_in_a_video_is_written_in_hours_minutes_and_tenths(
    seconds: float, text: str
) -> None:
    assert format_time(seconds) == text
