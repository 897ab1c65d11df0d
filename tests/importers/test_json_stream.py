"""The JSON stream reader returns the values of json.load, for any chunk size."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from grounded_sam2.errors import DatasetError
from grounded_sam2.importers.json_stream import first_key, iter_elements

VALUES = {
    "info": {"version": "1.0", "nested": {"images": [1, 2]}},
    "images": [{"id": 1, "name": 'ü "[{]}, \\ \n'}, 2.5e-3, -17, "text", None, True, [], {}],
    "empty": [],
    "": [[1, [2, [3]]]],
    "annotations": [{"id": n, "numbers": [n / 7] * n} for n in range(60)],
    "text": "images",
}


@pytest.fixture(params=[1, 2, 3, 7, 64, 1 << 20])
def chunk_size(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def arrays(path: Path, chunk_size: int) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for key, value, text in iter_elements(path, chunk_size=chunk_size):
        assert json.loads(text) == value
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("form", [{}, {"indent": 2}, {"separators": (",", ":")}])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_returns_the_values_of_json_load(
    chunk_size: int, tmp_path: Path, form: dict[str, Any], ascii_only: bool
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(VALUES, ensure_ascii=ascii_only, **form), encoding="utf-8")
    assert arrays(path, chunk_size) == {
        k: v for k, v in VALUES.items() if isinstance(v, list) and v
    }
    assert first_key(path, chunk_size=chunk_size) == "info"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":[1,2]}', {"a": [1, 2]}),
        ('\ufeff {"a" : [ 1 , 2 ] } \n', {"a": [1, 2]}),
        ('{"a":[123456,1e5,-Infinity]}', {"a": [123456, 1e5, float("-inf")]}),
        ('{"a":[1],"a":[2]}', {"a": [1, 2]}),
        ("{}", {}),
        ("{ }", {}),
        ('{"a":[]}', {}),
    ],
)
def test_all_forms_of_white_space_and_numbers_are_read(
    chunk_size: int, tmp_path: Path, text: str, expected: Any
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    assert arrays(path, chunk_size) == expected


def test_the_nan_and_infinity_of_pythons_encoder_are_read(chunk_size: int, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": [float("nan"), {"b": float("inf")}]}))
    first, second = (element.value for element in iter_elements(path, chunk_size=chunk_size))
    assert first != first
    assert second == {"b": float("inf")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"'\{' is missing at character 0"),
        ("[1]", r"'\{' is missing at character 0"),
        ('{"a":[1,2]', "'}'|',' is missing at character 10"),
        ('{"a":[1,2', "',' is missing at character 9"),
        ('{"a":[1,]}', "Expecting value at character 8"),
        ('{"a":[1 2]}', "',' is missing at character 8"),
        ('{"a" [1]}', "':' is missing at character 5"),
        ('{"a":[{"b":1,}]}', "at character 1[23]"),
        ('{"a":["unended]}', "Unterminated string starting at at character 6"),
        ('{"a":[tru', "Expecting value at character 6"),
        ('{"a":[1]} {', "more after its end at character 10"),
        ('{"a":' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_the_error_for_an_incomplete_file_gives_the_position(
    chunk_size: int, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        list(iter_elements(path, chunk_size=chunk_size))


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a":["\xff"]}')
    with pytest.raises(DatasetError, match="UTF-8"):
        list(iter_elements(path))
    assert first_key(path) is None


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        list(iter_elements(tmp_path / "absent.json"))
    assert first_key(tmp_path) is None


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    one = json.dumps({"segmentation": [[0.5] * 200]})
    path.write_text('{"annotations":[' + ",".join([one] * 20_000) + "]}")
    assert path.stat().st_size > 15 * 2**20
    tracemalloc.start()
    try:
        assert sum(1 for _ in iter_elements(path)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
