"""Fixtures of the tests of the label store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from grounded_sam2.store import LabelStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    """An empty store, open for labeling."""
    with LabelStore.create(tmp_path / "labeled") as store:
        yield store
