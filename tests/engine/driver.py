"""Fault injection: runs the command line on fake models in processes that fail as requested.

``python driver.py`` imports the package once, prints ``"ready"``, and then forks a process for each
command, so that a process to be killed has no start-up time. Each request is a line of JSON, and so
is its reply:

    {"start": ["label", "images", …], "log": "FILE", "faults": {…}}  →  123, the process id
    {"poll": 123}  →  null while it runs, then its exit code; negative if a signal ended it
    {"wait": 123}  →  its exit code, once it has ended

A process id is not reused before the exit code was returned.

Faults are given by name. Steps of a process are the images that its detector receives (``image``)
and its operations on files (``file``):

- ``trace``: a file to append one byte per step to, ``i`` or ``f``.
- ``gate``: ``[step, n, pipe]``: at the n-th such step, or at the end if there are fewer, the
  process waits until the pipe is opened for writing and closed.
- ``signal``: ``[n, numbers]``: at its n-th image, the process sends itself these signals.
- ``impatient``: at its n-th image, the process sends itself Ctrl-C, and again once it has handled
  the first; its models never return. It is run, and ended, as the installed command is.
- ``on_open``: ``[pattern, n, command]``: a shell command to run just before a file whose path
  matches is opened for the n-th time.
- ``die``: the process kills itself at this function call, counted over all its threads.
- ``calls``: a file to write three counts of function calls to: before the first image, before the
  last one, and in total.
- ``pragmas``: SQL to execute on every connection to the label store.
- ``copies``: ``[n, folder]``: before every n-th SQL statement on a label store, its files are
  copied to a new subfolder.
- ``die_at_sql``: the process kills itself just before this SQL statement on a label store.
- ``file_size``: the largest allowed size of a file in bytes.
- ``encoding``: encoding of its output.
- ``unprivileged``: respect file permissions, also as root.
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
    """A detector whose confidences depend on the boxes; reports each image as a step."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def detect(self, images: Sequence[Any], captions: Sequence[Any]) -> list[DetectedBoxes]:
        for _ in images:
            self.step("image")
        return [
            DetectedBoxes(
                detected.boxes_xyxy,
                detected.captions,
                (0.3 + detected.boxes_xyxy.sum(axis=1) * 0.0137 % 0.7).astype(np.float32),
            )
            for detected in super().detect(images, captions)
        ]


