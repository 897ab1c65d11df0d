"""Labeled segmentation datasets from images and words.

    from grounded_sam2 import CaptionOntology, GroundedSAM2

    model = GroundedSAM2(ontology=CaptionOntology({"red circle": "ball"}), config="demo")
    model.predict("scene.png")
    model.label("images/", output_folder="labeled")

Importing the package loads neither torch nor transformers: names are found when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grounded_sam2.config import Config, load_config
    from grounded_sam2.errors import GroundedSAM2Error
    from grounded_sam2.ontology import CaptionOntology
    from grounded_sam2.pipeline import GroundedSAM2
    from grounded_sam2.results import Label, Labels
    from grounded_sam2.store import LabelStore

    __version__: str

__all__ = [
    "CaptionOntology",
    "Config",
    "GroundedSAM2",
    "GroundedSAM2Error",
    "Label",
    "LabelStore",
    "Labels",
    "__version__",
    "load_config",
]

_HOMES = {
    "CaptionOntology": "grounded_sam2.ontology",
    "Config": "grounded_sam2.config",
    "GroundedSAM2": "grounded_sam2.pipeline",
    "GroundedSAM2Error": "grounded_sam2.errors",
    "Label": "grounded_sam2.results",
    "LabelStore": "grounded_sam2.store",
    "Labels": "grounded_sam2.results",
    "load_config": "grounded_sam2.config",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # a fifth of what --help loads

    try:
        return version("grounded-sam2")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0.0.0"


def __dir__() -> list[str]:
    return sorted(__all__)
