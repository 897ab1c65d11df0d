from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.errors import SourceError
from grounded_sam2.results import Image
from grounded_sam2.sources.video import open_video


def grays(count: int) -> Iterator[Image]:
    for number in range(count):
        yield np.full((6, 8, 3), number, np.uint8)


def test_generator_is_read_once() -> None:
    video = open_video(grays(5), fps=10, name="live")
    assert (video.name, video.path, video.size_hw) == ("live", None, (6, 8))
    assert (video.frame_count, video.duration, video.expected_frames) == (None, None, None)
    assert (video.stamp(), video.content_hash()) == (None, None)
    frames = list(video)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    with pytest.raises(SourceError, match="'live': its images come from a generator"):
        list(video)


def test_list_is_read_any_number_of_times() -> None:
    video = open_video(list(grays(4)), stride=2)
    assert [frame.index for frame in video] == [0, 2]
    assert [frame.index for frame in video] == [0, 2]
    assert (video.name, video.frame_count, video.expected_frames) == ("frames", 4, 2)


def test_images_are_consumed_lazily() -> None:
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


def test_pil_and_gray_images_become_rgb() -> None:
    video = open_video([PIL.Image.new("L", (8, 6), 7), np.full((6, 8), 7, np.uint8)])
    for frame in video:
        np.testing.assert_array_equal(frame.image, np.full((6, 8, 3), 7))


def test_arrays_are_copied() -> None:
    buffer = np.zeros((6, 8, 3), np.uint8)

    def one_buffer() -> Iterator[Image]:
        for number in range(3):
            buffer[:] = number
            yield buffer

    frames = list(open_video(one_buffer()))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 1, 2]


def test_image_of_another_size_or_type_is_broken() -> None:
    wrong = [np.zeros((6, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)]
    video = open_video([*grays(1), *wrong, *grays(1)])
    assert [frame.index for frame in video] == [0, 3]
    assert [each.index for each in video.broken.first] == [1, 2]
    assert "must be uint8" in video.broken.first[0].reason
    assert "8 × 8 pixels, and the first was 8 × 6" in video.broken.first[1].reason


def test_exception_of_the_generator_is_raised() -> None:
    def failing() -> Iterator[Image]:
        yield from grays(2)
        raise RuntimeError("unplugged")

    frames = iter(open_video(failing()))
    assert [next(frames).index, next(frames).index] == [0, 1]
    with pytest.raises(RuntimeError, match="unplugged"):
        next(frames)


def test_no_images_are_an_error() -> None:
    with pytest.raises(SourceError, match="'frames': there are no images"):
        open_video([])


def test_unreadable_first_image_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"first image cannot be read.*must be uint8"):
        open_video([np.zeros((6, 8, 3))])
