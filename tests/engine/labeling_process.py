"""Labels a video in a process of its own, and ends it as asked: run by `test_endings.py`.

    python labeling_process.py VIDEO OUT KIND NUMBER

At the frame of this number (counted over what this process sees) it kills itself (``kill``), sends
itself a Ctrl-C (``stop``), or does nothing (``none``).
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


class Ending(FakeTracker):
    """Ends the process when it has seen so many frames."""

    def __init__(self, kind: str, number: int) -> None:
        super().__init__()
        self.left, self.kind = number, kind

    def encode(self, image):
        self.left -= 1
        if self.left == 0 and self.kind != "none":
            os.kill(os.getpid(), signal.SIGKILL if self.kind == "kill" else signal.SIGINT)
        return super().encode(image)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job has none
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
                Ending(kind, int(number)),
                ontology,
                config,
                run_config=run_config,
                commit_seconds=0,  # every frame is a batch
            )
    except KeyboardInterrupt as stop:
        sys.exit(f"{stop}")
