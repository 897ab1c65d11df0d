"""Configuration keys of earlier versions: the names they have now, in one table.

Files that people wrote and label stores on their disks hold the earlier names; both are read with
this table, so that neither has to be edited. Stores go on writing the earlier names: the identity
of a run is a hash of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["RENAMED_KEYS", "with_current_keys", "with_stored_keys"]

RENAMED_KEYS = {
    "tracking.sure_confidence": "tracking.high_confidence",
    "tracking.revive_by": "tracking.reid_by",
    "tracking.revive_distance": "tracking.reid_distance",
    "tracking.min_likeness": "tracking.min_similarity",
    "tracking.max_gone": "tracking.max_age",
    "tracking.cut_difference": "tracking.shot_threshold",
    "tracking.fill_backwards": "tracking.backward_frames",
}
"""Earlier name → name now, as ``section.key``. A key is never taken out of this table."""


_STORED_KEYS = {current: earlier for earlier, current in RENAMED_KEYS.items()}


def with_current_keys(value: Any) -> Any:
    """Parsed JSON or YAML in which every renamed key has its current name.

    Args:
        value: mappings are searched at any depth, since a store keeps its sections inside others.

    Returns:
        A copy; the order of the keys is kept.
    """
    return _renamed(value, RENAMED_KEYS)


def with_stored_keys(value: Any) -> Any:
    """Inverse of `with_current_keys`."""
    return _renamed(value, _STORED_KEYS)


def _renamed(value: Any, names: Mapping[str, str], section: str = "") -> Any:
    if not isinstance(value, Mapping):
        return value
    return {
        names.get(f"{section}.{key}", f".{key}").partition(".")[2]: _renamed(inner, names, str(key))
        for key, inner in value.items()
    }
