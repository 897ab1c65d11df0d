"""Runs a command and turns whatever goes wrong into one line and an exit code.

0: done. 1: the run failed. 2: wrong use (an option, a path that leads nowhere, a configuration, an
ontology or a caption).
130: stopped with Ctrl-C. An error that is not one of the package's own is a defect, and shows its
traceback.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, cast

import typer
from typer.main import get_command

from grounded_sam2.cli.commands import app
from grounded_sam2.errors import ConfigError, GroundedSAM2Error, OntologyError, PromptError

__all__ = ["console", "main"]

_STOPPED = 130

_WRONG_USE = (ConfigError, OntologyError, PromptError)

_AGAIN = "run the same command again"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SQLITE_IS_FULL = ("is full", "disk I/O error")
"""The second is what it says when the file that its log shares in memory cannot grow."""

# Click's own class, which typer imports or carries with it, depending on its version.
_UsageError = cast(Any, typer.BadParameter.__base__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what stands after the program's name; those of the process if ``None``. Without
            any, the help is shown.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may know fewer letters than names do
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with (
            _without_advice_of_pillow(),
            get_command(app).make_context("grounded-sam2", given) as context,
        ):
            context.command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except _UsageError as error:
        path = error.ctx.command_path if error.ctx else "grounded-sam2"
        return _fail(f"{error.format_message().rstrip('.')}. See '{path} --help'.", 2)
    except GroundedSAM2Error as error:
        return _fail(_with_way_on(error), 2 if isinstance(error, _WRONG_USE) else 1)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(_with_way_on(error), 1)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "stopped", _STOPPED)
    return 0


def console() -> NoReturn:
    """Run the command line as a process of its own, and end it: the installed command.

    When stopped, it ends at once: Python itself would first wait for its threads, among them that
    of the models, whose batch may take a minute. What is in a store is whole without that.
    """
    code = main()
    if code == _STOPPED:
        from multiprocessing import active_children

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # who presses it once more has got it already
        for child in active_children():  # they would wait for work
            child.terminate()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # whoever was reading may be gone
                stream.flush()
        os._exit(code)
    sys.exit(code)


@contextmanager
def _without_advice_of_pillow() -> Iterator[None]:
    """Do not tell of odd metadata, two lines a file: the image itself is read or fails anyway."""
    with warnings.catch_warnings():
        if not sys.warnoptions:  # somebody who asks for warnings gets them
            warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _with_way_on(error: Exception) -> str:
    """The message, with what to do after it where a disk is full: a long run is not lost."""
    message = str(error)
    if _comes_of_a_full_disk(error) and _AGAIN not in message:
        message += f"; free space and {_AGAIN}: nothing that was labeled is lost"
    return message


def _comes_of_a_full_disk(error: BaseException | None) -> bool:
    import sqlite3

    if isinstance(error, sqlite3.OperationalError):
        return any(words in str(error) for words in _SQLITE_IS_FULL)
    full = isinstance(error, OSError) and error.errno in _NO_SPACE
    return full or (error is not None and _comes_of_a_full_disk(error.__cause__))


def _fail(message: str, code: int) -> int:
    print(f"grounded-sam2: {' '.join(message.split())}", file=sys.stderr)
    return code
