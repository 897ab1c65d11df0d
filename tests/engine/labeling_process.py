"""Labels a video in a process of its own, and ends it as asked: run by `test_endings.py`.

    python labeling_process.py VIDEO OUT KIND NUMBER

At the frame of this number (counted over what this process sees) it kills itself (``kill``), sends
itself a Ctrl-C (``stop``), or does nothing (``none``).
"""

from __future__ import annotations

import os
import signal
import sys

from grounded_sam2 import CaptionOntology, GroundedSAM2
from grounded_sam2.engine import video_run as runner
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
    model = GroundedSAM2(
        CaptionOntology({"red box": "warm", "blue box": "cold"}),
        config={"tracking": {"detect_every": 4, "min_hits": 1}},
        detector=FakeDetector(),
        tracker=Ending(kind, int(number)),
    )
    runner._COMMIT_SECONDS = 0  # every frame is a window
    try:
        model.predict_video(video, out)
    except KeyboardInterrupt as stop:
        sys.exit(f"{stop}")
