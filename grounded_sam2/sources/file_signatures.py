"""Recognition of files that are neither images nor videos by their first bytes, with a repair."""

from __future__ import annotations

__all__ = ["SIGNATURE_BYTES", "describe_file_type"]

SIGNATURE_BYTES = 64
"""Number of leading bytes that `describe_file_type` needs."""

_WEB_PAGE = "a web page, as servers send in place of a missing file; download it again"
_TEXT_SIGNATURES = (
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file with 'git lfs pull'"),
    (b"<!doctype html", _WEB_PAGE),
    (b"<html", _WEB_PAGE),
    (b"<svg", "an SVG drawing; convert it to PNG"),
    (b"<?xml", "an XML document; if it is an SVG drawing, convert it to PNG"),
    (b"%pdf", "a PDF document; save its pages as PNG"),
)
_FTYP_BRANDS = {
    (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1"): (
        "a HEIF image, which needs pillow-heif; convert it to JPEG"
    ),
    (b"isom", b"iso2", b"mp41", b"mp42", b"m4v ", b"avc1", b"qt  "): (
        "a video; label it with 'grounded-sam2 track'"
    ),
}
"""Major brands of the ISO base media file format (MP4, QuickTime, HEIF), after ``ftyp``."""


def describe_file_type(beginning: bytes) -> str | None:
    """Describe a file and how to repair or convert it; ``None`` if the signature is unknown.

    Args:
        beginning: its first `SIGNATURE_BYTES`, or all bytes of a shorter file.
    """
    if not beginning.strip(b"\0"):
        return "all zeros, as an interrupted copy leaves; copy it again"
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for signature, description in _TEXT_SIGNATURES:
        if text.startswith(signature):
            return description
    if beginning[4:8] == b"ftyp":
        for brands, description in _FTYP_BRANDS.items():
            if beginning[8:12].lower() in brands:
                return description
    return None
