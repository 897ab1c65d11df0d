"""Names of images and videos: as item ids for the store, and as paths that are safe to write.

File names are bytes on most systems, and keys of an object store or names in an archive are
arbitrary text. Two different names stay different in both forms.
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
"""Query fields that hold secrets, such as ``X-Amz-Signature``, ``sig``, ``access_token``."""
_MAX_NAME_BYTES = 200
"""File systems allow 255; the rest is for prefixes and suffixes of temporary files."""
_MAX_SUFFIX = 10


def item_name(name: str) -> str:
    """A file name as an item id: `printable` text, different for different names.

    A literal ``\\xff`` in a name is written ``\\x5cxff``, since ``\\xff`` stands for a raw byte.
    """
    return printable(_LOOKS_ESCAPED.sub(r"\\x5c", name))


def text_hash(text: str) -> str:
    """SHA-256 of any text, hexadecimal; names what cannot be a name itself."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def redact_address(address: str) -> str:
    """An address as printable text without user, password and signatures, safe to log."""
    return printable(_SECRET_FIELD.sub(r"\1***", _CREDENTIALS.sub("", address)))


def safe_path(folder: Path, item_id: str) -> Path:
    """Path below a folder for an item id from an untrusted origin.

    The relative path is the id itself where every file system allows it. Parts that lead out of
    the folder, that are hidden, reserved or too long, or that hold control characters or
    ``<>:"\\|?*``, are replaced by their allowed characters and a hash.
    """
    return folder.joinpath(*(_safe_part(part) for part in item_id.split("/")))


def cache_folder(images_folder: Path, root: Path | str) -> Path:
    """Folder for the cached copies of one source; two sources may use one name for two images.

    Args:
        images_folder: holds the folders of all sources.
        root: root of the source: an address, or a local path, which is taken relative to
            `images_folder` so that both can be moved together.
    """
    if isinstance(root, Path):
        name = Path(os.path.abspath(root)).name  # noqa: PTH100
        location = Path(os.path.relpath(root, images_folder)).as_posix()
    else:
        name = next((part for part in reversed(re.split("[/:]+", root)) if part), "")
        location = root
    return safe_path(images_folder, f"{item_name(name) or 'place'}-{text_hash(location)[:8]}")


class UniqueIds:
    """Registry of item ids. The first claim of a name keeps it: later claims change no id."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def claim(self, name: str, *, otherwise: str) -> str:
        """Return a unique id: `name` or, if taken, `name` with `otherwise` before its extension."""
        claimed = name
        number = 1
        while claimed in self._taken:
            path = PurePosixPath(name)
            distinction = otherwise if number == 1 else f"{otherwise}-{number}"
            claimed = str(path.with_name(f"{path.stem}-{distinction}{path.suffix}"))
            number += 1
        self._taken.add(claimed)
        return claimed


def _safe_part(part: str) -> str:
    cleaned = _UNSAFE.sub("_", part).strip(" .")
    is_allowed = cleaned and not _RESERVED.match(part)
    if cleaned == part and is_allowed and len(part.encode()) <= _MAX_NAME_BYTES:
        return part
    name = PurePosixPath(cleaned)
    stem = name.stem.encode()[: _MAX_NAME_BYTES // 2].decode(errors="ignore")
    suffix = name.suffix if len(name.suffix) <= _MAX_SUFFIX else ""
    return f"{stem or 'picture'}-{text_hash(part)[:12]}{suffix}"
