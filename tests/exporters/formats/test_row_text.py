"""Rows of numbers read as Python would have written them."""

from __future__ import annotations

import numpy as np

from grounded_sam2.exporters.formats.row_text import row_texts
from grounded_sam2.geometry.ragged import RaggedOffsets


def test_numbers_have_six_decimals():
    shares = np.array([0, 1, 0.5, 1e-6, 0.999999, 0.1234564, 0.1234566, 4e-7, 0.99999951])
    (text,) = row_texts(shares, RaggedOffsets([9]))
    assert text == " ".join(f"{share:.6f}" for share in shares)


def test_random_numbers_are_written_as_python_does():
    shares = np.random.default_rng(0).random(2000)
    (text,) = row_texts(shares, RaggedOffsets([2000]))
    assert text == " ".join(f"{share:.6f}" for share in shares)


def test_rows_are_apart():
    assert row_texts(np.array([0.25, 1, 0]), RaggedOffsets([2, 0, 1])) == [
        "0.250000 1.000000",
        "",
        "0.000000",
    ]
    assert row_texts(np.zeros(0), RaggedOffsets([])) == []
