"""The image loader: inputs, headers, limits and errors."""

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
    """An image that every rotation and flip changes."""
    return np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)


def png(pixels: Image) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header states a size and which has no pixels."""
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
def test_every_type_of_input_gives_the_same_pixels(
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


def test_content_decides_the_format_not_the_extension(tmp_path: Path, pixels: Image) -> None:
    path = tmp_path / "scene.jpg"
    path.write_bytes(png(pixels))
    np.testing.assert_array_equal(load_image(path), pixels)


@pytest.mark.parametrize(
    ("kind", "expected"), [("png", ".png"), ("jpeg", ".jpg"), ("tiff", ".tif"), ("webp", ".webp")]
)
def test_extension_is_guessed_from_the_content(pixels: Image, kind: str, expected: str) -> None:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind)
    assert guess_extension(buffer.getvalue()) == expected
    assert guess_extension(b"no image") == ""


def test_image_of_one_pixel_is_loaded() -> None:
    assert load_image(png(np.full((1, 1, 3), 7, np.uint8))).tolist() == [[[7, 7, 7]]]


def test_loaded_file_carries_name_hash_and_orientation(tmp_path: Path, pixels: Image) -> None:
    path = tmp_path / "scene.png"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(np.ascontiguousarray(np.rot90(pixels))).save(path, exif=exif)
    frame = load_image_file(path, "sub/scene.png")
    assert (frame.item_id, frame.path, frame.exif_orientation) == ("sub/scene.png", path, 6)
    assert frame.content_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert frame.size_hw == (5, 8)
    np.testing.assert_array_equal(frame.image, pixels)


def test_pil_image_is_not_modified(pixels: Image) -> None:
    image = PIL.Image.fromarray(pixels)
    image.getexif()[0x0112] = 3
    np.testing.assert_array_equal(load_image(image), pixels[::-1, ::-1])
    np.testing.assert_array_equal(np.asarray(image), pixels)
    assert image.getexif()[0x0112] == 3


class TestReducedSize:
    """``longer_side``: reduced decoding of images that are shown small."""

    @pytest.fixture
    def jpeg(self, tmp_path: Path) -> Path:
        """160×80 as stored, a gradient from dark on the left to bright on the right; rotated."""
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
    def test_jpeg_is_decoded_at_a_fraction_never_below_the_requested_size(
        self, jpeg: Path, longer_side: int, size_hw: tuple[int, int]
    ) -> None:
        assert load_image(jpeg, longer_side=longer_side).shape == (*size_hw, 3)

    def test_reduced_jpeg_is_upright(self, jpeg: Path) -> None:
        small = load_image(jpeg, longer_side=20)[:, 5, 0].astype(int)
        whole = load_image(jpeg)[4::8, 40, 0].astype(int)
        assert np.abs(small - whole).max() < 8

    def test_size_limit_applies_to_the_full_size(self, jpeg: Path) -> None:
        with pytest.raises(ImageError, match="160 × 80"):
            load_image(jpeg, config=ImageConfig(max_pixels=1000), longer_side=10)

    def test_other_inputs_keep_their_size(self, pixels: Image, jpeg: Path) -> None:
        assert load_image(png(pixels), longer_side=1).shape == pixels.shape
        assert load_image(pixels, longer_side=1).shape == pixels.shape
        with PIL.Image.open(jpeg) as opened:
            assert load_image(opened, longer_side=1).shape == (160, 80, 3)
            assert opened.size == (160, 80)


class TestArrays:
    def test_gray_array_with_or_without_channel_axis_becomes_rgb(self, pixels: Image) -> None:
        gray = pixels[..., 0]
        expected = np.repeat(gray[..., None], 3, axis=2)
        np.testing.assert_array_equal(load_image(gray), expected)
        np.testing.assert_array_equal(load_image(gray[..., None]), expected)

    def test_rgba_is_blended_onto_white(self) -> None:
        rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
        assert load_image(rgba).tolist() == [[[10, 20, 30], [255, 255, 255]]]

    def test_rgb_array_is_returned_without_copy(self, pixels: Image) -> None:
        assert load_image(pixels) is pixels

    def test_array_views_become_contiguous(self, pixels: Image) -> None:
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
    def test_arrays_of_other_forms_are_errors(self, array: Any, expected: str) -> None:
        with pytest.raises(ImageError, match=expected):
            load_image(array)


class TestHeaders:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
    def test_header_agrees_with_the_decoded_image(
        self, tmp_path: Path, pixels: Image, kind: str, orientation: int
    ) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / "photo"
        PIL.Image.fromarray(pixels).save(path, kind, exif=exif)
        header, frame = read_image_header(path), load_image_file(path, "photo")
        assert header.size_hw == frame.size_hw
        assert header.exif_orientation == frame.exif_orientation
        assert header.content_hash == frame.content_hash

    def test_header_of_a_tiff_that_pillow_does_not_support(self, tmp_path: Path) -> None:
        path = tmp_path / "doubles.tif"
        cv2.imwrite(str(path), np.zeros((3, 7), np.float64))
        assert read_image_header(path).size_hw == (3, 7)

    @pytest.mark.parametrize(
        ("content", "expected"),
        [(b"", "0 bytes"), (b"text", "not an image")],
        ids=["empty", "text"],
    )
    def test_header_of_a_file_that_is_no_image_is_an_error(
        self, tmp_path: Path, content: bytes, expected: str
    ) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(content)
        with pytest.raises(ImageError, match=expected):
            read_image_header(path)

    def test_header_of_an_image_above_the_limit_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(png_header(30_000, 30_000))
        with pytest.raises(ImageError, match="max_pixels"):
            read_image_header(path)


class TestBadImages:
    @pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "bmp", "ppm", "gif"])
    def test_truncated_file_is_an_error(self, tmp_path: Path, kind: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        path = tmp_path / "cut"
        PIL.Image.fromarray(noise).save(path, kind)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ImageError, match=f"{path}': (cannot be decoded|is damaged): "):
            load_image(path)

    @pytest.mark.filterwarnings("ignore:Corrupt EXIF")
    @pytest.mark.parametrize("size", [1, 2, 4, 9, 16, 30])
    @pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "bmp", "ppm", "gif"])
    def test_file_cut_within_the_header_is_an_error(
        self, pixels: Image, kind: str, size: int
    ) -> None:
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
    def test_file_that_is_no_image_is_described(
        self, tmp_path: Path, content: bytes, expected: str
    ) -> None:
        path = tmp_path / "odd.jpg"
        path.write_bytes(content)
        with pytest.raises(ImageError, match=f"{path}': {expected}"):
            load_image(path)

    def test_missing_file_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match=r"none\.png': does not exist"):
            load_image(tmp_path / "none.png")

    def test_broken_link_names_its_target(self, tmp_path: Path) -> None:
        (tmp_path / "link.png").symlink_to("no/where.png")
        with pytest.raises(ImageError, match=r"is a link to 'no/where\.png', which does not exist"):
            load_image(tmp_path / "link.png")

    def test_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="is a folder; give a file"):
            load_image_file(tmp_path, "x")

    def test_pipe_is_an_error_without_waiting(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageError, match=r"pipe\.png': is a pipe or device; give a file"):
            load_image_file(tmp_path / "pipe.png", "x")

    def test_invalid_path_is_an_error(self) -> None:
        with pytest.raises(ImageError, match="cannot be read"):
            load_image("a\0b.png")
        with pytest.raises(ImageError, match="cannot be read: File name too long"):
            load_image("a" * 5000)

    def test_error_of_a_name_that_is_not_utf8_is_printable(self, tmp_path: Path) -> None:
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
        with pytest.raises(ImageError) as caught:
            load_image(path)
        assert "caf\\\\xe9.png" in str(caught.value)
        str(caught.value).encode("utf-8")

    def test_file_opened_as_text_or_closed_is_an_error(self, tmp_path: Path, pixels: Image) -> None:
        path = tmp_path / "scene.png"
        path.write_bytes(png(pixels))
        with path.open() as file, pytest.raises(ImageError, match=r"opened as text.*'rb'"):
            load_image(file)  # type: ignore[arg-type]
        with path.open("rb") as closed:
            pass
        with pytest.raises(ImageError, match=r"scene\.png': cannot be read: .*closed"):
            load_image(closed)

    def test_unsupported_types_are_errors(self) -> None:
        with pytest.raises(ImageError, match="cannot load a int; give a path"):
            load_image(3)  # type: ignore[arg-type]

    def test_unsupported_protocols_are_errors(self) -> None:
        with pytest.raises(ImageError, match="cannot fetch 'file' addresses; give http or https"):
            load_image("file:///etc/passwd")


class TestSizeLimit:
    def test_image_of_exactly_the_limit_is_loaded(self, pixels: Image) -> None:
        assert load_image(png(pixels), config=ImageConfig(max_pixels=40)).shape == (5, 8, 3)

    def test_image_of_one_pixel_more_is_an_error(self, tmp_path: Path, pixels: Image) -> None:
        path = tmp_path / "scene.png"
        path.write_bytes(png(pixels))
        limit = ImageConfig(max_pixels=39)
        with pytest.raises(ImageError, match=r"scene\.png': has 8 × 5 pixels.*max_pixels is 39"):
            load_image_file(path, "scene.png", config=limit)
        with PIL.Image.open(path) as image, pytest.raises(ImageError, match="has 8 × 5 pixels"):
            load_image(image, config=limit)

    def test_decompression_bomb_is_refused_by_its_header(self) -> None:
        with pytest.raises(ImageError, match="has 60000 × 60000 pixels"):
            load_image(png_header(60_000, 60_000))

    def test_limit_of_pillow_neither_applies_nor_warns(self) -> None:
        """Pillow's own limit warns at 90 and refuses at 180 million pixels."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ImageError, match="cannot be decoded"):  # not: too large
                load_image(png_header(19_000, 10_000))
        assert PIL.Image.MAX_IMAGE_PIXELS is not None


class TestPixelCount:
    def test_pixels_are_counted_by_the_header(self, tmp_path: Path, pixels: Image) -> None:
        (tmp_path / "scene.png").write_bytes(png(pixels))
        assert pixel_count(tmp_path / "scene.png") == 40

    def test_pixels_above_the_limit_of_pillow_are_counted_without_warning(
        self, tmp_path: Path
    ) -> None:
        """Pillow's own limit would refuse such images, and they would count as 0 pixels."""
        (tmp_path / "huge.png").write_bytes(png_header(60_000, 60_000))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert pixel_count(tmp_path / "huge.png") == 3_600_000_000

    def test_files_that_are_no_images_count_zero_pixels(self, tmp_path: Path) -> None:
        (tmp_path / "text.png").write_text("no image")
        (tmp_path / "empty.png").touch()
        for name in ("text.png", "empty.png", "absent.png", "."):
            assert pixel_count(tmp_path / name) == 0

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
    def test_pipe_counts_zero_pixels_without_waiting(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        assert pixel_count(tmp_path / "pipe.png") == 0
