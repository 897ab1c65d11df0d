"""Fingerprints of files: detect whether a file changed since it was labeled, mostly unread."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["file_hash", "file_stamp", "is_same_file"]


def file_stamp(path: Path) -> str:
    """Size and modification time of a file. An equal stamp is taken to mean equal bytes.

    Raises:
        OSError: the file does not exist or its status cannot be read.
    """
    stat = path.stat()
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def is_same_file(path: Path, *, stamp: str | None, content_hash: str | None) -> bool:
    """Whether a file has this stamp or, if not, bytes with this SHA-256.

    Raises:
        OSError: the file cannot be read.
    """
    if file_stamp(path) == stamp:
        return True
    return content_hash is not None and file_hash(path) == content_hash
