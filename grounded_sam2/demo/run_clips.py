"""The video demo: track colored shapes by name through synthetic clips, and score the tracks.

    demo-video/
      clips/clip-000.mp4    the clips
      labels.db             the label store, frame by frame
      annotated/            the clips with their labels drawn in
      youtube-vis/          a dataset of the labels
      contact_sheet.png     frames of the annotated clips

None of the clips was used for training. The scores say nothing about other videos.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from grounded_sam2.demo.clips import Clip, make_clips
from grounded_sam2.demo.davis_metrics import DavisScores, FrameMasks, davis_scores
from grounded_sam2.demo.output_folder import CONTACT_SHEET, writable_demo_folder
from grounded_sam2.engine.summaries import VideoRunSummary
from grounded_sam2.pipeline import GroundedSAM2, LabelResult
from grounded_sam2.results import Image, VideoProgress
from grounded_sam2.sources.video import open_video
from grounded_sam2.store import LabelStore
from grounded_sam2.visualization.annotated_image import save_image
from grounded_sam2.visualization.contact_sheet import contact_sheet
from grounded_sam2.visualization.video_encoder import VideoEncoder

__all__ = ["ClipDemoResult", "run_clip_demo", "score_clips"]

_FPS = 25.0
_FORMATS = ("youtube-vis",)
_SHEET_IMAGES = 12
_CLIPS = "clips"


@dataclass(frozen=True, slots=True)
class ClipDemoResult:
    """Tracks of the clips and their scores; all files are in ``tracks.folder``."""

    tracks: LabelResult[VideoRunSummary]
    scores: DavisScores
    """Of every object that is visible in a clip, against the track that fits it best, over all
    frames."""

    @property
    def clips(self) -> Path:
        """Folder of the clips."""
        return self.tracks.folder / _CLIPS

    @property
    def contact_sheet(self) -> Path:
        """PNG of frames of the annotated clips."""
        return self.tracks.folder / CONTACT_SHEET


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

    In the folder of an earlier call it continues where that stopped.

    Args:
        folder: output folder.
        clips: number of clips, at least 1.
        frames: frames per clip.
        seed: base seed of the clips, from 0 to `grounded_sam2.demo.output_folder.LAST_SEED`.
        model: labels the clips; the embedded models with the ontology ``shapes`` if ``None``.
        progress: receives the progress of the labeling.

    Raises:
        ExportError: the folder holds a demo of other clips, or cannot be written.
        CheckpointError: the embedded models are missing from the installation.
        RunInterrupted: Ctrl-C; run it again to continue.
    """
    folder = Path(folder)
    model = model or GroundedSAM2("shapes", config="demo")
    made = list(make_clips(clips, seed, frames))
    info = {"clips": clips, "frames": frames, "seed": seed}
    note = folder / _CLIPS / "clips.json"
    with writable_demo_folder(folder, note, info, "clips"):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(info) + "\n", encoding="utf-8")
        files = [_write(clip, note.parent, index) for index, clip in enumerate(made)]
    annotated = folder / "annotated" / "clip-000.mp4" if clips == 1 else folder / "annotated"
    tracks = model.track(files, folder, formats=_FORMATS, annotated=annotated, progress=progress)
    with LabelStore.open(folder) as store:
        scores = score_clips(
            store, {file.stem: clip for file, clip in zip(files, made, strict=True)}
        )
    sheet = contact_sheet(_sample_frames(tracks.annotated))
    save_image(sheet, folder / CONTACT_SHEET)
    return ClipDemoResult(tracks, scores)


def score_clips(store: LabelStore, clips: Mapping[str, Clip]) -> DavisScores:
    """Score the tracks of the current run of a store against the clips, matched by J.

    A video may have one more row or column than its clip, since encoders need even sides; these
    pixels do not count.

    Args:
        store: holds every frame of the clips.
        clips: by name of the video.

    Returns:
        Scores of the objects of all clips, in order.
    """
    return DavisScores.concatenate(
        [
            davis_scores(
                [frame.masks for frame in clip],
                list(_stored_masks(store, name, clip.size_hw)),
                match=True,
            )
            for name, clip in clips.items()
        ]
    )


def _stored_masks(store: LabelStore, name: str, size_hw: tuple[int, int]) -> Iterator[FrameMasks]:
    """Masks of each frame by track id, cropped to ``size_hw``."""
    height, width = size_hw
    for _, labels in store.frames(store.run().id, name):
        yield {
            label.track_id: label.mask.decode()[:height, :width]
            for label in labels.objects
            if label.track_id is not None and label.mask is not None
        }


def _write(clip: Clip, folder: Path, index: int) -> Path:
    """Encode a clip unless its file exists: a continued run needs the same file."""
    path = folder / f"clip-{index:03d}.mp4"
    if not path.exists():
        with VideoEncoder(path, size_hw=clip.size_hw, fps=_FPS) as video:
            for frame in clip:
                video.write(frame.image)
    return path


def _sample_frames(videos: tuple[Path, ...]) -> Iterator[Image]:
    """A few frames of each video, evenly spaced."""
    each = max(1, _SHEET_IMAGES // len(videos))
    for path in videos:
        source = open_video(path)
        count = source.frame_count or each
        frames = open_video(path, stride=max(1, count // each))
        yield from (frame.image for frame in islice(frames, each))
