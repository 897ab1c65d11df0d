"""Inference on images: from pixels and captions to labels.

    images ─ grounding ─► candidates ─ postprocess ─► labels

- `grounding`: run any grounder and check its candidates; `predict_labels` does all of the above.
- `detect_and_segment`: a detector and a segmenter as one grounder.
- `candidates`: the checks, the same for every model.
- `postprocess`: choose the labels among the candidates; a pure function.
- `cleanup`: one object per physical object, with tidy masks.
- `tiling`: detector and segmenter for large images.
"""

__all__ = ()
