"""Conversion of color models, depths, transparency and orientations to upright RGB."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError
from grounded_sam2.results import Image
from grounded_sam2.sources import pixels
from grounded_sam2.sources.image import load_image as load_in_one_band
from grounded_sam2.sources.image import load_image_file

WHITE = [255, 255, 255]


def load_image(
    source: bytes | PIL.Image.Image,
    *,
    config: ImageConfig = ImageConfig(),  # noqa: B008
) -> Image:
    """Load an image in one band; check that bands of one row give the same pixels or error."""
    try:
        image = load_in_one_band(source, config=config)
    except ImageError as error:
        with contextlib.suppress(PIL.UnidentifiedImageError):  # rare TIFFs
            rows = PIL.Image.open(io.BytesIO(source)) if isinstance(source, bytes) else source
            with pytest.raises(ValueError, match=re.escape(str(error.__cause__))):
                pixels.upright_rgb(rows, band_pixels=1)
        raise
    with contextlib.suppress(PIL.UnidentifiedImageError):
        rows = PIL.Image.open(io.BytesIO(source)) if isinstance(source, bytes) else source
        np.testing.assert_array_equal(pixels.upright_rgb(rows, band_pixels=1), image)
    return image


def saved(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gray_row(*values: int) -> list[list[list[int]]]:
    return [[[value] * 3 for value in values]]


def tiff(samples: NDArray[Any]) -> bytes:
    """A TIFF of any depth from RGB samples, written by OpenCV."""
    done, data = cv2.imencode(".tiff", samples[..., ::-1] if samples.ndim == 3 else samples)
    assert done
    return data.tobytes()


def tiff_by_hand(strip: bytes, tags: dict[int, list[int]]) -> bytes:
    """An uncompressed little-endian TIFF with one strip, of a variant that no library writes."""
    values = {259: [1], 273: [8], 279: [len(strip)]} | tags
    data = b"II*\0" + bytes(4) + strip + bytes(len(strip) % 2)
    directory = len(values).to_bytes(2, "little")
    for tag, numbers in sorted(values.items()):
        packed = np.array(numbers, "<u2").tobytes()
        if len(packed) > 4:
            packed, data = len(data).to_bytes(4, "little"), data + packed
        directory += np.array([tag, 3, len(numbers), 0], "<u2").tobytes() + packed.ljust(4, b"\0")
    return data[:4] + len(data).to_bytes(4, "little") + data[8:] + directory + bytes(4)


class TestColorModels:
    def test_one_bit_images(self) -> None:
        image = PIL.Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
        assert load_image(saved(image, "png")).tolist() == gray_row(0, 255)
        assert load_image(saved(image, "tiff")).tolist() == gray_row(0, 255)

    def test_gray_images(self) -> None:
        image = PIL.Image.fromarray(np.array([[0, 100, 255]], np.uint8))
        assert load_image(saved(image, "png")).tolist() == gray_row(0, 100, 255)

    def test_gray_images_with_alpha(self) -> None:
        image = PIL.Image.fromarray(np.array([[[100, 255], [100, 0], [0, 51]]], np.uint8), "LA")
        assert load_image(saved(image, "png")).tolist() == gray_row(100, 255, 204)

    def test_rgba_images(self) -> None:
        rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
        expected = [[[200, 100, 0], WHITE, [244, 224, 204]]]
        image = PIL.Image.fromarray(rgba)
        assert load_image(saved(image, "png")).tolist() == expected
        assert load_image(saved(image, "tiff")).tolist() == expected
        assert load_image(image).tolist() == expected

    def test_palette_images(self) -> None:
        image = PIL.Image.new("P", (2, 1))
        image.putpalette([200, 100, 0, 0, 50, 250])
        image.putpixel((1, 0), 1)
        expected = [[[200, 100, 0], [0, 50, 250]]]
        assert load_image(saved(image, "png")).tolist() == expected
        assert load_image(saved(image, "gif")).tolist() == expected

    def test_palette_with_a_transparent_color(self) -> None:
        image = PIL.Image.new("P", (2, 1))
        image.putpalette([200, 100, 0, 0, 50, 250])
        image.putpixel((1, 0), 1)
        expected = [[WHITE, [0, 50, 250]]]
        assert load_image(saved(image, "png", transparency=0)).tolist() == expected
        assert load_image(saved(image, "gif", transparency=0)).tolist() == expected

    def test_palette_with_an_alpha_for_each_color(self) -> None:
        image = PIL.Image.new("P", (2, 1))
        image.putpalette([200, 100, 0, 0, 50, 250])
        image.putpixel((1, 0), 1)
        loaded = load_image(saved(image, "png", transparency=bytes([51, 255])))
        assert loaded.tolist() == [[[244, 224, 204], [0, 50, 250]]]

    def test_rgb_and_gray_with_a_transparent_color(self) -> None:
        rgb = PIL.Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
        assert load_image(saved(rgb, "png", transparency=(1, 2, 3))).tolist() == [
            [WHITE, [4, 5, 6]]
        ]
        gray = PIL.Image.fromarray(np.array([[9, 8]], np.uint8))
        assert load_image(saved(gray, "png", transparency=9)).tolist() == gray_row(255, 8)

    def test_cmyk_tiff(self) -> None:
        cmyk = np.array(
            [[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 255, 255, 51]]], np.uint8
        )
        data = saved(PIL.Image.fromarray(cmyk.astype(np.uint8), "CMYK"), "tiff")
        assert load_image(data).tolist() == [[WHITE, [0, 255, 255], [0, 0, 0], [204, 0, 0]]]

    def test_cmyk_jpeg_with_adobes_inverted_inks(self) -> None:
        cmyk = np.zeros((16, 16, 4), np.uint8)
        cmyk[..., 0] = 255
        data = saved(PIL.Image.fromarray(cmyk, "CMYK"), "jpeg", quality=95)
        assert b"Adobe" in data
        np.testing.assert_allclose(
            load_image(data).astype(int), np.full((16, 16, 3), [0, 255, 255]), atol=3
        )

    def test_ycbcr_jpeg(self) -> None:
        rgb = np.full((16, 16, 3), (200, 100, 50), np.uint8)
        data = saved(PIL.Image.fromarray(rgb), "jpeg", quality=95)
        np.testing.assert_allclose(load_image(data).astype(int), rgb, atol=3)

    def test_lab_and_hsv(self) -> None:
        lab = PIL.Image.new("LAB", (1, 1), (255, 128, 128))
        np.testing.assert_allclose(load_image(saved(lab, "tiff")).astype(int), [[WHITE]], atol=2)
        assert load_image(PIL.Image.new("HSV", (1, 1), (0, 255, 200))).tolist() == [[[200, 0, 0]]]


class TestDepth:
    SIXTEEN = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    EIGHT = gray_row(0, 0, 1, 128, 255)

    def test_16_bit_gray(self) -> None:
        image = PIL.Image.fromarray(self.SIXTEEN)
        for kind in ("png", "tiff", "jpeg2000"):
            assert load_image(saved(image, kind)).tolist() == self.EIGHT, kind
        assert load_image(image).tolist() == self.EIGHT
        assert load_image(tiff(self.SIXTEEN)).tolist() == self.EIGHT
        big_endian = PIL.Image.frombytes("I;16B", (5, 1), self.SIXTEEN.astype(">u2").tobytes())
        assert load_image(saved(big_endian, "tiff")).tolist() == self.EIGHT

    def test_16_bit_dark_images_stay_dark(self) -> None:
        dark = np.full((4, 4), 1024, np.uint16)
        assert np.unique(load_image(saved(PIL.Image.fromarray(dark), "png"))).tolist() == [4]

    def test_16_bit_rgb(self) -> None:
        rgb = np.array([[[0, 256, 65535], [65535, 255, 32768]]], np.uint16)
        expected = [[[0, 1, 255], [255, 0, 128]]]
        assert load_image(tiff(rgb)).tolist() == expected
        assert load_image(cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()).tolist() == expected

    def test_16_bit_tiff_where_white_is_zero(self) -> None:
        data = saved(PIL.Image.fromarray(self.SIXTEEN), "tiff", tiffinfo={262: 0})
        assert load_image(data).tolist() == gray_row(255, 255, 254, 127, 0)

    def test_12_bit_tiff(self) -> None:
        strip = bytes([0x80, 0x0F, 0xFF])  # two samples, 0x800 and 0xfff
        data = tiff_by_hand(strip, {256: [2], 257: [1], 258: [12], 262: [1], 277: [1]})
        assert load_image(data).tolist() == gray_row(128, 255)

    def test_32_bit_integers_are_read_as_16_bits(self) -> None:
        image = PIL.Image.fromarray(self.SIXTEEN.astype(np.int32))
        assert load_image(saved(image, "tiff")).tolist() == self.EIGHT

    @pytest.mark.parametrize("value", [-1, 65536])
    def test_integers_beyond_16_bits_are_refused(self, value: int) -> None:
        image = PIL.Image.fromarray(np.array([[0, value]], np.int32))
        with pytest.raises(ImageError, match=f"samples run from .*{value}.*scale them to 16 bits"):
            load_image(saved(image, "tiff"))

    def test_floats_to_one_mean_black_to_white(self) -> None:
        samples = np.array([[0, 0.2, 0.5, 1]], np.float32)
        data = saved(PIL.Image.fromarray(samples), "tiff")
        assert load_image(data).tolist() == gray_row(0, 51, 128, 255)
        assert load_image(PIL.Image.fromarray(samples)).tolist() == gray_row(0, 51, 128, 255)

    def test_floats_above_one_are_read_as_0_to_255(self) -> None:
        samples = np.array([[0, 1, 99.6, 255]], np.float32)
        data = saved(PIL.Image.fromarray(samples), "tiff")
        assert load_image(data).tolist() == gray_row(0, 1, 100, 255)

    def test_float_rgb_and_doubles(self) -> None:
        rgb = np.array([[[0, 0.2, 1], [1, 0.4, 0]]], np.float32)
        expected = [[[0, 51, 255], [255, 102, 0]]]
        assert load_image(tiff(rgb)).tolist() == expected
        assert load_image(tiff(rgb.astype(np.float64))).tolist() == expected
        assert load_image(tiff(rgb[..., 1].astype(np.float64))).tolist() == gray_row(51, 102)

    def test_float_rgb_obeys_the_size_limit(self) -> None:
        with pytest.raises(
            ImageError, match=r"has 8 × 9 pixels; the limit images\.max_pixels is 71"
        ):
            load_image(tiff(np.zeros((9, 8, 3), np.float32)), config=ImageConfig(max_pixels=71))

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (-0.5, "float samples run from -0.5 to 0; scale them to 0…1 or 0…255"),
            (255.5, "float samples run from 0 to 255.5; scale them to 0…1 or 0…255"),
            (np.nan, "some of its float samples are not finite; replace them"),
            (np.inf, "some of its float samples are not finite; replace them"),
            (-np.inf, "some of its float samples are not finite; replace them"),
        ],
    )
    def test_other_floats_are_refused(self, value: float, expected: str) -> None:
        samples = np.array([[0, value]], np.float32)
        with pytest.raises(ImageError, match=expected):
            load_image(saved(PIL.Image.fromarray(samples), "tiff"))


class TestAnimations:
    @pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff"])
    def test_animation_yields_its_first_frame(self, kind: str) -> None:
        frames = [PIL.Image.new("RGB", (4, 4), color) for color in ("red", "lime", "blue")]
        options = {"lossless": True} if kind == "webp" else {}
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert np.unique(load_image(data).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


def stored(upright: Image, orientation: int) -> Image:
    """The stored layout of a scene for this orientation tag (EXIF 2.32, section 4.6.4)."""
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    return np.ascontiguousarray(turned)


class TestOrientation:
    UPRIGHT = np.kron(
        np.random.default_rng(1).integers(0, 256, (3, 5, 1), dtype=np.uint8),
        np.ones((16, 16, 3), np.uint8),  # blocks of one gray, which JPEG preserves
    )

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("png", {}),
            ("jpeg", {"quality": 95}),
            ("webp", {"lossless": True}),
            ("tiff", {}),
            ("tiff", {"compression": "tiff_lzw"}),
        ],
        ids=["png", "jpeg", "webp", "tiff", "tiff-lzw"],
    )
    def test_all_orientations_give_the_same_upright_image(
        self, tmp_path: Path, kind: str, options: dict[str, Any], orientation: int
    ) -> None:
        path = tmp_path / "scene"
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        image = PIL.Image.fromarray(stored(self.UPRIGHT, orientation))
        image.save(path, kind, exif=exif, **options)
        frame = load_image_file(path, "scene")
        tolerance = 3 if kind == "jpeg" else 0
        np.testing.assert_allclose(frame.image.astype(int), self.UPRIGHT, atol=tolerance)
        assert frame.exif_orientation == orientation
        assert frame.image.flags.c_contiguous
        with PIL.Image.open(path) as rows:
            np.testing.assert_array_equal(pixels.upright_rgb(rows, band_pixels=1), frame.image)

    @pytest.mark.parametrize("orientation", [0, 9, 1000])
    def test_invalid_orientations_are_ignored(self, tmp_path: Path, orientation: int) -> None:
        path = tmp_path / "scene.png"
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        PIL.Image.fromarray(self.UPRIGHT).save(path, exif=exif)
        frame = load_image_file(path, "scene.png")
        assert frame.exif_orientation == 1
        np.testing.assert_array_equal(frame.image, self.UPRIGHT)

    @pytest.mark.filterwarnings("ignore:Corrupt EXIF")
    def test_damaged_metadata_does_not_fail_the_image(self) -> None:
        data = saved(PIL.Image.fromarray(self.UPRIGHT), "png", exif=b"Exif\0\0II*\0garbage")
        np.testing.assert_array_equal(load_image(data), self.UPRIGHT)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_float_rgb_tiff_is_upright(self, orientation: int) -> None:
        samples = stored(self.UPRIGHT, orientation)
        height, width = samples.shape[:2]
        shape = {256: [width], 257: [height], 258: [32] * 3, 277: [3], 339: [3] * 3}
        data = tiff_by_hand(samples.astype("<f4").tobytes(), shape | {262: [2], 274: [orientation]})
        np.testing.assert_array_equal(load_image(data), self.UPRIGHT)


@pytest.mark.parametrize("band_pixels", [1, pixels.BAND_PIXELS])
@pytest.mark.parametrize("size_hw", [(1, 1), (3, 5), (7, 1), (1, 7)], ids=str)
def test_to_pillow_keeps_the_pixels(size_hw: tuple[int, int], band_pixels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    pillow_image = pixels.to_pillow(image, band_pixels=band_pixels)
    assert (pillow_image.mode, pillow_image.size) == ("RGB", size_hw[::-1])
    np.testing.assert_array_equal(np.asarray(pillow_image), image)
