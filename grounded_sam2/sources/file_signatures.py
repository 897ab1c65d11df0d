"""Files that are called images and cannot be read as one: what they are, and what helps."""

from __future__ import annotations

__all__ = ["SIGNATURE_BYTES", "describe_file_type"]

SIGNATURE_BYTES = 64
"""How much of a file it takes to tell."""

_WEB_PAGE = "a web page, as servers send for what they do not have; download it again"
_KINDS = (
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file with 'git lfs pull'"),
    (b"<!doctype html", _WEB_PAGE),
    (b"<html", _WEB_PAGE),
    (b"<svg", "an SVG drawing; convert it to PNG"),
    (b"<?xml", "an XML document; if it is an SVG drawing, convert it to PNG"),
    (b"%pdf", "a PDF document; save its pages as PNG"),
)
_BRANDS = {
    (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1"): (
        "a HEIF image, which needs pillow-heif; convert it to JPEG"
    ),
    (b"isom", b"iso2", b"mp41", b"mp42", b"m4v ", b"avc1", b"qt  "): (
        "a video; label it with 'grounded-sam2 track'"
    ),
}
"""What stands behind ``ftyp`` in files of the family of MP4."""


def describe_file_type(beginning: bytes) -> str | None:
    """What a file is, and what to do about it; ``None`` if its first bytes do not tell.

    Args:
        beginning: its first `SIGNATURE_BYTES`, or all of a shorter one.
    """
    if not beginning.strip(b"\0"):
        return "a row of zeros, as an interrupted copy leaves; copy it again"
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, kind in _KINDS:
        if text.startswith(start):
            return kind
    if beginning[4:8] == b"ftyp":
        for brands, kind in _BRANDS.items():
            if beginning[8:12].lower() in brands:
                return kind
    return None
