"""Images and videos from any input, as references first and as upright RGB ``uint8`` on demand.

- `grounded_sam2.sources.factory.open_image_source` turns an input (folder, pattern, list, table,
  archive, address) into an `grounded_sam2.sources.refs.ImageSource`, which yields one
  `grounded_sam2.sources.refs.ImageRef` per image in a stable order, without opening any image.
- `grounded_sam2.sources.image.load_image` decodes anything that is an image.
- `grounded_sam2.sources.video.open_video` opens a video, a folder of frames, a stream or a camera.
"""

__all__ = ()
