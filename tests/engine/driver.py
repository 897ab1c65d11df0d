"""The command line as a process that accidents happen to, on models that need no weights.

``python driver.py`` imports the package once, says ``"ready"``, and then forks a process for each
command that it is given, so that a process to be killed costs no start-up. A line of JSON comes in,
one goes out:

    {"start": ["label", "images", …], "log": "FILE", "faults": {…}}  →  123, the process
    {"poll": 123}  →  null while it runs, then its exit code; negative if a signal ended it
    {"wait": 123}  →  its exit code, once it has ended

Until its end was told, the number of a process means no other.

Faults are the accidents, each at a place of the test's choice. Steps of a process are the images
that its detector is given (``image``) and whatever is done to a file (``file``):

- ``trace``: a file that gets a byte with each step, ``i`` or ``f``.
- ``gate``: ``[step, n, pipe]``: at the n-th such step, or at the end if it never comes so far, the
  process waits until somebody opens the pipe for writing.
- ``signal``: ``[n, numbers]``: with its n-th image, the process gets these signals.
- ``impatient``: with its n-th image, the process gets Ctrl-C, and again when it has heard the
  first; its models never come to an end. It is run, and ended, as the installed command is.
- ``on_open``: ``[pattern, n, command]``: a shell command to run just before a file whose path fits
  is opened for the n-th time.
- ``die``: the process kills itself at this call of a function, counted over all its threads.
- ``calls``: a file to write three numbers of such calls into: before the first image, up to the
  last, in all.
- ``pragmas``: SQL to execute on every connection to the label store.
- ``copies``: ``[n, folder]``: before every n-th SQL statement on a label store, it is copied into
  a folder of its own, as it lies on the disk.
- ``die_at_sql``: the process kills itself just before this SQL statement on a label store.
- ``file_size``: the size in bytes that no file may exceed.
- ``encoding``: of what it prints.
- ``unprivileged``: be bound by the modes of files, also as root.
"""

from __future__ import annotations

import ctypes
import gc
import io
import itertools
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

import grounded_sam2.pipeline
from grounded_sam2.cli import console, main
from grounded_sam2.results import DetectedBoxes
from grounded_sam2.testing import FakeDetector, FakeSegmenter

DEFECT = 70
"""Exit code after a traceback."""
CAPABILITY_VERSION = 0x20080522
FILE_EVENTS = ("open", "os.", "shutil.", "sqlite3.")

Step = Callable[[str], None]


class Detector(FakeDetector):
    """As sure of a thing as its place says; tells of each image that it is given."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def detect(self, images: Sequence[Any], captions: Sequence[Any]) -> list[DetectedBoxes]:
        for _ in images:
            self.step("image")
        return [
            DetectedBoxes(
                found.boxes_xyxy,
                found.captions,
                (0.3 + found.boxes_xyxy.sum(axis=1) * 0.0137 % 0.7).astype(np.float32),
            )
            for found in super().detect(images, captions)
        ]


def writing(path: str) -> Step:
    """Write each step into a file."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    return lambda step: os.write(file, step[:1].encode()) and None


def waiting(at: str, number: int, pipe: str) -> Step:
    """Wait at the n-th step of a kind, or at the end, until the pipe was opened and closed."""
    countdown = itertools.count(number, -1)
    passed = threading.Lock()

    def count(step: str) -> None:
        here = (step == at and next(countdown) == 1) or step == "end"
        if here and passed.acquire(blocking=False):
            file = os.open(pipe, os.O_RDONLY)
            os.read(file, 1)
            os.close(file)

    return count


def signalling(number: int, signals: Sequence[int]) -> Step:
    """Send signals to this process with its n-th image."""
    countdown = itertools.count(number, -1)

    def count(step: str) -> None:
        if step == "image" and next(countdown) == 1:
            for each in signals:
                os.kill(os.getpid(), each)

    return count


def twice_interrupting(number: int) -> Step:
    """Send Ctrl-C with the n-th image, and another when the first was heard; then do nothing."""
    countdown = itertools.count(number, -1)

    def count(step: str) -> None:
        if step == "image" and next(countdown) == 1:
            os.kill(os.getpid(), signal.SIGINT)
            while signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
                os.sched_yield()
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait()

    return count


