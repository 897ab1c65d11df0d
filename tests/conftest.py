"""Fixtures that need the embedded models, and the command line as a function."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import grounded_sam2

WEIGHTS = Path(grounded_sam2.__file__).parent / "demo" / "weights"


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Ctrl-C arrives in every test: a job in the background is started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs the command line in this process: ``cli("label", folder, "--out", out)``."""
    from grounded_sam2.cli import main

    def run(*arguments: object) -> Ran:
        code = main([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def demo_weights() -> Path:
    """The folder of the embedded models. A package without them is broken, so it is no skip."""
    missing = [
        str(path)
        for path in (WEIGHTS / "detector", WEIGHTS / "segmenter")
        if not (path / "model.safetensors").is_file()
    ]
    assert not missing, f"the package lacks its embedded models: {', '.join(missing)}"
    return WEIGHTS
