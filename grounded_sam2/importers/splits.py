"""Split names, unified to ``train``, ``val`` and ``test``, and image ids that begin with them.

Because the id of an image begins with its split, as its path in a folder of splits would,
``export --split 0.8/0.1/0.1 --split-by folder`` restores the original splits; any other split
ignores it.
"""

from __future__ import annotations

import re

from grounded_sam2.sources.names import item_name

__all__ = ["canonical_split", "item_id_in_split", "split_in_name"]

_NAMES = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}


def canonical_split(name: str) -> str | None:
    """Return the split with this name, such as ``val`` for ``valid`` and ``val2017``."""
    return _NAMES.get(re.sub(r"[\W\d_]+", "", name.lower()))


def split_in_name(name: str) -> str | None:
    """Return the split that a longer name contains: ``train`` for ``instances_train2017``.

    Returns:
        ``None`` if it contains none, or several.
    """
    words = re.findall("[a-z]+", name.lower())
    found = {_NAMES[word] for word in words if word in _NAMES}
    return found.pop() if len(found) == 1 else None


def item_id_in_split(name: str, split: str | None) -> str:
    """Return the id of an image.

    Args:
        name: path of the image as the dataset writes it. Empty, ``.`` and ``..`` components are
            dropped; a first folder that already names the split is not repeated.
        split: the split, or another prefix that separates its images from others; ``None`` for no
            prefix.
    """
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    if split is not None:
        if len(parts) > 1 and split in (parts[0], canonical_split(parts[0])):
            parts = parts[1:]
        parts.insert(0, split)
    return item_name("/".join(parts))
