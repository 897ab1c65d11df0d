"""Small videos and audio files, written by PyAV on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest
from av.stream import Disposition

from grounded_sam2.results import Image

SIZE = (48, 64)
MakeVideo = Callable[..., Path]


def draw_image(number: int, size_hw: tuple[int, int] = SIZE) -> Image:
    """Gray that increases with the index, a red top left corner, a blue bottom edge."""
    image = np.full((*size_hw, 3), 40 + number * 3 % 160, np.uint8)
    image[:16, :16] = (220, 20, 20)
    image[-8:] = (20, 20, 220)
    return image


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Write a video: ``make_video("a.mp4", 30, pts=[0, 40, 50], rotation=(90,))``."""

    def make(
        name: str = "clip.mp4",
        count: int = 30,
        *,
        size_hw: tuple[int, int] = SIZE,
        codec: str = "libx264",
        pixels: str = "yuv420p",
        rate: int = 25,
        pts: Sequence[int] | None = None,
        rotation: tuple[Any, ...] | None = None,
        options: dict[str, str] | None = None,
        images: Sequence[Image] | None = None,
        setup: Callable[[Any], None] = lambda stream: None,
    ) -> Path:
        path = tmp_path / name
        with av.open(path, "w") as container:
            stream = container.add_stream(codec, rate=rate, options=options or {})
            stream.height, stream.width = size_hw
            stream.pix_fmt = pixels
            if rotation is not None:
                stream.set_display_rotation(*rotation)
            if pts is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            setup(stream)
            for number in range(count if pts is None else len(pts)):
                image = draw_image(number, size_hw) if images is None else images[number]
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts = number if pts is None else pts[number]
                frame.time_base = Fraction(1, rate) if pts is None else Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make


@pytest.fixture
def make_sound(tmp_path: Path) -> Callable[..., Path]:
    """Write a moment of silence: ``make_sound("a.mp3", "mp3", with_cover=True)``."""

    def make(name: str = "sound.m4a", codec: str = "aac", *, with_cover: bool = False) -> Path:
        path = tmp_path / name
        with av.open(path, "w") as container:
            stream = container.add_stream(codec, rate=44100)
            if with_cover:
                jpeg = BytesIO()
                PIL.Image.new("RGB", (32, 32)).save(jpeg, "JPEG")
                cover = container.add_stream("mjpeg")
                cover.width = cover.height = 32
                cover.pix_fmt = "yuvj420p"
                cover.disposition = Disposition.attached_pic
                packet = av.Packet(jpeg.getvalue())
                packet.stream, packet.pts, packet.dts = cover, 0, 0
                container.mux(packet)
            for number in range(10):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), "fltp", "mono")
                frame.sample_rate = 44100
                frame.pts = 1152 * number
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make
