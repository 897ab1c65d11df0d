"""Masks of all cases that the geometry must handle."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures.masks import Mask, disc, mask


def noise(height: int, width: int, share: float) -> Mask:
    return np.random.default_rng(0).random((height, width)) < share


def ring_with_island() -> Mask:
    dense = disc(80)
    dense[20:60, 20:60] &= ~disc(40)
    dense[30:50, 30:50] |= disc(20)
    return dense


def far_components() -> Mask:
    dense = np.zeros((90, 300), np.bool_)
    dense[5:65, 3:63] = disc(60)
    dense[40:60, 200:220] = disc(20)
    dense[88:90, 298:300] = True
    return dense


MASKS = {
    "empty": mask("... ..."),
    "full": mask("### ###"),
    "single pixel image, set": mask("#"),
    "single pixel image, clear": mask("."),
    "one pixel": mask(".... ..#. ...."),
    "first pixel": mask("#.. ..."),
    "last pixel": mask("... ..#"),
    "all four borders": mask(".#. ### .#."),
    "thin line": mask("....... .#####. ......."),
    "diagonal": mask("#.... .#... ..#.. ...#. ....#"),
    "hole": mask("..... .###. .#.#. .###. ....."),
    "hole closed by a corner": mask(".##. #.## .##. ...."),
    "two holes that touch": mask("##### #.### ##.## #####"),
    "hole that touches the outline": mask(".#### ##### #.### #####"),
    "components": mask("##..# ....# #...."),
    "run over a column's end": mask("..# .#. ##."),
    "full columns": mask(".##. .##. .##."),
    "checkerboard": np.indices((9, 8)).sum(axis=0) % 2 == 0,
    "component in a hole": ring_with_island(),
    "components far apart": far_components(),
    "disc": disc(200),
    "one row": noise(1, 500, 0.5),
    "one column": noise(500, 1, 0.5),
    "noise": noise(41, 37, 0.5),
    "dense noise": noise(40, 50, 0.9),
    "sparse": noise(300, 400, 0.0005),
}


@pytest.fixture(params=MASKS.values(), ids=MASKS.keys())
def dense(request: pytest.FixtureRequest) -> Mask:
    """Each of `MASKS`."""
    case: Mask = request.param
    return case


@pytest.fixture
def holed() -> Mask:
    return MASKS["component in a hole"]


@pytest.fixture
def scattered() -> Mask:
    return MASKS["components far apart"]
