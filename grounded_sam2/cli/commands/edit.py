"""``grounded-sam2 edit``: a person's decisions about the objects of a label store."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, TextIO

import typer

from grounded_sam2.cli.options import RunOption, StoreArgument, named_values

__all__ = ["edit"]

_Uids = list[str] | None


def edit(
    folder: StoreArgument,
    accept: Annotated[
        _Uids, typer.Option("--accept", metavar="UID", help="The object is right. Repeatable.")
    ] = None,
    reject: Annotated[
        _Uids,
        typer.Option(
            "--reject",
            metavar="UID",
            help="The object is wrong, and so is what later runs find in its place. Repeatable.",
        ),
    ] = None,
    relabel: Annotated[
        _Uids,
        typer.Option(
            "--relabel", metavar="UID=CLASS", help="The object is of another class. Repeatable."
        ),
    ] = None,
    delete: Annotated[
        _Uids, typer.Option("--delete", metavar="UID", help="Remove the object. Repeatable.")
    ] = None,
    confirm: Annotated[
        _Uids,
        typer.Option(
            "--confirm",
            metavar="IMAGE",
            help="The objects of the image are right and complete; or it has none. Repeatable.",
        ),
    ] = None,
    flag: Annotated[
        _Uids,
        typer.Option(
            "--flag",
            metavar="IMAGE=NOTE",
            help="Flag an image with a note; without a note, remove the flag. Repeatable.",
        ),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Undo the last edit, of --item if given.")
    ] = False,
    redo: Annotated[
        bool, typer.Option("--redo", help="Redo what was undone last, of --item if given.")
    ] = False,
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Edits as JSON lines, of all kinds and with masks: see docs/review.md; - reads "
            "standard input. All are applied, or none.",
        ),
    ] = None,
    item: Annotated[
        str | None,
        typer.Option(
            "--item",
            metavar="IMAGE",
            help="The image that --undo and --redo are about; for an object of a video, the frame "
            "that the edit is limited to.",
        ),
    ] = None,
    actor: Annotated[
        str | None,
        typer.Option("--actor", metavar="NAME", help="Who edits. Default: your login name."),
    ] = None,
    list_objects: Annotated[
        str | None,
        typer.Option("--list", metavar="IMAGE", help="Print the objects of an image with uids."),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option("--history", metavar="IMAGE", help="Print all edits of an image or video."),
    ] = None,
    run: RunOption = None,
) -> None:
    """Accept, correct or remove objects of a label store.

    Objects are named by their uid, which --list and the exports tell; an object of a video has one
    uid in all frames. No later labeling run loses or overwrites an edit, and every edit can be
    undone. The store may be edited while a run goes on.

    \b
    Examples:
      grounded-sam2 edit labeled --list scene-0001.png
      grounded-sam2 edit labeled --accept 47af1daf8dcc70fd --relabel 37c2d3b08b2ad0be=ring
      grounded-sam2 edit labeled --confirm scene-0001.png --actor ann
      grounded-sam2 edit labeled --undo
      grounded-sam2 edit labeled --from edits.jsonl
    """
    from grounded_sam2.cli.edit_tables import print_edits, print_history, print_objects
    from grounded_sam2.errors import StoreError
    from grounded_sam2.store import LabelStore
    from grounded_sam2.store.edit_json import apply_edit_lines, apply_edit_record

    of_frame: dict[str, object] = {} if item is None else {"item": item}
    records: list[dict[str, object]] = []
    for action, uids in (("accept", accept), ("reject", reject), ("delete", delete)):
        records += [{"action": action, "uid": uid, **of_frame} for uid in uids or ()]
    for uid, name in named_values(relabel, "--relabel", "UID=CLASS"):
        records.append({"action": "relabel", "uid": uid, "class": name, **of_frame})
    for image, note in named_values(flag, "--flag", "IMAGE=NOTE"):
        records.append({"action": "flag", "item": image, "note": note})
    records += [{"action": "confirm", "item": image} for image in confirm or ()]
    inversions = ["undo"] * undo + ["redo"] * redo
    if len(inversions) + bool(records) + (from_file is not None) > 1:
        raise typer.BadParameter(
            "--undo, --redo and --from stand alone: give one of them at a time"
        )
    if item is not None and not (accept or reject or delete or relabel or inversions):
        raise typer.BadParameter(
            "no option that is given is about it; use it with --accept, --reject, --relabel, "
            "--delete, --undo or --redo",
            param_hint="--item",
        )
    records += [{"action": inversion, **of_frame} for inversion in inversions]
    if not records and from_file is None and list_objects is None and history is None:
        raise typer.BadParameter("nothing to do: give an edit, --list or --history")
    with LabelStore.open(folder) as store:
        if from_file is not None:
            try:
                with _opened(from_file) as lines:
                    count = apply_edit_lines(store.edits, lines, run_id=run, actor=actor)
            except UnicodeDecodeError as error:
                raise StoreError(f"'{from_file}' is not UTF-8 text ({error})") from error
            print_edits(store, run, count)
        elif records:
            with store.edits.batch():
                for record in records:
                    apply_edit_record(store.edits, record, run_id=run, actor=actor)
            print_edits(store, run, len(records))
        if list_objects is not None:
            print_objects(store, list_objects, run)
        if history is not None:
            print_history(store, history, run)


def _opened(file: Path) -> AbstractContextManager[TextIO]:
    return nullcontext(sys.stdin) if str(file) == "-" else file.open(encoding="utf-8-sig")
