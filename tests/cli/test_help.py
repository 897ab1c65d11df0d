"""Help and version of every command."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures.command_line import is_one_line
from typer.main import get_command

from grounded_sam2.cli.commands import app
from grounded_sam2.config.yaml_files import shipped_names
from grounded_sam2.exporters import EXPORTERS

Cli = Callable[..., Any]
GROUP: Any = get_command(app)
COMMANDS = sorted(GROUP.commands)


def examples(command: str) -> list[str]:
    """The example lines in a command's help, without their line breaks."""
    text = GROUP.commands[command].help.replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip().startswith("grounded-sam2")]


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_has_examples_that_the_command_accepts(
        self, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for folder in ("images", "labeled"):
            Path(folder).mkdir()
        assert examples(command)
        for example in examples(command):
            _, name, *arguments = shlex.split(example)
            assert name == command
            GROUP.commands[command].make_context(name, arguments)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_explains_every_option(self, command: str) -> None:
        for parameter in GROUP.commands[command].params:
            assert len(getattr(parameter, "help", None) or "") > 8, parameter.name

    @pytest.mark.parametrize("command", COMMANDS)
    def test_describes_the_command_in_one_short_line(self, command: str, cli: Cli) -> None:
        first = GROUP.commands[command].help.splitlines()[0]
        assert first in cli("--help").out, "it is cut off in the list of commands"

    @pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
    def test_is_shown(self, command: list[str], cli: Cli) -> None:
        ran = cli(*command, "--help")
        assert ran.code == 0
        assert " ".join(["Usage: grounded-sam2", *command]) in ran.out

    def test_is_shown_without_arguments(self, cli: Cli) -> None:
        assert cli().out == cli("--help").out

    def test_lists_every_shipped_configuration_and_format(self, cli: Cli) -> None:
        texts = (cli(command, "--help").out for command in ("label", "export"))
        text = "".join(part for each in texts for part in each.split())  # a hyphen may end a line
        assert all(name in text for name in (*shipped_names("config"), *EXPORTERS))

    def test_loads_no_model_library(self) -> None:
        code = (
            "import sys; from grounded_sam2.cli import main; main(['label', '--help']); "
            "heavy = {'torch', 'transformers', 'supervision', 'cv2', 'numpy'} & set(sys.modules); "
            "sys.exit(f'loaded {heavy}' if heavy else 0)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)

    def test_version(self, cli: Cli) -> None:
        assert cli("--version").out.startswith("grounded-sam2 ")

    def test_the_package_runs_as_a_module(self, cli: Cli) -> None:
        module = [sys.executable, "-m", "grounded_sam2"]
        ran = subprocess.run([*module, "--version"], check=True, capture_output=True, text=True)
        assert ran.stdout == cli("--version").out
        wrong = subprocess.run([*module, "lable"], capture_output=True, text=True)
        assert wrong.returncode == 2
        assert is_one_line(wrong.stderr)
