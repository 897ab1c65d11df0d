"""Names of images: as text for the store, and as files that are safe to write.

File names are bytes on most systems, and keys of an object store or names in an archive are
whatever somebody wrote. Two different names stay different in both forms.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path, PurePosixPath

from grounded_sam2.errors import printable

__all__ = [
    "UniqueIds",
    "cache_folder",
    "item_name",
    "redact_address",
    "safe_path",
    "text_hash",
]

_LOOKS_ESCAPED = re.compile(r"\\(?=x[0-9a-f]{2}|u[0-9a-f]{4})")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@(?=[^/])")
_SECRET_FIELD = re.compile(
    r"([?&][^=&#]*(?:sig|token|key|credential|secret|pass|auth)[^=&#]*=)(?:(?!::)[^&#])+",
    re.IGNORECASE,
)
"""What signs an address: ``X-Amz-Signature``, ``sig``, ``AWSAccessKeyId``, ``access_token``."""
_MAX_NAME_BYTES = 200
"""File systems take 255; the rest is for what is put before or after a name."""
_MAX_SUFFIX = 10


def item_name(name: str) -> str:
    """A file name as an item id: `printable`, and different for different names.

    A name that holds ``\\xff`` literally is told apart by ``\\x5cxff``.
    """
    return printable(_LOOKS_ESCAPED.sub(r"\\x5c", name))


def text_hash(text: str) -> str:
    """SHA-256 of any text, in hexadecimal digits: a name for what cannot be one itself."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def redact_address(address: str) -> str:
    """An address as text that may be written down: without user, password and signature."""
    return printable(_SECRET_FIELD.sub(r"\1***", _CREDENTIALS.sub("", address)))


def safe_path(folder: Path, item_id: str) -> Path:
    """Where the image of an id is kept below a folder, whoever chose the id.

    The path is the id wherever every file system takes it. Parts that lead out of the folder, that
    are hidden, reserved or too long, or that hold control characters or ``<>:"\\|?*``, are
    replaced by what is left of them and a hash.
    """
    return folder.joinpath(*(_safe(part) for part in item_id.split("/")))


def cache_folder(images_folder: Path, root: Path | str) -> Path:
    """Where copies from one place are kept: two places may call different images the same.

    Args:
        images_folder: where those of all places are.
        root: the place, on this machine (a path, which keeps its meaning where both are moved
            together) or an address.
    """
    if isinstance(root, Path):
        name = Path(os.path.abspath(root)).name  # noqa: PTH100
        place = Path(os.path.relpath(root, images_folder)).as_posix()
    else:
        name = next((part for part in reversed(re.split("[/:]+", root)) if part), "")
        place = root
    return safe_path(images_folder, f"{item_name(name) or 'place'}-{text_hash(place)[:8]}")


class UniqueIds:
    """Ids handed out so far. The first to claim a name keeps it, so that later ones change none."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def claim(self, name: str, *, otherwise: str) -> str:
        """An id that nothing else has: `name`, or else with `otherwise` before its ending."""
        claimed = name
        number = 1
        while claimed in self._taken:
            path = PurePosixPath(name)
            more = otherwise if number == 1 else f"{otherwise}-{number}"
            claimed = str(path.with_name(f"{path.stem}-{more}{path.suffix}"))
            number += 1
        self._taken.add(claimed)
        return claimed


def _safe(part: str) -> str:
    cleaned = _UNSAFE.sub("_", part).strip(" .")
    taken_everywhere = cleaned and not _RESERVED.match(part)
    if cleaned == part and taken_everywhere and len(part.encode()) <= _MAX_NAME_BYTES:
        return part
    name = PurePosixPath(cleaned)
    stem = name.stem.encode()[: _MAX_NAME_BYTES // 2].decode(errors="ignore")
    suffix = name.suffix if len(name.suffix) <= _MAX_SUFFIX else ""
    return f"{stem or 'picture'}-{text_hash(part)[:12]}{suffix}"
