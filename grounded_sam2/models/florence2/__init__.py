"""The Florence-2 detector: captions in, boxes with confidence out.

Names are resolved when they are first used: `model_type` is read with every configuration, and
importing it must not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grounded_sam2.models.florence2.detector import Florence2Detector
    from grounded_sam2.models.florence2.model_type import Florence2Options

__all__ = ["Florence2Detector", "Florence2Options"]

_MODULE_OF = {"Florence2Detector": "detector", "Florence2Options": "model_type"}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
