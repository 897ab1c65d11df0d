"""The command ``edit``: as the documentation shows it, its errors, and what other commands tell."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures.command_line import draw_boxes, is_one_line

from grounded_sam2.store import LabelStore

Cli = Callable[..., Any]


@pytest.fixture
def labeled(cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path) -> Path:
    """A labeled folder."""
    out = tmp_path / "labeled"
    cli("label", images, "--ontology", ontology, "--out", out, "--format", "jsonl")
    return out


@pytest.fixture
def item(labeled: Path) -> str:
    """The first image with objects."""
    with LabelStore.open(labeled) as store:
        return next(item.item_id for item, labels in store.labels() if len(labels))


@pytest.fixture
def uid(labeled: Path, item: str) -> str:
    with LabelStore.open(labeled) as store:
        return store.objects(item)[0].uid


def objects(labeled: Path, item: str) -> list[tuple[str, str]]:
    with LabelStore.open(labeled) as store:
        found = store.objects(item, include_rejected=True)
    return [(each.class_name, each.review) for each in found]


class TestEdits:
    def test_list_tells_the_uids(self, cli: Cli, labeled: Path, item: str, uid: str) -> None:
        printed = cli("edit", labeled, "--list", item).out
        assert uid in printed
        assert "unreviewed" in printed

    def test_the_uids_are_in_the_exports(self, labeled: Path, uid: str) -> None:
        assert uid in (labeled / "jsonl" / "labels.jsonl").read_text("utf-8")

    def test_accept_relabel_reject_and_delete(
        self, cli: Cli, labeled: Path, item: str, uid: str
    ) -> None:
        ran = cli("edit", labeled, "--relabel", f"{uid}=a = b", "--actor", "ann")
        assert (ran.code, ran.out.splitlines()[0][:16]) == (0, "1 edit applied; ")
        assert objects(labeled, item)[0] == ("a = b", "accepted")
        cli("edit", labeled, "--reject", uid)
        assert objects(labeled, item)[-1] == ("a = b", "rejected")
        cli("edit", labeled, "--accept", uid)
        assert ("a = b", "accepted") in objects(labeled, item)
        cli("edit", labeled, "--delete", uid)
        assert all(name != "a = b" for name, _ in objects(labeled, item))

    def test_several_edits_are_one_transaction(
        self, cli: Cli, labeled: Path, item: str, uid: str
    ) -> None:
        before = objects(labeled, item)
        ran = cli("edit", labeled, "--accept", uid, "--reject", "0123456789abcdef")
        assert ran.code == 1
        assert "0123456789abcdef" in ran.err
        assert objects(labeled, item) == before

    def test_confirm_and_flag(self, cli: Cli, labeled: Path, item: str) -> None:
        cli("edit", labeled, "--confirm", item, "--flag", f"{item}=look = here")
        with LabelStore.open(labeled) as store:
            [found] = [each for each, _ in store.labels() if each.item_id == item]
        assert (found.is_confirmed, found.flag) == (True, "look = here")
        cli("edit", labeled, "--flag", f"{item}=")
        with LabelStore.open(labeled) as store:
            [found] = [each for each, _ in store.labels() if each.item_id == item]
        assert found.flag is None

    def test_undo_redo_and_history(self, cli: Cli, labeled: Path, item: str, uid: str) -> None:
        before = objects(labeled, item)
        cli("edit", labeled, "--relabel", f"{uid}=[red]cat", "--actor", "[bold]ann")
        cli("edit", labeled, "--undo", "--actor", "bob")
        assert objects(labeled, item) == before
        cli("edit", labeled, "--redo", "--item", item)
        assert objects(labeled, item)[0] == ("[red]cat", "accepted")
        printed = re.sub(r"[\s│]+", " ", cli("edit", labeled, "--history", item).out)
        for text in ("[bold]", "bob", "undone", "relabel:", "[red]cat", "undo: edit 1", "redo"):
            assert text in printed
        assert "[red]cat" in cli("edit", labeled, "--list", item).out

    @pytest.mark.parametrize("name", ["[red]", "[/red]", ":cat:", "cat\\", "\\[b]"])
    def test_names_are_printed_as_they_are(
        self, cli: Cli, labeled: Path, item: str, uid: str, name: str
    ) -> None:
        cli("edit", labeled, "--relabel", f"{uid}={name}", "--actor", name)
        assert f" {name} " in cli("edit", labeled, "--list", item).out
        printed = cli("edit", labeled, "--history", item).out
        assert printed.count(f" {name} ") == 2  # who, and which class

    def test_control_characters_are_escaped(
        self, cli: Cli, labeled: Path, item: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        cli("edit", labeled, "--flag", f"{item}=look\x1b[31m\nhere", "--actor", "ann\x07\r")
        printed = cli("edit", labeled, "--history", item).out
        assert r"flag: look\x1b[31m\nhere" in printed
        assert r"ann\x07\r" in printed

    def test_an_item_with_control_characters_in_its_name(
        self, cli: Cli, fakes: None, ontology: Path, tmp_path: Path
    ) -> None:
        name = "[red]\x1b[31m.png"
        (tmp_path / "odd").mkdir()
        draw_boxes(tmp_path / "odd" / name)
        cli("label", tmp_path / "odd", "--ontology", ontology, "--out", tmp_path / "out")
        assert cli("edit", tmp_path / "out", "--list", name).out == (
            "[red]\\x1b[31m.png: no objects\n"
        )
        assert cli("edit", tmp_path / "out", "--confirm", name).code == 0
        printed = cli("edit", tmp_path / "out", "--history", name).out
        assert "\x1b" not in printed
        assert "confirm" in printed

    def test_the_labels_of_another_run(
        self, cli: Cli, labeled: Path, images: Path, ontology: Path, item: str, uid: str
    ) -> None:
        options = ("--set", "detector.min_confidence=0.95", "--new-run")
        cli("label", images, "--ontology", ontology, "--out", labeled, *options)
        assert f"{item}: no objects" in cli("edit", labeled, "--list", item).out
        assert uid in cli("edit", labeled, "--list", item, "--run", 1).out
        assert cli("edit", labeled, "--relabel", f"{uid}=cat", "--run", 1).code == 0
        assert uid in cli("edit", labeled, "--list", item).out  # a person's object is in all runs

    @pytest.mark.parametrize("source", ["file", "standard input"])
    def test_edits_from_json_lines(
        self,
        cli: Cli,
        labeled: Path,
        item: str,
        uid: str,
        source: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        edits = [
            {"action": "relabel", "uid": uid, "class": "cat"},
            {"action": "add", "item": item, "class": "dog", "box": [1, 2, 20, 30]},
        ]
        text = "\n\n".join(map(json.dumps, edits)) + "\n"
        (tmp_path / "edits.jsonl").write_text(text, encoding="utf-8")
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        given = tmp_path / "edits.jsonl" if source == "file" else "-"
        ran = cli("edit", labeled, "--from", given)
        assert ran.out.startswith("2 edits applied; ")
        assert {("cat", "accepted"), ("dog", "accepted")} <= set(objects(labeled, item))

    def test_a_wrong_line_is_named_and_nothing_applied(
        self, cli: Cli, labeled: Path, item: str, uid: str, tmp_path: Path
    ) -> None:
        before = objects(labeled, item)
        file = tmp_path / "edits.jsonl"
        accept = json.dumps({"action": "accept", "uid": uid})
        for wrong, reason in (
            ('{"action": "acept", "uid": "a"}', "'acept': must be one of accept, reject"),
            ('{"action": "accept", "udi": "a"}', "'udi' of action 'accept'; the nearest is 'uid'"),
            ('{"action": "relabel", "uid": "a"}', "lacks key 'class'"),
            ('{"action": "accept", "uid": 7}', "uid 7: must be text"),
            ('{"action": "accept"', "is not JSON"),
            ("[1]", "is no JSON object"),
            (
                json.dumps({"action": "reshape", "uid": uid, "mask": {"size": [2, 2]}}),
                "needs 'size'",
            ),
        ):
            file.write_text(f"{accept}\n{wrong}\n", encoding="utf-8")
            ran = cli("edit", labeled, "--from", file)
            assert ran.code == 1
            assert "line 2: " in ran.err
            assert reason in ran.err
            assert objects(labeled, item) == before

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["--relabel", "0123"],
            ["--flag", "=note"],
            ["--undo", "--accept", "0123"],
            ["--undo", "--redo"],
            ["--from", "e.jsonl", "--undo"],
            ["--from", "e.jsonl", "--item", "red.png"],
            ["--confirm", "red.png", "--item", "red.png"],
        ],
    )
    def test_wrong_use_is_code_2(self, cli: Cli, labeled: Path, arguments: list[str]) -> None:
        assert cli("edit", labeled, *arguments).code == 2

    def test_a_file_with_a_byte_order_mark(
        self, cli: Cli, labeled: Path, item: str, uid: str, tmp_path: Path
    ) -> None:
        line = json.dumps({"action": "accept", "uid": uid})
        (tmp_path / "edits.jsonl").write_text(line, encoding="utf-8-sig")
        assert cli("edit", labeled, "--from", tmp_path / "edits.jsonl").code == 0
        assert objects(labeled, item)[0][1] == "accepted"

    def test_a_file_in_another_encoding_is_one_line_and_nothing_applied(
        self, cli: Cli, labeled: Path, item: str, uid: str, tmp_path: Path
    ) -> None:
        lines = [
            json.dumps({"action": "accept", "uid": uid}),
            '{"action": "flag", "item": "a", "note": "ü"}',
        ]
        (tmp_path / "edits.jsonl").write_text("\n".join(lines), encoding="latin-1")
        ran = cli("edit", labeled, "--from", tmp_path / "edits.jsonl")
        assert (ran.code, is_one_line(ran.err)) == (1, True)
        assert "edits.jsonl' is not UTF-8 text" in ran.err
        assert objects(labeled, item)[0][1] == "unreviewed"

    def test_a_uid_that_is_no_utf_8_is_one_line(self, cli: Cli, labeled: Path) -> None:
        ran = cli("edit", labeled, "--accept", "\udcff")
        assert (ran.code, is_one_line(ran.err)) == (1, True)

    def test_a_missing_file_is_one_line(self, cli: Cli, labeled: Path) -> None:
        ran = cli("edit", labeled, "--from", "absent.jsonl")
        assert ran.code == 1
        assert "absent.jsonl" in ran.err


class TestCounts:
    def test_info_counts_what_is_reviewed(
        self, cli: Cli, labeled: Path, item: str, uid: str
    ) -> None:
        assert "reviewed: 0 of " in cli("info", labeled).out
        cli("edit", labeled, "--accept", uid)
        printed = cli("info", labeled).out
        assert re.search(r"objects reviewed\s*│\s*1 ", printed)
        assert re.search(r"objects unreviewed\s*│\s*\d+ ", printed)

    def test_report_counts_what_is_reviewed(
        self, cli: Cli, labeled: Path, uid: str, tmp_path: Path
    ) -> None:
        cli("edit", labeled, "--accept", uid)
        printed = cli("report", labeled, "--json", tmp_path / "report.json").out
        assert "1 reviewed, " in printed
        counts = json.loads((tmp_path / "report.json").read_text("utf-8"))["review"]
        assert (counts["accepted"], counts["rejected"]) == (1, 0)
        page = (labeled / "report.html").read_text("utf-8")
        assert re.search(r"<dt>Reviewed</dt><dd>1</dd>", page)

    def test_export_of_what_is_reviewed(self, cli: Cli, labeled: Path, item: str, uid: str) -> None:
        refused = cli("export", labeled, "--format", "jsonl", "--reviewed-only")
        assert refused.code == 1
        assert "not reviewed" in refused.err
        cli("edit", labeled, "--accept", uid)
        for options in (["--reviewed-only"], ["--unreviewed", "skip"]):
            assert cli("export", labeled, "--format", "jsonl", *options).code == 0
            lines = (labeled / "jsonl" / "labels.jsonl").read_text("utf-8").splitlines()
            [record] = map(json.loads, lines)
            assert [each["uid"] for each in record["objects"]] == [uid]
        assert cli("export", labeled, "--format", "csv", "--unreviewed", "drop").code == 2
