"""What the splits of a dataset are called here: ``train``, ``val`` and ``test``, whoever wrote it.

The id of an image begins with its split, as the path of an image in such a folder would. So
``export --split 0.8/0.1/0.1 --split-by folder`` gives every image back to the split that it came
from, and any other split ignores it.
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
    """The split that this is a name of, such as ``val`` for ``valid`` and ``val2017``."""
    return _NAMES.get(re.sub(r"[\W\d_]+", "", name.lower()))


def split_in_name(name: str) -> str | None:
    """The split that a name tells of, such as ``train`` for ``instances_train2017``.

    Returns:
        ``None`` if it names none, or several.
    """
    words = re.findall("[a-z]+", name.lower())
    found = {_NAMES[word] for word in words if word in _NAMES}
    return found.pop() if len(found) == 1 else None


def item_id_in_split(name: str, split: str | None) -> str:
    """The id of an image.

    Args:
        name: its path as the dataset writes it. What leads out of the dataset is dropped, and a
            first folder that names the same split is not repeated.
        split: the split, or whatever else tells its images from others; ``None`` for neither.
    """
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    if split is not None:
        if len(parts) > 1 and split in (parts[0], canonical_split(parts[0])):
            parts = parts[1:]
        parts.insert(0, split)
    return item_name("/".join(parts))
