"""All that tracking a video knows between two frames, as bytes: to be stored, and to go on from.

What the tracker remembers is there exactly, as it writes it itself (`Tracker.save`); the rest is
JSON. Images are not: the last few frames are to be given again.
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
from grounded_sam2.tracking.color_histogram import Appearance
from grounded_sam2.tracking.shot_detection import THUMBNAIL_SIDE
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import Waiting

__all__ = ["ClipState"]

_MAGIC = b"GS2TRK03"


@dataclass(frozen=True, slots=True, eq=False)
class ClipState:
    """Where tracking a video stands after a frame; by default, before the first.

    To go on, give frames from `feed_from` on: the first few have been processed, and are only to be
    looked at again.
    """

    feed_from: int = 0
    """`VideoFrame.index` of the first frame to give. Where no frame is needed again, one more than
    the last: the next frame that a stride takes is meant."""
    position: int = 0
    """How many frames were processed."""
    since_look: int = 0
    """How many of them since the detector looked."""
    next_number: int = 1
    next_track_id: int = 1
    track_ids: Mapping[int, int] = field(default_factory=dict)
    """Ids of tracks that were given away, by identity."""
    thumbnail: NDArray[np.uint8] | None = None
    """Of the last frame."""
    tracks: tuple[Track, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    """Without what the tracker saw of them."""
    state: bytes = b""
    """What the tracker remembers."""

    @property
    def next_index(self) -> int:
        """`VideoFrame.index` of the first frame that was not processed, or less."""
        return self.waiting[-1].index + 1 if self.waiting else self.feed_from

    @property
    def released(self) -> int:
        """How many frames were given away."""
        return self.position - len(self.waiting)

    def to_bytes(self) -> bytes:
        """For a file or a database."""
        known: dict[str, Any] = {
            "feed_from": self.feed_from,
            "position": self.position,
            "since_look": self.since_look,
            "next_number": self.next_number,
            "next_track_id": self.next_track_id,
            "track_ids": list(self.track_ids.items()),
            "thumbnail": None
            if self.thumbnail is None
            else base64.b64encode(self.thumbnail.tobytes()).decode("ascii"),
            "tracks": [_plain_track(track) for track in self.tracks],
            "waiting": [_plain_frame(frame) for frame in self.waiting],
        }
        text = json.dumps(known, separators=(",", ":")).encode()
        return _MAGIC + struct.pack("<Q", len(text)) + text + self.state

    @classmethod
    def from_bytes(cls, saved: bytes) -> ClipState:
        """The inverse of `to_bytes`.

        Raises:
            StoreError: these bytes are something else, or of another version.
        """
        if saved[:8] != _MAGIC or len(saved) < 16:
            raise StoreError(
                f"saved state of a video: begins with {saved[:8]!r} instead of {_MAGIC!r}; it was "
                "written by another version, continue with that version or track the video from "
                "its first frame"
            )
        (length,) = struct.unpack("<Q", saved[8:16])
        known = json.loads(saved[16 : 16 + length])
        thumbnail = known["thumbnail"]
        if thumbnail is not None:
            shape = (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)
            thumbnail = np.frombuffer(base64.b64decode(thumbnail), np.uint8).reshape(shape)
        return cls(
            **{
                **known,
                "track_ids": dict(known["track_ids"]),
                "thumbnail": thumbnail,
                "tracks": tuple(_track(each) for each in known["tracks"]),
                "waiting": tuple(_frame(each) for each in known["waiting"]),
                "state": saved[16 + length :],
            }
        )


def _plain_track(track: Track) -> dict[str, Any]:
    roots = base64.b64encode(zlib.compress(track.appearance.roots)).decode("ascii")
    return {**dataclasses.asdict(track), "appearance": roots}


def _track(values: Mapping[str, Any]) -> Track:
    place = values["place_xyxy"]
    return Track(
        **{
            **values,
            "appearance": Appearance(zlib.decompress(base64.b64decode(values["appearance"]))),
            "votes": tuple((name, given) for name, given in values["votes"]),
            "place_xyxy": None if place is None else tuple(place),
        }
    )


def _plain_frame(frame: Waiting) -> dict[str, Any]:
    return {
        "position": frame.position,
        "index": frame.index,
        "time": frame.time,
        "size_hw": frame.size_hw,
        "begins_scene": frame.begins_scene,
        "labels": [_plain_label(label) for label in frame.labels],
    }


def _frame(values: Mapping[str, Any]) -> Waiting:
    size_hw = tuple(values["size_hw"])
    labels = tuple(_label(each, size_hw) for each in values["labels"])
    return Waiting(**{**values, "size_hw": size_hw, "labels": labels})


def _plain_label(label: Label) -> dict[str, Any]:
    plain = dataclasses.asdict(replace(label, mask=None))
    plain["mask"] = None if label.mask is None else label.mask.counts.decode("ascii")
    return plain


def _label(values: Mapping[str, Any], size_hw: tuple[int, int]) -> Label:
    mask, detected = values["mask"], values["detected_box_xyxy"]
    return Label(
        **{
            **values,
            "box_xyxy": tuple(values["box_xyxy"]),
            "mask": None if mask is None else Rle(size_hw, mask.encode("ascii")),
            "detected_box_xyxy": None if detected is None else tuple(detected),
        }
    )
