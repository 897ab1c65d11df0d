"""A store with everything that makes an export hard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def rich(labeled):
    """Holes, parts, an object without a mask, background, sub-folders, several splits."""
    label, disc, ring, two_parts = labeled.label, labeled.disc, labeled.ring, labeled.two_parts
    labeled.add("a.png", label(disc()), label(two_parts(), "box", confidence=0.5), seed=1)
    labeled.add("background.png", seed=2)
    labeled.add("sub/deep/ring.png", label(ring(), "Katze ü", caption="cat"), seed=3)
    labeled.add("sub/ring.png", label(ring()), label(two_parts()), label(disc(), "box"), seed=4)
    labeled.add("z.png", label(disc(radius=25), "Katze ü", confidence=None), seed=5)
    return labeled


@pytest.fixture
def files() -> Callable[[Path], dict[str, bytes]]:
    """Everything below a folder, by its path."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return read
