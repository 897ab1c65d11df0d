"""Identity of a checkpoint's weights, computed without loading them.

A hub id identifies its weights. The contents of a folder can change, and the embedded models differ
between versions of this package: their names get a digest of the files in the folder, so that
labels of different weights are never taken for one run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["EMBEDDED", "checkpoint_identity"]

EMBEDDED = Path(__file__).parents[1] / "demo" / "weights"
"""Folder of the embedded models."""

_SAMPLES = 64
_SAMPLE_BYTES = 2**16


def checkpoint_identity(checkpoint: str, embedded: Path | None) -> str:
    """The name of a checkpoint, with a digest for a folder or ``demo``: ``demo@1f0c44d2a9be``.

    Of large files, the digest covers the size and 64 samples of 64 KiB: training changes all
    weights, so that reading gigabytes is unnecessary.

    Args:
        checkpoint: as in the configuration.
        embedded: folder of the weights that ``demo`` stands for (`ModelType.embedded`).
    """
    folder = embedded if checkpoint == "demo" else Path(checkpoint).expanduser()
    if folder is None or not folder.is_dir():
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
