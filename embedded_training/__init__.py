"""Scripts that trained and score the embedded models; see ``docs/embedded-models.md``.

    scene_pool ─► train_detector
               └► train_segmenter ─► train_tracker ◄─ clip_pool

Each is run from a checkout as ``python -m embedded_training.NAME``. They are not installed with the
package: inference with the embedded models needs only their weights.
"""

__all__ = ()
