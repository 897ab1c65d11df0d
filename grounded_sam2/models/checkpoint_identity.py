"""Which weights a checkpoint's name stands for, told without loading them.

A hub id says so itself. A folder may hold other weights tomorrow, and the embedded models are
others in another version of this package: their names get a digest of what the folder holds, so
that labels of old and new weights are never taken for one run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["EMBEDDED", "checkpoint_identity"]

EMBEDDED = Path(__file__).parents[1] / "demo" / "weights"
"""The embedded models, in a folder for each kind."""

_SAMPLES = 64
_SAMPLE_BYTES = 2**16


def checkpoint_identity(checkpoint: str, role: str) -> str:
    """The name of a checkpoint; of a folder or ``demo`` with a digest: ``demo@1f0c44d2a9be``.

    Of large files, the digest reads 64 samples of 64 KiB and the size: training changes all
    weights, and gigabytes need not be read for that.

    Args:
        checkpoint: as in the configuration.
        role: ``detector`` or ``segmenter``.
    """
    folder = EMBEDDED / role if checkpoint == "demo" else Path(checkpoint).expanduser()
    if not folder.is_dir():
        return checkpoint
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".json", ".txt") and path.is_file():
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            _add_samples(digest, path)
    return f"{checkpoint}@{digest.hexdigest()[:12]}"


def _add_samples(digest: hashlib._Hash, path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _SAMPLES * _SAMPLE_BYTES:
            digest.update(file.read())
            return
        for number in range(_SAMPLES):
            file.seek((size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
