"""Inference on images: from pixels and captions to labels.

    images ─ detect_and_segment ─► candidates ─ postprocess ─► labels

- `detect_and_segment`: run the detector and the segmenter; `predict_labels` does all of the above.
- `postprocess`: choose the labels among the candidates; a pure function.
- `cleanup`: one object per physical object, with tidy masks.
- `tiling`: detector and segmenter for large images.
"""

__all__ = ()
