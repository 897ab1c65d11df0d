"""Edits as JSON values, one per line: what scripts, other programs and a server send.

    {"action": "accept", "uid": "47af1daf8dcc70fd"}
    {"action": "relabel", "uid": "37c2d3b08b2ad0be", "class": "cat", "actor": "ann"}
    {"action": "add", "item": "a.jpg", "class": "cat", "mask": {"size": [480, 640], "counts": "…"}}
    {"action": "confirm", "item": "a.jpg"}

The keys are the arguments of the methods of `grounded_sam2.store.edits.Edits`; ``class`` is its
``class_name``. Masks are COCO run lengths, boxes xyxy in pixels.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from grounded_sam2.errors import GroundedSAM2Error, StoreError
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.store.edit_records import EDIT_ACTIONS
from grounded_sam2.store.edits import Edits

__all__ = ["apply_edit_lines", "apply_edit_record"]

_SHAPE = {"mask", "box", "prompts", "model"}
_KEYS: dict[str, tuple[set[str], set[str]]] = {
    "accept": ({"uid"}, {"item"}),
    "reject": ({"uid"}, {"item"}),
    "delete": ({"uid"}, {"item"}),
    "relabel": ({"uid", "class"}, {"item"}),
    "reshape": ({"uid"}, {"item", *_SHAPE}),
    "add": ({"item", "class"}, _SHAPE),
    "split": ({"uid", "masks"}, {"item", "prompts", "model"}),
    "merge": ({"uids"}, {"item"}),
    "confirm": ({"item"}, set()),
    "flag": ({"item", "note"}, set()),
    "anchor": ({"uid", "item"}, _SHAPE),
    "end_track": ({"uid", "item"}, set()),
    "merge_tracks": ({"uids"}, set()),
    "undo": (set(), {"item"}),
    "redo": (set(), {"item"}),
}
"""Required and optional keys of each action, besides ``actor`` and ``version``."""


def apply_edit_lines(
    edits: Edits, lines: Iterable[str], *, run_id: int | None = None, actor: str | None = None
) -> int:
    """Apply edits, a JSON object per line, in one transaction, and return their number.

    Args:
        edits: of the store.
        lines: empty ones are skipped.
        run_id: the run whose labels the edits are about; ``None`` for the current one.
        actor: who edits, where a line does not say.

    Raises:
        StoreError: a line is no edit, or cannot be applied; names the line. None is applied then.
    """
    count = 0
    with edits.batch():
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                apply_edit_record(edits, _parsed(line), run_id=run_id, actor=actor)
            except GroundedSAM2Error as error:
                raise StoreError(
                    f"line {number}: {error}; no edit of the file is applied"
                ) from error
            count += 1
    return count


def apply_edit_record(
    edits: Edits,
    record: Mapping[str, Any],
    *,
    run_id: int | None = None,
    actor: str | None = None,
) -> object:
    """Apply one edit, and return what its method returns.

    Args:
        edits: of the store.
        record: its values by key.
        run_id, actor: as of `apply_edit_lines`.

    Raises:
        StoreError: a key is missing or unknown, a value has the wrong form, or the edit cannot be
            applied.
    """
    action = record.get("action")
    if not isinstance(action, str) or action not in _KEYS:
        raise StoreError(f"action {action!r}: must be one of {', '.join(EDIT_ACTIONS)}")
    required, optional = _KEYS[action]
    allowed = required | optional | {"action", "actor"}
    if action not in ("undo", "redo"):
        allowed |= {"version"}
    for key in sorted(record.keys() - allowed):
        nearest = difflib.get_close_matches(key, sorted(allowed), n=1, cutoff=0.0)[0]
        raise StoreError(f"unknown key {key!r} of action '{action}'; the nearest is {nearest!r}")
    for key in sorted(required - record.keys()):
        raise StoreError(f"action '{action}' lacks key {key!r}")
    arguments = {_ARGUMENTS.get(key, key): _value(key, record[key]) for key in record}
    del arguments["action"]
    method: Callable[..., object] = getattr(edits, action)
    return method(**{"actor": actor, **arguments}, run_id=run_id)


_ARGUMENTS = {"class": "class_name"}
_TEXTS_OR_NULL = {"actor", "version", "model", "note"}
_TEXTS = {"uid", "item", "class", *_TEXTS_OR_NULL}


def _parsed(line: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"is not JSON ({error}): {line.strip()[:80]!r}") from error
    if not isinstance(record, dict):
        raise StoreError(f"is no JSON object: {line.strip()[:80]!r}")
    return record


def _value(key: str, value: Any) -> Any:
    if key == "mask" and value is not None:
        return _mask(value)
    if key in ("masks", "uids") and not isinstance(value, list):
        raise StoreError(f"{key} {value!r}: must be a list")
    if key == "masks":
        return [_mask(each) for each in value]
    texts = value if key == "uids" else [value] if key in _TEXTS else []
    for each in texts:
        if not isinstance(each, str) and (each is not None or key not in _TEXTS_OR_NULL):
            raise StoreError(f"{key} {each!r}: must be text")
    return value


def _mask(value: Any) -> Rle:
    if not isinstance(value, dict):
        raise StoreError(f"mask {str(value)[:80]!r}: must be COCO run lengths, size and counts")
    return Rle.from_coco(value)
