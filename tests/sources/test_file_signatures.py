"""Descriptions of files that are no images, by their first bytes."""

from __future__ import annotations

import re

import pytest

from grounded_sam2.sources.file_signatures import SIGNATURE_BYTES, describe_file_type


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"<!DOCTYPE html><title>404</title>", "a web page, .*; download it again"),
        (b"\xef\xbb\xbf\r\n <HTML lang=en>", "a web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing; convert it"),
        (b"<?xml version='1.0'?><svg/>", "if it is an SVG drawing, convert it"),
        (b"%PDF-1.7\n", "a PDF document"),
        (bytes(SIGNATURE_BYTES), "zeros, .*; copy it again"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF.*; convert it to JPEG"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", "a video; label it with 'grounded-sam2 track'"),
    ],
)
def test_known_signatures_are_described(beginning: bytes, expected: str) -> None:
    assert re.search(expected, describe_file_type(beginning) or "nothing")


@pytest.mark.parametrize(
    "beginning",
    [
        b"just some text",
        b"\xff\xd8\xff\xe0",
        b"version 2 of my image",
        b"<b>",
        b"\0ftyp",
        b"\0\1",
    ],
)
def test_unknown_signatures_are_not_described(beginning: bytes) -> None:
    assert describe_file_type(beginning) is None
