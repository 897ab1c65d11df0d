"""Text to tracks: what the detector finds on some frames, the tracker carries through all others.

    for frame in track_frames(frames, detector, tracker, ontology, config):
        frame.labels  # one thing has one track_id in all frames

Nothing here loads a model: whatever satisfies the Protocols will do.
"""

from grounded_sam2.tracking.clip import ClipTracker, track_frames
from grounded_sam2.tracking.prompted import track_prompts
from grounded_sam2.tracking.saved_state import ClipState

__all__ = ["ClipState", "ClipTracker", "track_frames", "track_prompts"]
