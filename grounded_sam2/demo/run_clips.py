"""The demo of videos: follow colored shapes by name through clips, and compare with the truth.

    demo-video/
      clips/clip-000.mp4    the clips
      labels.db             what the models found, frame by frame: the label store
      annotated/            the clips with their labels drawn in
      youtube-vis/          the same as a dataset
      contact_sheet.png     frames of the annotated clips

The clips are none that the models were trained on. How well the models do on them says nothing
about videos of anything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from grounded_sam2.demo.clips import Clip, make_clips
from grounded_sam2.demo.davis_metrics import Masks, region_and_border
from grounded_sam2.engine.video_summaries import VideoProgress
from grounded_sam2.errors import ExportError
from grounded_sam2.pipeline import GroundedSAM2, TrackResult
from grounded_sam2.results import Image
from grounded_sam2.sources.video import open_video
from grounded_sam2.store import LabelStore
from grounded_sam2.visualization.annotated_image import save_image
from grounded_sam2.visualization.contact_sheet import contact_sheet
from grounded_sam2.visualization.video_encoder import VideoEncoder

__all__ = ["ClipDemoResult", "run_clip_demo"]

_FPS = 25.0
_FORMATS = ("youtube-vis",)
_SHEET_IMAGES = 12


@dataclass(frozen=True, slots=True)
class ClipDemoResult:
    """What the demo did and where it is."""

    tracks: TrackResult
    objects: int
    """Things that are seen in the clips."""
    region: float
    """J: mean IoU of a thing and the track that fits it best, over all frames and things."""
    border: float
    """F: how well their borders agree."""
    clips: Path
    """Folder of the clips."""
    contact_sheet: Path
    """PNG of frames of the annotated clips."""


def run_clip_demo(
    folder: str | Path,
    *,
    clips: int = 2,
    frames: int = 60,
    seed: int = 0,
    model: GroundedSAM2 | None = None,
    progress: VideoProgress | None = None,
) -> ClipDemoResult:
    """Make clips, label every frame, score the tracks and draw them.

    Running it again in its folder continues where it stopped.

    Args:
        folder: where everything goes.
        clips: number of clips, at least 1.
        frames: of each clip.
        seed: which clips, from 0 to `grounded_sam2.demo.run.LAST_SEED`.
        model: labels the clips; the embedded models with the ontology ``shapes`` if ``None``.
        progress: told how the labeling comes along.

    Raises:
        ExportError: the folder holds a demo of other clips, or cannot be written.
        CheckpointError: the embedded models are missing from the installation.
        VideosInterrupted: Ctrl-C; run it again to continue.
    """
    folder = Path(folder)
    model = model or GroundedSAM2("shapes", config="demo")
    made = list(make_clips(clips, seed, frames))
    info = {"clips": clips, "frames": frames, "seed": seed}
    try:
        _check_folder(folder, info)
        files = [_write(clip, folder / "clips", index) for index, clip in enumerate(made)]
    except OSError as error:
        raise ExportError(f"demo folder '{folder}': cannot be written: {error}") from error
    annotated = folder / "annotated" / "clip-000.mp4" if clips == 1 else folder / "annotated"
    tracks = model.label_videos(
        files, folder, formats=_FORMATS, annotated=annotated, progress=progress
    )
    with LabelStore.open(folder) as store:
        scores = [
            region_and_border(
                [frame.masks for frame in clip],
                list(_found(store, file.stem, clip.size_hw)),
                match=True,
            )
            for clip, file in zip(made, files, strict=True)
        ]
    region, border = (np.concatenate(values) for values in zip(*scores, strict=True))
    sheet = contact_sheet(_shown(tracks.annotated))
    save_image(sheet, folder / "contact_sheet.png")
    return ClipDemoResult(
        tracks=tracks,
        objects=len(region),
        region=float(region.mean()),
        border=float(border.mean()),
        clips=folder / "clips",
        contact_sheet=folder / "contact_sheet.png",
    )


def _check_folder(folder: Path, info: dict[str, int]) -> None:
    """Refuse a folder of other clips; note in a new one which they are."""
    note = folder / "clips" / "clips.json"
    if note.exists() and json.loads(note.read_text(encoding="utf-8")) != info:
        raise ExportError(
            f"demo folder '{folder}': holds a demo with other clips; give another folder, or "
            "remove this one"
        )
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(info) + "\n", encoding="utf-8")


def _write(clip: Clip, folder: Path, index: int) -> Path:
    """The file of a clip; made unless it is there, so that it is the same file when continued."""
    path = folder / f"clip-{index:03d}.mp4"
    if not path.exists():
        with VideoEncoder(path, size_hw=clip.size_hw, fps=_FPS) as video:
            for frame in clip:
                video.write(frame.image)
    return path


def _found(store: LabelStore, name: str, size_hw: tuple[int, int]) -> Iterator[Masks]:
    """What was found in each frame, by track; without the row or column that makes a side even."""
    height, width = size_hw
    for _, labels in store.frames(store.run().id, name):
        yield {
            label.track_id: label.mask.decode()[:height, :width]
            for label in labels.objects
            if label.track_id is not None and label.mask is not None
        }


def _shown(videos: tuple[Path, ...]) -> Iterator[Image]:
    """A few frames of each video, spread over it."""
    each = max(1, _SHEET_IMAGES // len(videos))
    for path in videos:
        source = open_video(path)
        count = source.frame_count or each
        frames = open_video(path, stride=max(1, count // each))
        yield from (frame.image for frame in islice(frames, each))
