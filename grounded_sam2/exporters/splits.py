"""Assignment of images to splits, by the content of each image alone.

A seeded hash of an image's bytes is a point between 0 and 1, and the cumulative shares of the
splits partition that interval. So adding images moves none of the others, renaming moves nothing,
and two copies of an image never end up in different splits. Frames of a video use the hash of
their group, and stay together. With ``split_by="folder"``, the folder's name replaces the content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from grounded_sam2.errors import ExportError
from grounded_sam2.store import Item

__all__ = ["assign_split", "check_split", "parse_split"]

_NAMES = ("train", "val", "test")
_TOLERANCE = 1e-6  # 0.7 + 0.2 + 0.1 is not 1 in binary


def parse_split(text: str) -> dict[str, float]:
    """Parse ``0.8/0.1/0.1`` as the shares of train, val and test; one or two numbers are enough.

    Raises:
        ExportError: not one to three numbers, a negative one, or a sum that is not 1.
    """
    parts = text.split("/")
    try:
        shares = [float(part) for part in parts]
    except ValueError as error:
        raise ExportError(
            f"split '{text}': must be numbers with slashes between them, such as 0.8/0.1/0.1"
        ) from error
    if len(shares) > len(_NAMES):
        raise ExportError(f"split '{text}': has {len(shares)} shares; give at most train/val/test")
    split = dict(zip(_NAMES, shares, strict=False))
    check_split(split)
    return split


def check_split(split: Mapping[str, float]) -> None:
    """Raise `ExportError` unless the names are valid folder names and the shares sum to 1."""
    shown = "/".join(f"{share:g}" for share in split.values())
    for name, share in split.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise ExportError(
                f"split '{name}': is no folder name; use letters, digits, '-' and '_'"
            )
        if not 0 <= share <= 1:
            raise ExportError(f"split '{shown}': share {share:g} of {name} must lie from 0 to 1")
    if abs(sum(split.values()) - 1) > _TOLERANCE:
        raise ExportError(f"split '{shown}': sums to {sum(split.values()):g}; must sum to 1")


def assign_split(
    item: Item, split: Mapping[str, float], seed: int, *, by_folder: bool = False
) -> str:
    """Return the split of an image.

    Args:
        item: the image. Its group is hashed if it has one, else its content.
        split: shares, which sum to 1.
        seed: seed of the hash.
        by_folder: hash the folder of the image instead. A folder that is named like a split
            assigns that split, the topmost first.
    """
    if by_folder:
        folders = PurePosixPath(item.item_id).parent
        for name in folders.parts:
            if name in split:
                return name
        identity = f"folder {folders}"
    elif item.group is not None:
        identity = f"group {item.group}"
    elif item.content_hash is not None:
        identity = f"content {item.content_hash}"
    else:
        identity = f"item {item.item_id}"
    digest = hashlib.sha256(f"{seed} {identity}".encode()).digest()
    point = int.from_bytes(digest[:8], "big") / 2**64
    end = 0.0
    chosen = ""
    for name, share in split.items():
        if share:
            chosen = name
            end += share
        if point < end:
            break
    return chosen  # rounding may leave a gap below 1, which goes to the last split with a share
