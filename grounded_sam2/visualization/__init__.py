"""Drawing of results: annotated images and videos, contact sheets, and the files they go to.

- `grounded_sam2.visualization.annotated_image`: `annotate` draws detections into an image,
  `save_image` writes it.
- `grounded_sam2.visualization.annotated_video`: `render_video` writes a labeled video with its
  labels drawn in, from the store.
- `grounded_sam2.visualization.contact_sheet`: `contact_sheet` arranges images in rows.
- `grounded_sam2.visualization.video_encoder`: `VideoEncoder` writes images as a video file.
"""

__all__ = ()
