"""Object tracking in videos: by captions (`track_frames`) or by prompts (`track_prompts`).

    for frame in track_frames(frames, detector, tracker, ontology, config):
        frame.labels  # an object has one track_id on all frames

Objects are detected on some frames and propagated to all others. `ClipTracker` does the same frame
by frame, and `ClipState` is its state, to be saved and resumed from. The models are passed in:
whatever satisfies the Protocols of `grounded_sam2.models.protocols` will do.
"""

from grounded_sam2.tracking.clip_tracker import ClipTracker, track_frames
from grounded_sam2.tracking.prompted_tracking import track_prompts
from grounded_sam2.tracking.saved_state import ClipState

__all__ = ["ClipState", "ClipTracker", "track_frames", "track_prompts"]
