"""Saved state of tracking a video between two frames, as bytes: to be stored, and resumed from.

The tracker's state is exact, as the tracker saves it (`Tracker.save`). The rest is JSON. Images are
not included: the last few frames must be fed again.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import StoreError
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Label
from grounded_sam2.tracking.color_histogram import ColorHistogram
from grounded_sam2.tracking.shot_detection import THUMBNAIL_SIDE
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import PendingFrame

__all__ = ["ClipState"]

_MAGIC = b"GS2TRK03"
"""Format and its version. The JSON keys are part of the format: states saved by earlier releases
must stay readable, whatever the fields are called since."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipState:
    """State of a `ClipTracker` after a frame; by default, before the first.

    To resume, feed frames from `feed_from` on: the first few were processed already, and are only
    encoded again.
    """

    feed_from: int = 0
    """`VideoFrame.index` of the first frame to feed. Where no frame must be encoded again, one more
    than the index of the last frame: the next frame that a stride takes follows."""
    position: int = 0
    """Number of processed frames."""
    frames_since_detection: int = 0
    """Number of processed frames since the last detection step."""
    next_object_id: int = 1
    next_track_id: int = 1
    track_ids: Mapping[int, int] = field(default_factory=dict)
    """Ids of the tracks that were released, by identity."""
    thumbnail: NDArray[np.uint8] | None = None
    """Of the last frame: see `shot_detection`."""
    tracks: tuple[Track, ...] = ()
    pending: tuple[PendingFrame, ...] = ()
    """Without features."""
    tracker_state: bytes = b""
    """See `Tracker.save`."""

    @property
    def next_index(self) -> int:
        """Lower bound of the `VideoFrame.index` of the first frame that was not processed."""
        return self.pending[-1].index + 1 if self.pending else self.feed_from

    @property
    def released(self) -> int:
        """Number of frames that were released."""
        return self.position - len(self.pending)

    def to_bytes(self) -> bytes:
        """Return the state as bytes, for a file or a database."""
        values: dict[str, Any] = {
            "feed_from": self.feed_from,
            "position": self.position,
            "since_look": self.frames_since_detection,
            "next_number": self.next_object_id,
            "next_track_id": self.next_track_id,
            "track_ids": list(self.track_ids.items()),
            "thumbnail": None if self.thumbnail is None else _to_base64(self.thumbnail.tobytes()),
            "tracks": [_track_to_json(track) for track in self.tracks],
            "waiting": [_frame_to_json(frame) for frame in self.pending],
        }
        text = json.dumps(values, separators=(",", ":")).encode()
        return _MAGIC + struct.pack("<Q", len(text)) + text + self.tracker_state

    @classmethod
    def from_bytes(cls, saved: bytes) -> ClipState:
        """Return the state that `to_bytes` has written.

        Raises:
            StoreError: the bytes are no saved state, or of another version.
        """
        if saved[:8] != _MAGIC or len(saved) < 16:
            raise StoreError(
                f"saved state of a video: begins with {saved[:8]!r} instead of {_MAGIC!r}; it was "
                "written by another version, continue with that version or track the video from "
                "its first frame"
            )
        (length,) = struct.unpack("<Q", saved[8:16])
        values = json.loads(saved[16 : 16 + length])
        thumbnail = values["thumbnail"]
        if thumbnail is not None:
            shape = (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)
            thumbnail = np.frombuffer(base64.b64decode(thumbnail), np.uint8).reshape(shape)
        return cls(
            feed_from=values["feed_from"],
            position=values["position"],
            frames_since_detection=values["since_look"],
            next_object_id=values["next_number"],
            next_track_id=values["next_track_id"],
            track_ids=dict(values["track_ids"]),
            thumbnail=thumbnail,
            tracks=tuple(_track_from_json(each) for each in values["tracks"]),
            pending=tuple(_frame_from_json(each) for each in values["waiting"]),
            tracker_state=saved[16 + length :],
        )


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _track_to_json(track: Track) -> dict[str, Any]:
    return {
        "number": track.object_id,
        "identity": track.identity,
        "class_name": track.class_name,
        "caption": track.caption,
        "confidence": track.confidence,
        "appearance": _to_base64(zlib.compress(track.histogram.sqrt_shares)),
        "votes": track.class_scores,
        "hits": track.hits,
        "is_confirmed": track.is_confirmed,
        "misses": track.misses,
        "gone": track.frames_absent,
        "place_xyxy": track.last_box_xyxy,
        "size": track.max_side,
    }


def _track_from_json(values: Mapping[str, Any]) -> Track:
    box = values["place_xyxy"]
    return Track(
        object_id=values["number"],
        identity=values["identity"],
        class_name=values["class_name"],
        caption=values["caption"],
        confidence=values["confidence"],
        histogram=ColorHistogram(zlib.decompress(base64.b64decode(values["appearance"]))),
        class_scores=tuple((name, score) for name, score in values["votes"]),
        hits=values["hits"],
        is_confirmed=values["is_confirmed"],
        misses=values["misses"],
        frames_absent=values["gone"],
        last_box_xyxy=None if box is None else tuple(box),
        max_side=values["size"],
    )


def _frame_to_json(frame: PendingFrame) -> dict[str, Any]:
    return {
        "position": frame.position,
        "index": frame.index,
        "time": frame.time,
        "size_hw": frame.size_hw,
        "begins_scene": frame.begins_scene,
        "labels": [_label_to_json(label) for label in frame.labels],
    }


def _frame_from_json(values: Mapping[str, Any]) -> PendingFrame:
    size_hw = tuple(values["size_hw"])
    labels = tuple(_label_from_json(each, size_hw) for each in values["labels"])
    return PendingFrame(**{**values, "size_hw": size_hw, "labels": labels})


def _label_to_json(label: Label) -> dict[str, Any]:
    values = dataclasses.asdict(replace(label, mask=None))
    values["mask"] = None if label.mask is None else label.mask.counts.decode("ascii")
    del values["uid"], values["review"]  # the store's: labels of a tracker have neither yet
    return values


def _label_from_json(values: Mapping[str, Any], size_hw: tuple[int, int]) -> Label:
    mask, detected = values["mask"], values["detected_box_xyxy"]
    return Label(
        **{
            **values,
            "box_xyxy": tuple(values["box_xyxy"]),
            "mask": None if mask is None else Rle(size_hw, mask.encode("ascii")),
            "detected_box_xyxy": None if detected is None else tuple(detected),
        }
    )
