"""Configuration keys of earlier versions: the names they have now, in one table.

Files that people wrote and label stores on their disks hold the earlier names; both are read with
this table, so that neither has to be edited.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["RENAMED_KEYS", "with_current_keys"]

RENAMED_KEYS = {
    "tracking.sure_confidence": "tracking.high_confidence",
    "tracking.revive_by": "tracking.reid_by",
    "tracking.revive_distance": "tracking.reid_distance",
    "tracking.min_likeness": "tracking.min_similarity",
}
"""Earlier name → name now, as ``section.key``. A key is never taken out of this table."""


def with_current_keys(value: Any, path: str = "") -> Any:
    """Parsed JSON or YAML in which every renamed key has its current name.

    Args:
        value: mappings are searched at any depth, since a store keeps its sections inside others.
        path: name of the mapping that holds `value`; for the recursion.

    Returns:
        A copy; the order of the keys is kept.
    """
    if not isinstance(value, Mapping):
        return value
    renamed = {}
    for key, inner in value.items():
        current = RENAMED_KEYS.get(f"{path}.{key}", f"{path}.{key}").partition(".")[2]
        renamed[current] = with_current_keys(inner, str(key))
    return renamed
