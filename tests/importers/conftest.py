"""Small datasets written by hand, and what an import makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.importers import ImportSummary, import_labels
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class Imported:
    """What an import left in the store."""

    folder: Path
    summary: ImportSummary
    objects: dict[str, tuple[Label, ...]]
    """By item id."""
    failures: dict[str, str]
    """Reasons by item id."""

    @property
    def only(self) -> Label:
        """The one object there is."""
        ((label,),) = (objects for objects in self.objects.values() if objects)
        return label

    @property
    def reasons(self) -> dict[str, int]:
        return {problem.reason: problem.count for problem in self.summary.problems}


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Writes a picture of noise that is `stored_hw` in its file."""

    def write(path: Path, stored_hw: tuple[int, int] = (6, 8), *, orientation: int = 1) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(len(str(path))).integers(0, 256, (*stored_hw, 3), np.uint8)
        exif = PIL.Image.Exif()
        if orientation != 1:
            exif[ORIENTATION_TAG] = orientation
        PIL.Image.fromarray(noise).save(path, exif=exif)
        return path

    return write


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Imported]:
    """Imports a dataset into the folder ``labeled``."""

    def run(path: Path, **options: Any) -> Imported:
        folder = tmp_path / "labeled"
        summary = import_labels(path, folder, **options)
        with LabelStore.open(folder) as store:
            objects = {item.item_id: labels.objects for item, labels in store.labels()}
            failures = {item.item_id: reason for item, reason in store.failures()}
        return Imported(folder, summary, objects, failures)

    return run


@pytest.fixture
def write_json() -> Callable[[Path, Any], Path]:
    def write(path: Path, value: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")
        return path

    return write