def record_steps(path: str) -> Step:
    """Append each step to a file."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    return lambda step: os.write(file, step[:1].encode()) and None


def wait_at_step(at: str, number: int, pipe: str) -> Step:
    """Wait at the n-th step of a kind, or at the end, until the pipe is opened and closed."""
    countdown = itertools.count(number, -1)
    passed = threading.Lock()

    def count(step: str) -> None:
        at_gate = (step == at and next(countdown) == 1) or step == "end"
        if at_gate and passed.acquire(blocking=False):
            file = os.open(pipe, os.O_RDONLY)
            os.read(file, 1)
            os.close(file)

    return count


def send_signals(number: int, signals: Sequence[int]) -> Step:
    """Send signals to this process at its n-th image."""
    countdown = itertools.count(number, -1)

    def count(step: str) -> None:
        if step == "image" and next(countdown) == 1:
            for each in signals:
                os.kill(os.getpid(), each)

    return count


def interrupt_twice(number: int) -> Step:
    """Send Ctrl-C at the n-th image, and again once the first was handled; then block."""
    countdown = itertools.count(number, -1)

    def count(step: str) -> None:
        if step == "image" and next(countdown) == 1:
            os.kill(os.getpid(), signal.SIGINT)
            while signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
                os.sched_yield()
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait()

    return count


def count_calls(die: int | None, report: str | None) -> Step:
    """Count calls of Python and C functions, in this thread and those started later."""
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
        matches = opened and fnmatchcase(os.fsdecode(arguments[0]), pattern)
        if matches and next(countdown) == 1:
            subprocess.run(command, shell=True, check=True)

    sys.addaudithook(audit)


def on_store_connection(prepare: Callable[[sqlite3.Connection], object]) -> None:
    """Call a function with every new connection to a label store."""
    connect = sqlite3.connect

    def connected(database: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(database, *arguments, **options)
        if "labels.db" in str(database):
            prepare(connection)
        return connection

    sqlite3.connect = connected


def die_at_statement(number: int) -> Callable[[sqlite3.Connection], None]:
    """Kill this process just before the n-th statement."""
    countdown = itertools.count(number, -1)

    def traced(statement: str) -> None:
        if next(countdown) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda connection: connection.set_trace_callback(traced)


def copy_store(every: int, folder: str) -> Callable[[sqlite3.Connection], None]:
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


def drop_root_capabilities() -> None:
    """Drop the capabilities that let root ignore file permissions."""
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
        steps.append(record_steps(faults["trace"]))
    if "gate" in faults:
        steps.append(wait_at_step(*faults["gate"]))
    if "signal" in faults:
        steps.append(send_signals(*faults["signal"]))
    if "impatient" in faults:
        steps.append(interrupt_twice(faults["impatient"]))
    if "trace" in faults or "gate" in faults:
        sys.addaudithook(lambda event, _: step("file") if event.startswith(FILE_EVENTS) else None)
    if "on_open" in faults:
        run_before_opening(*faults["on_open"])
    if "pragmas" in faults:
        on_store_connection(
            lambda connection: [connection.execute(sql) for sql in faults["pragmas"]]
        )
    if "copies" in faults:
        on_store_connection(copy_store(*faults["copies"]))
    if "die_at_sql" in faults:
        on_store_connection(die_at_statement(faults["die_at_sql"]))
    if "file_size" in faults:
        resource.setrlimit(resource.RLIMIT_FSIZE, (faults["file_size"],) * 2)
    if "encoding" in faults:
        sys.stdout.reconfigure(encoding=faults["encoding"])
    if "unprivileged" in faults and os.getuid() == 0:
        drop_root_capabilities()
    if "die" in faults or "calls" in faults:
        steps.append(count_calls(faults.get("die"), faults.get("calls")))
    try:
        if "impatient" in faults:
            sys.argv[1:] = command
            console()
        return main(command)
    finally:
        step("end")


def fork(request: dict[str, Any]) -> int:
    """Run a command in a forked process, with its output in a file; returns the process id."""
    if pid := os.fork():
        return pid
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and processes started by nohup, this one
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for stream, file in ((0, nothing), (1, log), (2, log)):
        os.dup2(file, stream)
    try:
        code = work(request["start"], request["faults"])
    except Exception:
        traceback.print_exc()
        code = DEFECT
    for thread in threading.enumerate():  # as the interpreter does at exit
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    sys.stdout.flush()
    os._exit(code)  # tearing down all modules would take most of the time


def status(pid: int, options: int) -> int | None:
    """Exit code of a process; ``None`` if it has not ended."""
    ended, status = os.waitpid(pid, options)
    return os.waitstatus_to_exitcode(status) if ended else None


def respond(request: dict[str, Any]) -> int | None:
    """Process one request, and return its reply."""
    if "start" in request:
        return fork(request)
    if "wait" in request:
        return status(request["wait"], 0)
    return status(request["poll"], os.WNOHANG)


def warm_up() -> None:
    """Import all that a run imports lazily, so that no forked process has to."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        PIL.Image.new("RGB", (16, 16)).save(f"{folder}/a.png")
        command = ["label", f"{folder}/a.png", "--out", f"{folder}/out", "--ontology", "shapes"]
        command += ["--format", "yolo", "--format", "hf", "--set", "runtime.batch_size=1"]
        assert work(command, {}) == 0
    assert "torch" not in sys.modules, "no process needs it, and it is large"


if __name__ == "__main__":
    warm_up()
    gc.freeze()  # pages that the collector does not touch are shared by all processes
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(respond(json.loads(line))), flush=True)
