from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.errors import SourceError
from grounded_sam2.results import Image
from grounded_sam2.sources.video import open_video


def greys(count: int) -> Iterator[Image]:
    for number in range(count):
        yield np.full((6, 8, 3), number, np.uint8)


def test_a_generator_gives_its_images_once() -> None:
    video = open_video(greys(5), fps=10, name="live")
    assert (video.name, video.path, video.size_hw) == ("live", None, (6, 8))
    assert (video.frame_count, video.duration, video.expected_frames) == (None, None, None)
    assert (video.stamp(), video.content_hash()) == (None, None)
    frames = list(video)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    with pytest.raises(SourceError, match="'live': its images come from a generator"):
        list(video)


def test_a_list_can_be_read_again() -> None:
    video = open_video(list(greys(4)), stride=2)
    assert [frame.index for frame in video] == [0, 2]
    assert [frame.index for frame in video] == [0, 2]
    assert (video.name, video.frame_count, video.expected_frames) == ("frames", 4, 2)


def test_no_more_is_taken_than_is_needed() -> None:
    taken = []

    def endless() -> Iterator[Image]:
        number = 0
        while True:
            taken.append(number)
            yield np.full((6, 8, 3), number, np.uint8)
            number += 1

    video = open_video(endless(), end=0.1)
    assert taken == [0]
    assert video.expected_frames == 3
    assert [frame.index for frame in video] == [0, 1, 2]
    assert taken == [0, 1, 2, 3]


def test_pil_and_grey_images_become_rgb() -> None:
    video = open_video([PIL.Image.new("L", (8, 6), 7), np.full((6, 8), 7, np.uint8)])
    for frame in video:
        np.testing.assert_array_equal(frame.image, np.full((6, 8, 3), 7))


def test_an_array_may_be_filled_anew_by_its_owner() -> None:
    buffer = np.zeros((6, 8, 3), np.uint8)

    def one_buffer() -> Iterator[Image]:
        for number in range(3):
            buffer[:] = number
            yield buffer

    frames = list(open_video(one_buffer()))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 1, 2]


def test_an_image_that_does_not_fit_is_broken() -> None:
    wrong = [np.zeros((6, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)]
    video = open_video([*greys(1), *wrong, *greys(1)])
    assert [frame.index for frame in video] == [0, 3]
    assert [each.index for each in video.broken.first] == [1, 2]
    assert "must be uint8" in video.broken.first[0].reason
    assert "8 × 8 pixels, and the first was 8 × 6" in video.broken.first[1].reason


def test_what_the_generator_raises_is_raised() -> None:
    def failing() -> Iterator[Image]:
        yield from greys(2)
        raise RuntimeError("unplugged")

    frames = iter(open_video(failing()))
    assert [next(frames).index, next(frames).index] == [0, 1]
    with pytest.raises(RuntimeError, match="unplugged"):
        next(frames)


def test_no_images_are_an_error() -> None:
    with pytest.raises(SourceError, match="'frames': there are no images"):
        open_video([])


def test_a_first_image_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"first image cannot be read.*must be uint8"):
        open_video([np.zeros((6, 8, 3))])