def counting_calls(die: int | None, report: str | None) -> Step:
    """Count calls of functions, Python's and others, in this thread and those to come."""
    calls = itertools.count(1)
    at_images: list[int] = []

    def called(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call") and next(calls) == die:
            os.kill(os.getpid(), signal.SIGKILL)

    def count(step: str) -> None:
        if step == "image":
            at_images.append(next(calls))
        elif step == "end" and report is not None:
            sys.setprofile(None)
            Path(report).write_text(json.dumps([at_images[0], at_images[-1], next(calls)]))

    threading.setprofile(called)
    sys.setprofile(called)
    return count


def run_before_opening(pattern: str, number: int, command: str) -> None:
    """Run a command just before a file is opened for the n-th time."""
    countdown = itertools.count(number, -1)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        opened = event == "open" and isinstance(arguments[0], str | bytes | os.PathLike)
        fits = opened and fnmatchcase(os.fsdecode(arguments[0]), pattern)
        if fits and next(countdown) == 1:
            subprocess.run(command, shell=True, check=True)

    sys.addaudithook(audit)


def on_store(prepare: Callable[[sqlite3.Connection], object]) -> None:
    """Do something with every connection to a label store before it is used."""
    connect = sqlite3.connect

    def connected(database: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(database, *arguments, **options)
        if "labels.db" in str(database):
            prepare(connection)
        return connection

    sqlite3.connect = connected


def dying_at_sql(number: int) -> Callable[[sqlite3.Connection], None]:
    """Kill this process just before the n-th statement."""
    countdown = itertools.count(number, -1)

    def traced(statement: str) -> None:
        if next(countdown) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda connection: connection.set_trace_callback(traced)


def copying(every: int, folder: str) -> Callable[[sqlite3.Connection], None]:
    """Copy the store and its log before every n-th statement."""
    number = itertools.count(1)

    def prepare(connection: sqlite3.Connection) -> None:
        ((_, _, path),) = connection.execute("PRAGMA database_list").fetchall()

        def traced(statement: str) -> None:
            if (count := next(number)) % every == 0:
                target = Path(folder) / f"{count:05}"
                target.mkdir(parents=True)
                for file in Path(path).parent.glob("labels.db*"):
                    shutil.copyfile(file, target / file.name)

        connection.set_trace_callback(traced)

    return prepare


def drop_capabilities() -> None:
    """Give up what lets root read and write everything."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


def work(command: list[str], faults: dict[str, Any]) -> int:
    """Run a command of the package with faults; returns its exit code."""
    steps: list[Step] = []

    def step(kind: str) -> None:
        for each in steps:
            each(kind)

    grounded_sam2.pipeline.models.LazyModels.detector = Detector(step)  # type: ignore[assignment]
    grounded_sam2.pipeline.models.LazyModels.segmenter = FakeSegmenter()  # type: ignore[assignment]
    if "trace" in faults:
        steps.append(writing(faults["trace"]))
    if "gate" in faults:
        steps.append(waiting(*faults["gate"]))
    if "signal" in faults:
        steps.append(signalling(*faults["signal"]))
    if "impatient" in faults:
        steps.append(twice_interrupting(faults["impatient"]))
    if "trace" in faults or "gate" in faults:
        sys.addaudithook(lambda event, _: step("file") if event.startswith(FILE_EVENTS) else None)
    if "on_open" in faults:
        run_before_opening(*faults["on_open"])
    if "pragmas" in faults:
        on_store(lambda connection: [connection.execute(sql) for sql in faults["pragmas"]])
    if "copies" in faults:
        on_store(copying(*faults["copies"]))
    if "die_at_sql" in faults:
        on_store(dying_at_sql(faults["die_at_sql"]))
    if "file_size" in faults:
        resource.setrlimit(resource.RLIMIT_FSIZE, (faults["file_size"],) * 2)
    if "encoding" in faults:
        sys.stdout.reconfigure(encoding=faults["encoding"])
    if "unprivileged" in faults and os.getuid() == 0:
        drop_capabilities()
    if "die" in faults or "calls" in faults:
        steps.append(counting_calls(faults.get("die"), faults.get("calls")))
    try:
        if "impatient" in faults:
            sys.argv[1:] = command
            console()
        return main(command)
    finally:
        step("end")


def fork(request: dict[str, Any]) -> int:
    """A process that runs a command, with its output in a file."""
    if pid := os.fork():
        return pid
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and what nohup has started, this one
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for stream, file in ((0, nothing), (1, log), (2, log)):
        os.dup2(file, stream)
    try:
        code = work(request["start"], request["faults"])
    except Exception:
        traceback.print_exc()
        code = DEFECT
    for thread in threading.enumerate():  # as the interpreter does at its end
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    sys.stdout.flush()
    os._exit(code)  # to take down all modules would be most of the work


def status(pid: int, options: int) -> int | None:
    """How a process has ended; ``None`` if it has not."""
    ended, status = os.waitpid(pid, options)
    return os.waitstatus_to_exitcode(status) if ended else None


def answer(request: dict[str, Any]) -> int | None:
    """Do what one line asks for."""
    if "start" in request:
        return fork(request)
    if "wait" in request:
        return status(request["wait"], 0)
    return status(request["poll"], os.WNOHANG)


def warm_up() -> None:
    """Import what a first run imports on its way, so that no process has to."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        PIL.Image.new("RGB", (16, 16)).save(f"{folder}/a.png")
        command = ["label", f"{folder}/a.png", "--out", f"{folder}/out", "--ontology", "shapes"]
        command += ["--format", "yolo", "--format", "hf", "--set", "runtime.batch_size=1"]
        assert work(command, {}) == 0
    assert "torch" not in sys.modules, "no process here needs it, and it is large"


if __name__ == "__main__":
    warm_up()
    gc.freeze()  # what is never looked at is never copied
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
