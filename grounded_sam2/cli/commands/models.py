"""``grounded-sam2 models``: the types of models that a configuration can name."""

from __future__ import annotations

__all__ = ["models"]


def models() -> None:
    """List the types of models, with facts about them.

    Detectors and segmenters, those of other packages included. Of each: what its score means,
    default threshold, limits of captions, license, size, and the options of its own.

    \b
    Example:
      grounded-sam2 models
    """
    from grounded_sam2.cli.model_facts import print_model_types

    print_model_types()
