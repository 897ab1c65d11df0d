"""Program that labels a video and ends as requested; run by `test_video_endings.py`.

    python labeling_process.py VIDEO OUT KIND NUMBER

At the frame of this number, counted over the frames that this process encodes, it kills itself
(``kill``), sends itself Ctrl-C (``stop``), or does nothing (``none``).
"""

from __future__ import annotations

import os
import signal
import sys

from grounded_sam2 import CaptionOntology, LabelStore, load_config
from grounded_sam2.engine.run_config import video_run_config
from grounded_sam2.engine.video_run import label_videos
from grounded_sam2.sources.video.discovery import find_videos
from grounded_sam2.testing import FakeDetector, FakeTracker


class EndingTracker(FakeTracker):
    """Ends the process at the frame of a number, counted from 1."""

    def __init__(self, kind: str, number: int) -> None:
        super().__init__()
        self.remaining, self.kind = number, kind

    def encode(self, image):
        self.remaining -= 1
        if self.remaining == 0 and self.kind != "none":
            os.kill(os.getpid(), signal.SIGKILL if self.kind == "kill" else signal.SIGINT)
        return super().encode(image)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs have none
    video, out, kind, number = sys.argv[1:]
    ontology = CaptionOntology({"red box": "warm", "blue box": "cold"})
    config = load_config({"tracking": {"detect_every": 4, "min_hits": 1}})
    run_config = video_run_config(config, ontology, models={"tracker": "fake"}, frames={})
    try:
        with LabelStore.create(out) as store:
            label_videos(
                find_videos(video),
                store,
                FakeDetector(),
                EndingTracker(kind, int(number)),
                ontology,
                config,
                run_config=run_config,
                commit_seconds=0,  # every frame is a batch
            )
    except KeyboardInterrupt as stop:
        sys.exit(f"{stop}")
