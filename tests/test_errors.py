"""Exceptions and names as printable text."""

from __future__ import annotations

import pytest

from grounded_sam2.errors import ImageError, one_line


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (FileNotFoundError(2, "No such file or directory", "a.jpg"), "does not exist"),
        (PermissionError(13, "Permission denied", "a.jpg"), "Permission denied"),
        (KeyError(), "KeyError"),
        (ValueError("caf\udce9"), r"caf\xe9"),
    ],
)
def test_error_is_rendered_as_one_printable_line(error: Exception, expected: str) -> None:
    assert one_line(error) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (OSError(28, "No space left"), "OSError: [Errno 28] No space left"),
        (ImageError("image 'a': is empty"), "image 'a': is empty"),
        (KeyError(), "KeyError"),
    ],
)
def test_type_precedes_the_message_of_foreign_errors(error: Exception, expected: str) -> None:
    assert one_line(error, with_type=True) == expected


def test_message_is_cut_at_the_maximum_length() -> None:
    assert one_line(ValueError("abcdef"), max_length=3) == "abc"
    assert one_line(ValueError("abcdef"), with_type=True, max_length=3) == "ValueError: abc"
