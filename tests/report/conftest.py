"""Labels without issues, to which tests add labels with issues; and a parser of pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grounded_sam2.report.duplicates import find_duplicates
from grounded_sam2.report.issues import KIND_NAMES
from grounded_sam2.report.measures import OBJECT_DTYPE, ObjectMeasures, measure_objects
from grounded_sam2.report.options import Thresholds
from grounded_sam2.report.rules import find_issues
from grounded_sam2.results import Label, Labels


@pytest.fixture
def clean(labeled) -> Callable[..., Label]:
    """Make a label of a mask without issues."""

    def make(mask: np.ndarray | None, class_name: str = "ball", **fields: Any) -> Label:
        fields = {"confidence": 0.9, "mask_quality": 0.95, **fields}
        return labeled.label(mask, class_name, **fields)

    return make


@pytest.fixture
def crowd(labeled, clean) -> list[Labels]:
    """Thirty images of one disc each, of slightly different sizes, with tight detector boxes."""
    images = []
    for index in range(30):
        found = clean(labeled.disc(radius=14 + index % 5))
        found = clean(labeled.disc(radius=14 + index % 5), detected_box_xyxy=found.mask.bbox_xyxy)
        images.append(Labels((60, 80), (found,)))
    return images


def measured(images: list[Labels], classes: tuple[str, ...] = ("ball", "box")) -> ObjectMeasures:
    ids = {name: number for number, name in enumerate(classes)}
    rows = [measure_objects(labels, number, ids) for number, labels in enumerate(images)]
    return np.concatenate([np.zeros(0, OBJECT_DTYPE), *rows])


@pytest.fixture
def issues_of() -> Callable[..., list[tuple[str, int, int]]]:
    """Find the issues of labels; return kind, image and position of each."""

    def find(images: list[Labels], **thresholds: Any) -> list[tuple[str, int, int]]:
        none = find_duplicates([], [], max_bits=0, max_difference=0)
        splits = np.zeros(len(images), np.int32)
        issues = find_issues(measured(images), none, splits, Thresholds(**thresholds))
        return [(KIND_NAMES[kind], p, o) for kind, p, o in issues[["kind", "image", "position"]]]

    return find


class Page(HTMLParser):
    """A parsed page: its elements with their attributes and texts."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, Mapping[str, str]]] = []
        self.texts: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] += data

    def all(self, tag: str, class_name: str = "") -> list[Mapping[str, str]]:
        """Attributes of the elements of this name and class."""
        return [
            attributes
            for found, attributes in self.elements
            if found == tag
            and (not class_name or class_name in attributes.get("class", "").split())
        ]

    def text(self) -> str:
        """All visible text in one line."""
        return " ".join(
            " ".join(
                text
                for (tag, _), text in zip(self.elements, self.texts, strict=True)
                if tag not in ("script", "style")
            ).split()
        )


@pytest.fixture
def page() -> Callable[[Path], Page]:
    """Parse a page."""
    return Page
