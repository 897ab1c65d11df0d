"""Images arranged in rows."""

from __future__ import annotations

import numpy as np

from grounded_sam2.visualization.contact_sheet import contact_sheet


class TestContactSheet:
    def test_arranges_images_in_rows(self) -> None:
        dark, bright = np.zeros((10, 10, 3), np.uint8), np.full((10, 10, 3), 200, np.uint8)
        sheet = contact_sheet([dark, bright, dark], columns=2, cell=10)
        assert sheet.shape == (2 * 16 + 6, 2 * 16 + 6, 3)
        assert (sheet[6:16, 6:16] == 0).all()
        assert (sheet[6:16, 22:32] == 200).all()
        assert (sheet[22:32, 6:16] == 0).all()
        assert (sheet[22:32, 22:32] == 255).all(), "an empty cell is paper"

    def test_keeps_the_aspect_ratio(self) -> None:
        sheet = contact_sheet([np.zeros((10, 20, 3), np.uint8)], cell=40)
        rows, columns = np.nonzero((sheet == 0).all(axis=2))
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (20, 40)

    def test_no_images_give_an_empty_cell(self) -> None:
        sheet = contact_sheet([], cell=10)
        assert sheet.shape == (22, 22, 3)
        assert (sheet == 255).all()

    def test_fewer_images_than_columns_give_a_narrower_sheet(self) -> None:
        assert contact_sheet([np.full((10, 10, 3), 128, np.uint8)], columns=6, cell=10).shape == (
            22,
            22,
            3,
        )
