from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.detections import to_supervision
from grounded_sam2.drawing import annotate, contact_sheet, picture_format, save_picture
from grounded_sam2.errors import ImageError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Image, Label, Labels

SIZE = (60, 80)


def grey(height: int = SIZE[0], width: int = SIZE[1]) -> Image:
    return np.full((height, width, 3), 128, np.uint8)


def labels(*, confidence: float | None = 0.9, with_mask: bool = True) -> Labels:
    mask = np.zeros(SIZE, np.bool_)
    mask[40:50, 40:60] = True
    label = Label(
        class_name="ball",
        caption="red circle",
        box_xyxy=(40.0, 40.0, 60.0, 50.0),
        mask=encode(mask)[0] if with_mask else None,
        confidence=confidence,
        mask_quality=0.8 if with_mask else None,
    )
    return Labels(SIZE, (label,))


class TestAnnotate:
    def test_draws_into_the_mask_and_not_far_from_it(self) -> None:
        drawn = annotate(grey(), to_supervision(labels(), ["ball"]))
        assert drawn.shape == (*SIZE, 3)
        assert drawn.dtype == np.uint8
        assert (drawn[43:47, 43:57] != 128).any(axis=2).all()
        assert (drawn[55:, :30] == 128).all()

    def test_leaves_the_picture_as_it_is(self) -> None:
        picture = grey()
        annotate(picture, to_supervision(labels(), ["ball"]))
        assert (picture == 128).all()

    def test_of_nothing_is_a_copy(self) -> None:
        picture = grey()
        drawn = annotate(picture, to_supervision(Labels(SIZE), ["ball"]))
        np.testing.assert_array_equal(drawn, picture)
        assert not np.shares_memory(drawn, picture)

    @pytest.mark.parametrize("case", [{"confidence": None}, {"with_mask": False}])
    def test_of_objects_that_lack_something(self, case: dict[str, bool]) -> None:
        drawn = annotate(grey(), to_supervision(labels(**case), ["ball"]))  # type: ignore[arg-type]
        assert (drawn != 128).any()

    def test_uses_the_colours_of_supervision_in_rgb(self) -> None:
        import supervision as sv

        drawn = annotate(np.zeros((*SIZE, 3), np.uint8), to_supervision(labels(), ["ball"]))
        colour = np.array(sv.ColorPalette.DEFAULT.by_idx(0).as_rgb())
        np.testing.assert_allclose(drawn[45, 50], 0.3 * colour, atol=2)


class TestContactSheet:
    def test_puts_pictures_in_rows(self) -> None:
        dark, bright = np.zeros((10, 10, 3), np.uint8), np.full((10, 10, 3), 200, np.uint8)
        sheet = contact_sheet([dark, bright, dark], columns=2, cell=10)
        assert sheet.shape == (2 * 16 + 6, 2 * 16 + 6, 3)
        assert (sheet[6:16, 6:16] == 0).all()
        assert (sheet[6:16, 22:32] == 200).all()
        assert (sheet[22:32, 6:16] == 0).all()
        assert (sheet[22:32, 22:32] == 255).all(), "an empty cell is paper"

    def test_keeps_proportions(self) -> None:
        sheet = contact_sheet([np.zeros((10, 20, 3), np.uint8)], cell=40)
        rows, columns = np.nonzero((sheet == 0).all(axis=2))
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (20, 40)

    def test_of_nothing_is_an_empty_cell(self) -> None:
        sheet = contact_sheet([], cell=10)
        assert sheet.shape == (22, 22, 3)
        assert (sheet == 255).all()

    def test_of_fewer_pictures_than_columns_is_as_wide_as_they_are(self) -> None:
        assert contact_sheet([grey(10, 10)], columns=6, cell=10).shape == (22, 22, 3)


class TestSavePicture:
    def test_writes_rgb(self, tmp_path: Path) -> None:
        picture = grey()
        picture[..., 0] = 200
        save_picture(picture, tmp_path / "new" / "a.PNG")
        saved = np.asarray(PIL.Image.open(tmp_path / "new" / "a.PNG"))
        np.testing.assert_array_equal(saved, picture)

    @pytest.mark.parametrize("name", ["a.mp4", "a", "a.psd"])
    def test_refuses_what_is_no_picture_format(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match=r"use \.png or \.jpg"):
            save_picture(grey(), tmp_path / name)

    def test_says_why_it_cannot_write(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ImageError, match="cannot be written"):
            save_picture(grey(), tmp_path / "file" / "a.png")

    def test_knows_formats_by_their_endings(self) -> None:
        assert picture_format("a.jpeg") == "JPEG"
