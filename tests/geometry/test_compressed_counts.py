from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.compressed_counts import compress_counts, decompress_counts


@pytest.mark.parametrize(
    "run_lengths",
    [
        pytest.param([4], id="all background"),
        pytest.param([0, 4], id="all foreground"),
        pytest.param([15, 16, 15, 17, 31, 32, 33], id="at the limits of one group"),
        pytest.param([511, 512, 513, 1, 16383, 16384], id="at the limits of more groups"),
        pytest.param([100, 5, 100, 4, 100, 3, 100, 9, 7], id="differences of both signs"),
        pytest.param([1_200_000_000, 1, 2_000_000_000, 3, 1], id="beyond 31 bits"),
        pytest.param([3, 0, 0, 2, 4], id="run lengths of zero"),
    ],
)
def test_compressed_counts_equal_those_of_pycocotools(run_lengths: list[int]) -> None:
    theirs = coco_mask.frPyObjects(
        {"size": [1, sum(run_lengths)], "counts": run_lengths}, 1, sum(run_lengths)
    )
    ours = compress_counts(np.array(run_lengths))
    assert ours == theirs["counts"]
    assert decompress_counts(ours).tolist() == run_lengths


def test_random_run_lengths_survive_the_round_trip() -> None:
    rng = np.random.default_rng(0)
    for magnitude in (10, 1000, 10**6, 10**9):
        run_lengths = rng.integers(0, magnitude, 200)
        assert decompress_counts(compress_counts(run_lengths)).tolist() == run_lengths.tolist()


def test_no_run_lengths_compress_to_no_bytes() -> None:
    assert compress_counts(np.zeros(0, np.int64)) == b""
    assert decompress_counts(b"").shape == (0,)


@pytest.mark.parametrize("counts", [b"\xff\xff", b"0 1", b"PP", b"P" * 30 + b"0"])
def test_foreign_or_cut_off_bytes_are_an_error(counts: bytes) -> None:
    with pytest.raises(GeometryError, match="RLE counts"):
        decompress_counts(counts)
