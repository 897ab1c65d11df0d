"""Memory of labeling a video of 10 000 frames with 8 objects, relative to 500: bytes per frame.

A fresh process labels each video into a store, as `grounded-sam2 track` does: decoding, detector,
SAM 2's memory, matching, saved states, writing. Resident memory is read as frames are labeled. The
tracker is the embedded one at a quarter of its resolution, so that 10 000 frames take minutes; what
it remembers of an object is smaller then, but covers as many frames. The detector finds bright
blobs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

SIZE_HW = (96, 128)
SIDE = 64
OBJECTS = 8
PAGE = os.sysconf("SC_PAGE_SIZE")


class Blobs:
    """A detector that finds bright blobs for every caption."""

    def detect(self, images: Sequence, captions: Sequence) -> list:
        """See `grounded_sam2.models.protocols.Detector`."""
        from grounded_sam2.results import DetectedBoxes

        found = []
        for image, [caption] in zip(images, captions, strict=True):
            bright = (image.max(axis=2) > 120).astype(np.uint8)
            stats = cv2.connectedComponentsWithStats(bright)[2][1:]
            x, y, w, h = stats[stats[:, 4] > 20][:, :4].T.astype(np.float32)
            boxes = np.stack([x, y, x + w, y + h], axis=1)
            confidence = np.full(len(boxes), 0.9, np.float32)
            found.append(DetectedBoxes(boxes, (caption,) * len(boxes), confidence))
        return found


class Readings:
    """A `VideoProgress` that records the resident memory."""

    def __init__(self) -> None:
        self.frames = array("q", [0])  # not lists, which would grow with what they measure
        self.resident = array("q", [0])

    def start(self, name: str, total: int | None) -> None:
        """No frame is labeled yet: nothing is recorded."""

    def advance(self, frames: int) -> None:
        """Record the resident memory after some frames."""
        self.frames.append(self.frames[-1] + frames)
        pages = Path("/proc/self/statm").read_text().split()[1]
        self.resident.append(int(pages) * PAGE)


def draw(path: Path, frames: int) -> None:
    """Write a video of eight blobs that move over a dark background, each in its own lane."""
    from grounded_sam2.visualization.video_encoder import VideoEncoder

    rng = np.random.default_rng(0)
    ground = rng.integers(0, 60, (*SIZE_HW, 3)).astype(np.uint8)
    with VideoEncoder(path, size_hw=SIZE_HW, fps=25) as video:
        for frame in range(frames):
            image = ground.copy()
            for lane in range(OBJECTS):
                x = 10 + int((SIZE_HW[1] - 20) * (0.5 + 0.5 * np.sin(frame / (20 + 3 * lane))))
                color = [255, 40 + 25 * lane, 250 - 30 * lane]
                cv2.circle(image, (x, 6 + 12 * lane), 5, color, -1)
            video.write(image)


def measure(video: Path, out: Path) -> None:
    """Label a video in this process, and print memory, time and number of tracks as JSON."""
    from embedded_training.segmenter import build_processor, with_image_size
    from grounded_sam2 import GroundedSAM2
    from grounded_sam2.models.sam2 import Sam2Segmenter, Sam2Tracker

    whole = Sam2Segmenter.from_pretrained("demo", device="cpu")
    processor = build_processor().image_processor
    processor.size = {"height": SIDE, "width": SIDE}
    tracker = Sam2Tracker(with_image_size(whole.model, SIDE).eval(), processor)
    model = GroundedSAM2({"blob": "blob"}, config="demo", detector=Blobs(), tracker=tracker)
    readings = Readings()
    result = model.track(video, out, progress=readings)
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    frames, resident = (np.array(each) for each in (readings.frames, readings.resident))
    late = frames > 500
    slope = float(np.polyfit(frames[late], resident[late], 1)[0]) if late.any() else 0.0
    summary = result.run.videos[0]
    seconds, tracks = summary.seconds, summary.tracks
    print(json.dumps({"peak": int(line), "slope": slope, "seconds": seconds, "tracks": tracks}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[500, 2_000, 10_000])
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return

    from timing import print_rows

    rows = []
    for count in arguments.frames:
        with tempfile.TemporaryDirectory() as name:
            video, out = Path(name) / "blobs.mp4", Path(name) / "out"
            draw(video, count)
            command = [sys.executable, __file__, "--measure", str(video), str(out)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            used = json.loads(done.stdout)
        peak = f"{used['peak'] / 1024:.0f} MiB"
        slope = f"{used['slope'] / 1024:+.2f} KiB" if count > 500 else ""
        speed = f"{count / used['seconds']:.0f}"
        rows.append([str(count), peak, slope, str(used["tracks"]), speed])
    columns = ["frames", "peak memory", "a frame after the 500th", "tracks", "frames/s"]
    print_rows(f"labeling a video with {OBJECTS} objects", columns, rows)


if __name__ == "__main__":
    main()
