"""Entry point of the command line: errors and warnings become single lines, errors an exit code.

0: success. 1: the run failed. 2: wrong usage (an option, a path that does not exist, a
configuration, an ontology or a caption). 130: stopped with Ctrl-C. An error that is not one of the
package's own is a defect, and shows its traceback.
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
from typing import Any, NoReturn, TextIO, cast

import typer
from typer.main import get_command

from grounded_sam2.cli.commands import app
from grounded_sam2.errors import ConfigError, GroundedSAM2Error, OntologyError, PromptError

__all__ = ["console", "main"]

_INTERRUPTED = 130

_USAGE_ERRORS = (ConfigError, OntologyError, PromptError)

_RETRY = "run the same command again"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SQLITE_NO_SPACE = ("is full", "disk I/O error")
"""The second is SQLite's message when the shared-memory file of its log cannot grow."""

# Click's own class, which typer imports or vendors, depending on its version.
_UsageError = cast(Any, typer.BadParameter.__base__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the arguments after the program's name; those of the process if ``None``.
            Without any, the help is shown.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack letters that names use
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with (
            _short_warnings(),
            get_command(app).make_context("grounded-sam2", given) as context,
        ):
            context.command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except _UsageError as error:
        path = error.ctx.command_path if error.ctx else "grounded-sam2"
        return _fail(f"{error.format_message().rstrip('.')}. See '{path} --help'.", 2)
    except GroundedSAM2Error as error:
        return _fail(_with_repair(error), 2 if isinstance(error, _USAGE_ERRORS) else 1)
    except BrokenPipeError:  # the reader, such as `| head`, closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(_with_repair(error), 1)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "stopped", _INTERRUPTED)
    return 0


def console() -> NoReturn:
    """Run the command line and exit the process: the installed command.

    After Ctrl-C the process exits at once. Python itself would first join its threads, among them
    the models' thread, whose batch may take a minute; the store is consistent without that.
    """
    code = main()
    if code == _INTERRUPTED:
        from multiprocessing import active_children

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C changes nothing
        for child in active_children():  # they would block on their queues
            child.terminate()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # the reader may be gone
                stream.flush()
        os._exit(code)
    sys.exit(code)


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Print each warning of this package once, as one line; drop those of Pillow.

    Pillow warns of odd metadata with two lines per file; the image is read or fails anyway. Users
    who choose warnings themselves (``python -W``) get what they chose.
    """
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.filterwarnings("ignore", module=r"PIL\.")
            warnings.filterwarnings("always", category=FutureWarning, module=r"grounded_sam2\.")
            show_other = warnings.showwarning
            shown: set[str] = set()

            def show(
                message: Warning | str,
                category: type[Warning],
                filename: str,
                lineno: int,
                file: TextIO | None = None,
                line: str | None = None,
            ) -> None:
                if not (issubclass(category, FutureWarning) and _is_of_package(filename)):
                    show_other(message, category, filename, lineno, file, line)
                elif (text := str(message)) not in shown:
                    shown.add(text)
                    _print_error(text)

            warnings.showwarning = show
        yield


def _is_of_package(filename: str) -> bool:
    from pathlib import Path

    return Path(filename).is_relative_to(Path(__file__).parents[1])


def _with_repair(error: Exception) -> str:
    """The message of an error; where a disk is full, also that the same command continues."""
    message = str(error)
    if _is_disk_full(error) and _RETRY not in message:
        message += f"; free space and {_RETRY}: nothing that was labeled is lost"
    return message


def _is_disk_full(error: BaseException | None) -> bool:
    import sqlite3

    if isinstance(error, sqlite3.OperationalError):
        return any(words in str(error) for words in _SQLITE_NO_SPACE)
    full = isinstance(error, OSError) and error.errno in _NO_SPACE
    return full or (error is not None and _is_disk_full(error.__cause__))


def _fail(message: str, code: int) -> int:
    _print_error(message)
    return code


def _print_error(message: str) -> None:
    print(f"grounded-sam2: {' '.join(message.split())}", file=sys.stderr)
