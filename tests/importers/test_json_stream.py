"""JSON files read element by element: the same values as json.load, in pieces of any size."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from grounded_sam2.errors import DatasetError
from grounded_sam2.importers import json_stream
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
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(json_stream, "_CHUNK", request.param)
    return int(request.param)


def arrays(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for key, value, text in iter_elements(path):
        assert json.loads(text) == value
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("form", [{}, {"indent": 2}, {"separators": (",", ":")}])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_gives_what_json_load_gives(
    chunk: int, tmp_path: Path, form: dict[str, Any], ascii_only: bool
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(VALUES, ensure_ascii=ascii_only, **form), encoding="utf-8")
    assert arrays(path) == {k: v for k, v in VALUES.items() if isinstance(v, list) and v}
    assert first_key(path) == "info"


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
def test_forms(chunk: int, tmp_path: Path, text: str, expected: Any) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    assert arrays(path) == expected


def test_what_python_writes_for_no_number(chunk: int, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": [float("nan"), {"b": float("inf")}]}))
    first, second = (element.value for element in iter_elements(path))
    assert first != first
    assert second == {"b": float("inf")}


@pytest.mark.parametrize(
    ("text", "says"),
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
        ('{"a":' + "[" * 100_000, "without end"),
    ],
)
def test_a_file_that_is_not_whole_says_where(
    chunk: int, tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=says):
        list(iter_elements(path))


def test_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a":["\xff"]}')
    with pytest.raises(DatasetError, match="UTF-8"):
        list(iter_elements(path))
    assert first_key(path) is None


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        list(iter_elements(tmp_path / "absent.json"))
    assert first_key(tmp_path) is None


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
