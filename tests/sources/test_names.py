"""Item ids, safe paths and redacted addresses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grounded_sam2.errors import printable
from grounded_sam2.sources.names import UniqueIds, item_name, redact_address, safe_path


class TestItemNames:
    @pytest.mark.parametrize("name", ["a.jpg", "sub/é b.jpg", "漢字/😀.png", r"a\b", r"\x", "a\nb"])
    def test_unicode_names_are_unchanged(self, name: str) -> None:
        assert item_name(name) == name

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (os.fsdecode(b"caf\xe9.png"), r"caf\xe9.png"),
            ("half\ud83d.png", r"half\ud83d.png"),  # JSON can express this
            (r"caf\xe9.png", r"caf\x5cxe9.png"),
            (r"half\ud83d.png", r"half\x5cud83d.png"),
            ("\\\udcff", r"\\xff"),
            (r"\\xff", r"\\x5cxff"),
        ],
    )
    def test_different_names_stay_different(self, name: str, expected: str) -> None:
        assert item_name(name) == expected
        expected.encode()

    def test_printable_escapes_surrogates(self) -> None:
        assert printable(Path("a\udcff\ud800")) == r"a\xff\ud800"


class TestSafePath:
    @pytest.mark.parametrize(
        "item_id", ["a.jpg", "sub/é b.jpg", "漢字/😀.png", "a", "a.b.c", "COMB"]
    )
    def test_plain_id_is_its_path(self, tmp_path: Path, item_id: str) -> None:
        assert safe_path(tmp_path, item_id) == tmp_path / item_id

    @pytest.mark.parametrize(
        "item_id",
        [
            *("../evil.jpg", "/etc/passwd", "a/../../b.jpg", "a//b.jpg", "", ".", "a/", ".hidden"),
            *("a\\..\\b.jpg", "c:b.jpg", "nul\0.jpg", "line\nbreak.jpg", "aux.jpg", "CON", "end."),
            *("x" * 300 + ".jpg", "漢" * 90 + ".jpg", "x." + "y" * 300, "?.jpg", "a" * 201),
        ],
    )
    def test_unsafe_ids_stay_in_the_folder_and_are_writable(
        self, tmp_path: Path, item_id: str
    ) -> None:
        path = safe_path(tmp_path, item_id)
        assert path.resolve().is_relative_to(tmp_path)
        assert path != tmp_path
        assert not any(part.startswith(".") for part in path.relative_to(tmp_path).parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")

    def test_different_ids_have_different_paths(self, tmp_path: Path) -> None:
        ids = [
            "a?b.jpg",
            "a:b.jpg",
            "a_b.jpg",
            "x" * 300,
            "x" * 301,
            "..",
            ".",
            "",
            " a",
            "a",
            "a.",
        ]
        assert len({safe_path(tmp_path, item_id) for item_id in ids}) == len(ids)

    def test_extension_is_kept(self, tmp_path: Path) -> None:
        assert safe_path(tmp_path, "x" * 300 + ".jpg").suffix == ".jpg"
        assert safe_path(tmp_path, "a:b.PNG").suffix == ".PNG"


class TestUniqueIds:
    def test_first_claim_keeps_its_name(self) -> None:
        ids = UniqueIds()
        assert ids.claim("x/a.jpg", otherwise="7") == "x/a.jpg"
        assert ids.claim("x/a.jpg", otherwise="9") == "x/a-9.jpg"
        assert ids.claim("y/a.jpg", otherwise="9") == "y/a.jpg"

    def test_claim_is_unique_when_the_alternative_is_taken(self) -> None:
        ids = UniqueIds()
        claimed = [
            ids.claim(name, otherwise="9") for name in ("a-9.jpg", "a.jpg", "a.jpg", "a.jpg")
        ]
        assert claimed == ["a-9.jpg", "a.jpg", "a-9-2.jpg", "a-9-3.jpg"]


def test_passwords_are_redacted() -> None:
    address = "zip://x::ftp://me:secret@host/a@b.zip"
    assert redact_address(address) == "zip://x::ftp://host/a@b.zip"
    assert redact_address("hf://datasets/me/it@main/x") == "hf://datasets/me/it@main/x"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (
            "https://b.s3.example/a.mp4?X-Amz-Date=2026&X-Amz-Signature=ab%2F1&X-Amz-Expires=60",
            "https://b.s3.example/a.mp4?X-Amz-Date=2026&X-Amz-Signature=***&X-Amz-Expires=60",
        ),
        ("https://host/a.mp4?sv=1&sig=x%3D&id=7#t", "https://host/a.mp4?sv=1&sig=***&id=7#t"),
        ("zip://x::https://host/a.zip?token=abc", "zip://x::https://host/a.zip?token=***"),
        (
            "zip://x::https://host/a.zip?token=abc::ftp://b",
            "zip://x::https://host/a.zip?token=***::ftp://b",
        ),
        ("https://host/a.zip?token=ab:cd::x", "https://host/a.zip?token=***::x"),
        ("https://host/a.jpg?id=7&page=2", "https://host/a.jpg?id=7&page=2"),
        ("https://host/sig=x/key=y.jpg", "https://host/sig=x/key=y.jpg"),
    ],
)
def test_signatures_are_redacted(address: str, expected: str) -> None:
    assert redact_address(address) == expected
