"""``grounded-sam2 compare`` and ``merge``."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def two(runs: Any) -> Any:
    runs.add({"a.jpg": [runs.box(0), runs.box(15)], "b.jpg": []})
    runs.add({"a.jpg": [runs.box(2), runs.box(18, "dog", origin="human")], "c.jpg": []})
    runs.store.close()
    return runs


def rows(out: str) -> dict[str, list[str]]:
    cells = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in out.splitlines()
        if line.startswith("│")
    ]
    return {name: values for name, *values in cells}


def test_compare_prints_a_row_per_class(two: Any, cli: Any) -> None:
    ran = cli("compare", two.folder, "--run", 1, "--run", 2)
    assert ran.code == 0
    assert rows(ran.out) == {
        "cat": ["1", "1", "0", "0.667"],
        "dog": ["0", "0", "1", "–"],
        "all classes": ["1", "1", "1", "0.667"],
    }
    assert "run 2 against run 1, 1 images that both have" in ran.out
    assert "1 images only in run 1, not compared" in ran.out


def test_the_only_two_runs_of_a_store_need_no_option(two: Any, cli: Any) -> None:
    named = cli("compare", two.folder, "--run", 1, "--run", 2)
    assert cli("compare", two.folder).out == named.out
    other = cli("compare", two.folder, "--run", 2, "--run", 1, "--min-iou", 0.7)
    assert rows(other.out)["cat"] == ["0", "1", "2", "–"]


def test_merge_writes_a_third_run(two: Any, cli: Any) -> None:
    ran = cli("merge", two.folder)
    assert ran.code == 0
    assert "run 3" in ran.out
    assert rows(ran.out)["objects"] == ["3"]
    assert rows(ran.out)["images labeled"] == ["3"]
    assert "merge of runs: 1, 2" in cli("info", two.folder).out


@pytest.mark.parametrize("command", ["compare", "merge"])
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--run", "1"], 2, "--run 1, --run 2"),
        (["--run", "1", "--run", "2", "--run", "3"], 2, "--run 1, --run 2"),
        (["--run", "1", "--run", "7"], 1, "has no run 7"),
        (["--run", "1", "--run", "1"], 1, "two runs"),
        (["--min-iou", "50"], 1, "between 0 and 1"),
    ],
)
def test_wrong_use_is_one_line(
    two: Any, cli: Any, command: str, arguments: list[str], code: int, message: str
) -> None:
    ran = cli(command, two.folder, *arguments)
    assert ran.code == code
    assert message in ran.err
    assert ran.err.count("\n") == 1
