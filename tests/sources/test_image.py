"""The image loader: every way in gives the same pixels, and every bad file says why."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError
from grounded_sam2.results import Image
from grounded_sam2.sources.image import (
    guess_extension,
    load_image,
    load_image_file,
    pixel_count,
    read_image_header,
)


@pytest.fixture
def pixels() -> Image:
    """An image that no turn or flip leaves as it is."""
    return np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)


def png(pixels: Image) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    chunks = [b"IHDR" + size + b"\x08\x02\0\0\0", b"IDAT"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        for chunk in chunks
    )


@pytest.mark.parametrize(
    "way_in",
    [
        lambda path: str(path),
        lambda path: path,
        lambda path: path.read_bytes(),
        lambda path: bytearray(path.read_bytes()),
        lambda path: memoryview(path.read_bytes()),
        lambda path: io.BytesIO(path.read_bytes()),
        lambda path: path.open("rb"),
        lambda path: PIL.Image.open(path),
        lambda path: np.asarray(PIL.Image.open(io.BytesIO(path.read_bytes()))),
    ],
    ids=["str", "Path", "bytes", "bytearray", "memoryview", "BytesIO", "file", "PIL", "array"],
)
def test_every_way_in_gives_the_same_pixels(
    tmp_path: Path, pixels: Image, way_in: Callable[[Path], Any]
) -> None:
    path = tmp_path / "scène 1.png"
    path.write_bytes(png(pixels))
    given = way_in(path)
    image = load_image(given)
    if hasattr(given, "close"):
        given.close()
    np.testing.assert_array_equal(image, pixels)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


def test_decoded_images_are_writable(pixels: Image) -> None:
    image = load_image(png(pixels))
    image[0, 0] = 0
    assert image[0, 0].tolist() == [0, 0, 0]


def test_a_suffix_says_nothing(tmp_path: Path, pixels: Image) -> None:
    path = tmp_path / "scene.jpg"
    path.write_bytes(png(pixels))
    np.testing.assert_array_equal(load_image(path), pixels)


@pytest.mark.parametrize(
    ("kind", "expected"), [("png", ".png"), ("jpeg", ".jpg"), ("tiff", ".tif"), ("webp", ".webp")]
)
def test_the_ending_that_a_file_should_have(pixels: Image, kind: str, expected: str) -> None:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind)
    assert guess_extension(buffer.getvalue()) == expected
    assert guess_extension(b"no image") == ""


def test_one_pixel() -> None:
    assert load_image(png(np.full((1, 1, 3), 7, np.uint8))).tolist() == [[[7, 7, 7]]]


def test_a_frame_carries_name_hash_and_orientation(tmp_path: Path, pixels: Image) -> None:
    path = tmp_path / "scene.png"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(np.ascontiguousarray(np.rot90(pixels))).save(path, exif=exif)
    frame = load_image_file(path, "sub/scene.png")
    assert (frame.item_id, frame.path, frame.exif_orientation) == ("sub/scene.png", path, 6)
    assert frame.content_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert frame.size_hw == (5, 8)
    np.testing.assert_array_equal(frame.image, pixels)


def test_a_pil_image_is_left_as_it_is(pixels: Image) -> None:
    image = PIL.Image.fromarray(pixels)
    image.getexif()[0x0112] = 3
    np.testing.assert_array_equal(load_image(image), pixels[::-1, ::-1])
    np.testing.assert_array_equal(np.asarray(image), pixels)
    assert image.getexif()[0x0112] == 3


class TestAsManyPixelsAsNeeded:
    """``longer_side``: an image that is shown small need not be decoded large."""

    @pytest.fixture
    def jpeg(self, tmp_path: Path) -> Path:
        """160×80 as stored, from dark on the left to bright on the right; to be turned."""
        ramp = np.tile(np.linspace(0, 255, 160).astype(np.uint8), (80, 1))
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        path = tmp_path / "ramp.jpg"
        PIL.Image.fromarray(ramp).convert("RGB").save(path, exif=exif, quality=95)
        return path

    @pytest.mark.parametrize(
        ("longer_side", "size_hw"),
        [
            (1, (20, 10)),
            (20, (20, 10)),
            (21, (40, 20)),
            (41, (80, 40)),
            (80, (80, 40)),
            (81, (160, 80)),
            (5000, (160, 80)),
        ],
    )
    def test_a_jpeg_comes_in_halves_and_never_with_fewer(
        self, jpeg: Path, longer_side: int, size_hw: tuple[int, int]
    ) -> None:
        assert load_image(jpeg, longer_side=longer_side).shape == (*size_hw, 3)

    def test_it_is_the_same_image_upright(self, jpeg: Path) -> None:
        small = load_image(jpeg, longer_side=20)[:, 5, 0].astype(int)
        whole = load_image(jpeg)[4::8, 40, 0].astype(int)
        assert np.abs(small - whole).max() < 8

    def test_the_limit_is_that_of_the_whole_image(self, jpeg: Path) -> None:
        with pytest.raises(ImageError, match="160 × 80"):
            load_image(jpeg, config=ImageConfig(max_pixels=1000), longer_side=10)

    def test_other_images_come_as_they_are(self, pixels: Image, jpeg: Path) -> None:
        assert load_image(png(pixels), longer_side=1).shape == pixels.shape
        assert load_image(pixels, longer_side=1).shape == pixels.shape
        with PIL.Image.open(jpeg) as opened:
            assert load_image(opened, longer_side=1).shape == (160, 80, 3)
            assert opened.size == (160, 80)


class TestArrays:
    def test_grey_with_and_without_its_axis(self, pixels: Image) -> None:
        grey = pixels[..., 0]
        expected = np.repeat(grey[..., None], 3, axis=2)
        np.testing.assert_array_equal(load_image(grey), expected)
        np.testing.assert_array_equal(load_image(grey[..., None]), expected)

    def test_rgba_is_laid_on_white(self) -> None:
        rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
        assert load_image(rgba).tolist() == [[[10, 20, 30], [255, 255, 255]]]

    def test_rgb_is_returned_as_it_is(self, pixels: Image) -> None:
        assert load_image(pixels) is pixels

    def test_views_become_contiguous(self, pixels: Image) -> None:
        image = load_image(pixels[:, ::-1])
        assert image.flags.c_contiguous
        np.testing.assert_array_equal(image, pixels[:, ::-1])

    @pytest.mark.parametrize(
        ("array", "expected"),
        [
            (np.zeros((4, 4, 3)), r"\(4, 4, 3\) float64\): must be uint8"),
            (np.zeros((4, 4, 3), np.uint16), "uint16.*: must be uint8"),
            (np.zeros((4, 4), bool), "bool.*: must be uint8"),
            (np.zeros((3, 4, 5), np.uint8), r"\(3, 4, 5\).*channels last"),
            (np.zeros((1, 4, 4, 3), np.uint8), "must be"),
            (np.zeros(4, np.uint8), "must be"),
            (np.zeros((0, 4, 3), np.uint8), "has no pixels"),
        ],
    )
    def test_other_forms_are_refused(self, array: Any, expected: str) -> None:
        with pytest.raises(ImageError, match=expected):
            load_image(array)


class TestHeaders:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
    def test_say_what_the_decoded_image_says(
        self, tmp_path: Path, pixels: Image, kind: str, orientation: int
    ) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / "picture"
        PIL.Image.fromarray(pixels).save(path, kind, exif=exif)
        header, frame = read_image_header(path), load_image_file(path, "picture")
        assert header.size_hw == frame.size_hw
        assert header.exif_orientation == frame.exif_orientation
        assert header.content_hash == frame.content_hash

    def test_of_a_tiff_that_pillow_does_not_know(self, tmp_path: Path) -> None:
        path = tmp_path / "doubles.tif"
        cv2.imwrite(str(path), np.zeros((3, 7), np.float64))
        assert read_image_header(path).size_hw == (3, 7)

    @pytest.mark.parametrize(
        ("content", "expected"),
        [(b"", "0 bytes"), (b"text", "not an image")],
        ids=["empty", "text"],
    )
    def test_of_what_is_no_image(self, tmp_path: Path, content: bytes, expected: str) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(content)
        with pytest.raises(ImageError, match=expected):
            read_image_header(path)

    def test_of_an_image_that_is_too_large(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(png_header(30_000, 30_000))
        with pytest.raises(ImageError, match="max_pixels"):
            read_image_header(path)


class TestBadImages:
    @pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "bmp", "ppm", "gif"])
    def test_truncated(self, tmp_path: Path, kind: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        path = tmp_path / "cut"
        PIL.Image.fromarray(noise).save(path, kind)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ImageError, match=f"{path}': (cannot be decoded|is damaged): "):
            load_image(path)

    @pytest.mark.filterwarnings("ignore:Corrupt EXIF")
    @pytest.mark.parametrize("size", [1, 2, 4, 9, 16, 30])
    @pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "bmp", "ppm", "gif"])
    def test_cut_within_the_header(self, pixels: Image, kind: str, size: int) -> None:
        buffer = io.BytesIO()
        PIL.Image.fromarray(pixels).save(buffer, kind)
        with pytest.raises(ImageError, match=r"image \(bytes\): "):
            load_image(buffer.getvalue()[:size])

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "is empty"),
            (b"just text, no image", "is not an image in a known format"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image, but an SVG drawing"),
            (bytes(200), "is not an image, but all zeros"),
        ],
        ids=["empty", "text", "PostScript", "SVG", "zeros"],
    )
    def test_not_an_image(self, tmp_path: Path, content: bytes, expected: str) -> None:
        path = tmp_path / "odd.jpg"
        path.write_bytes(content)
        with pytest.raises(ImageError, match=f"{path}': {expected}"):
            load_image(path)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match=r"none\.png': does not exist"):
            load_image(tmp_path / "none.png")

    def test_a_link_to_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "link.png").symlink_to("no/where.png")
        with pytest.raises(ImageError, match=r"is a link to 'no/where\.png', which does not exist"):
            load_image(tmp_path / "link.png")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="is a folder; give a file"):
            load_image_file(tmp_path, "x")

    def test_a_pipe_that_nobody_writes_to(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageError, match=r"pipe\.png': is a pipe or device; give a file"):
            load_image_file(tmp_path / "pipe.png", "x")

    def test_a_path_that_cannot_be(self) -> None:
        with pytest.raises(ImageError, match="cannot be read"):
            load_image("a\0b.png")
        with pytest.raises(ImageError, match="cannot be read: File name too long"):
            load_image("a" * 5000)

    def test_a_name_that_is_not_unicode_can_be_printed(self, tmp_path: Path) -> None:
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
        with pytest.raises(ImageError) as caught:
            load_image(path)
        assert "caf\\\\xe9.png" in str(caught.value)
        str(caught.value).encode("utf-8")

    def test_a_file_opened_as_text_or_closed(self, tmp_path: Path, pixels: Image) -> None:
        path = tmp_path / "scene.png"
        path.write_bytes(png(pixels))
        with path.open() as file, pytest.raises(ImageError, match=r"opened as text.*'rb'"):
            load_image(file)  # type: ignore[arg-type]
        with path.open("rb") as closed:
            pass
        with pytest.raises(ImageError, match=r"scene\.png': cannot be read: .*closed"):
            load_image(closed)

    def test_other_things(self) -> None:
        with pytest.raises(ImageError, match="cannot load a int; give a path"):
            load_image(3)  # type: ignore[arg-type]

    def test_other_addresses(self) -> None:
        with pytest.raises(ImageError, match="cannot fetch 'file' addresses; give http or https"):
            load_image("file:///etc/passwd")


class TestSizeLimit:
    def test_exactly_the_limit_passes(self, pixels: Image) -> None:
        assert load_image(png(pixels), config=ImageConfig(max_pixels=40)).shape == (5, 8, 3)

    def test_one_pixel_more_does_not(self, tmp_path: Path, pixels: Image) -> None:
        path = tmp_path / "scene.png"
        path.write_bytes(png(pixels))
        limit = ImageConfig(max_pixels=39)
        with pytest.raises(ImageError, match=r"scene\.png': has 8 × 5 pixels.*max_pixels is 39"):
            load_image_file(path, "scene.png", config=limit)
        with PIL.Image.open(path) as image, pytest.raises(ImageError, match="has 8 × 5 pixels"):
            load_image(image, config=limit)

    def test_a_bomb_is_refused_by_its_header_alone(self) -> None:
        with pytest.raises(ImageError, match="has 60000 × 60000 pixels"):
            load_image(png_header(60_000, 60_000))

    def test_only_our_limit_counts_and_nothing_warns(self) -> None:
        """Pillow's own would warn at 90 and refuse at 180 million pixels."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ImageError, match="cannot be decoded"):  # not: too large
                load_image(png_header(19_000, 10_000))
        assert PIL.Image.MAX_IMAGE_PIXELS is not None


class TestPixelsOf:
    def test_the_header_tells(self, tmp_path: Path, pixels: Image) -> None:
        (tmp_path / "scene.png").write_bytes(png(pixels))
        assert pixel_count(tmp_path / "scene.png") == 40

    def test_however_many_and_nothing_warns(self, tmp_path: Path) -> None:
        """Pillow's own limit would refuse to tell, and such images would count as nothing."""
        (tmp_path / "huge.png").write_bytes(png_header(60_000, 60_000))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert pixel_count(tmp_path / "huge.png") == 3_600_000_000

    def test_what_has_no_pixels(self, tmp_path: Path) -> None:
        (tmp_path / "text.png").write_text("no image")
        (tmp_path / "empty.png").touch()
        for name in ("text.png", "empty.png", "absent.png", "."):
            assert pixel_count(tmp_path / name) == 0

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        assert pixel_count(tmp_path / "pipe.png") == 0
