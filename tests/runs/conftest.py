"""Stores with several runs, their labels written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Label, Labels
from grounded_sam2.store import Item, ItemResult, LabelStore, Recipe

SIZE_HW = (20, 30)


def box(left: float, class_name: str = "cat", *, origin: str = "model", **fields) -> Label:
    """An object of 10 × 10 pixels, from this column on."""
    edges = (left, 0, left + 10, 10)
    return Label(class_name, class_name, edges, None, 0.5, None, origin=origin, **fields)


def masked(left: int, class_name: str = "cat", *, width: int = 10, origin: str = "model") -> Label:
    """The same with a mask of the left columns of the box."""
    mask = np.zeros(SIZE_HW, bool)
    mask[0:10, left : left + width] = True
    edges = (left, 0, left + 10, 10)
    return Label(class_name, class_name, edges, encode(mask)[0], 0.5, 0.9, origin=origin)


class Runs:
    """A store to put runs into, ``add({"a.jpg": [box(0)]})``, and what to fill them with."""

    box = staticmethod(box)
    masked = staticmethod(masked)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = LabelStore.create(folder)

    def add(
        self,
        pictures: Mapping[str, list[Label]],
        *,
        content: Mapping[str, str | None] | None = None,
        classes: tuple[str, ...] = ("cat", "dog"),
    ) -> int:
        """A run; the content of a picture is its name unless told otherwise."""
        name = f"model {len(self.store.runs())}"
        recipe = Recipe(models={"detector": name}, config={})
        run = self.store.begin_run(
            recipe, ontology=tuple((each, each) for each in classes), new_run=True
        )
        for item_id, objects in pictures.items():
            content_hash = (content or {}).get(item_id, item_id)
            item = Item(item_id, None, content_hash=content_hash, size_hw=SIZE_HW)
            result = ItemResult(item, Labels(SIZE_HW, tuple(objects)))
            self.store.write_batch(run.id, [result])
        return run.id

    def objects(self, run_id: int | None = None) -> dict[str, list[Label]]:
        return {item.item_id: list(found.objects) for item, found in self.store.labels(run_id)}


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(tmp_path / "labeled")
    yield runs
    runs.store.close()
