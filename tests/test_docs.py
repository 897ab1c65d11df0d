"""README and documentation: commands parse, code runs, links and paths exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import yaml
from typer.main import get_command

from grounded_sam2.cli.commands import app
from grounded_sam2.config import load_config
from grounded_sam2.config.yaml_files import shipped_names
from grounded_sam2.exporters import EXPORTERS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
README = TEXTS[PAGES[0]]
GROUP: Any = get_command(app)


def blocks(language: str, pages: Sequence[Path] = PAGES) -> list[str]:
    """The fenced blocks of a language, on all pages if none are named."""
    fence = re.compile(rf"^```{language}\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
    return [block for page in pages for block in fence.findall(TEXTS[page])]


def commands() -> list[str]:
    """Every call of the command line, also after ``&&``."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return list(dict.fromkeys(part for part in parts if part.startswith("grounded-sam2 ")))


def options(command: str) -> list[str]:
    found = []
    for parameter in GROUP.commands[command].params:
        if parameter.param_type_name == "option":
            found += [*parameter.opts, *parameter.secondary_opts]
    return found


@pytest.fixture
def working_folder(demo_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the images and the video that the pages use."""
    from grounded_sam2.demo.clips import make_clip
    from grounded_sam2.demo.scenes import make_scenes
    from grounded_sam2.visualization.video_encoder import VideoEncoder

    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for index, scene in enumerate(make_scenes(3, seed=11)):
        PIL.Image.fromarray(scene.image).save(f"images/{index}.png")
    PIL.Image.fromarray(scene.image).save("scene.png")
    clip = make_clip(11, frames=50)
    with VideoEncoder("clip.mp4", size_hw=clip.size_hw) as video:
        for frame in clip:
            video.write(frame.image)
    return tmp_path


PATH = re.compile(r"`((?:[a-z0-9_]+/)*[a-z0-9_]+(?:\.py|/))`")


class TestCommands:
    @pytest.mark.parametrize("command", commands())
    def test_every_documented_command_is_accepted(
        self, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for folder in ("images", "labeled", "tracked"):
            Path(folder).mkdir()
        _, name, *arguments = shlex.split(command)
        GROUP.commands[name].make_context(name, arguments)

    def test_every_command_has_an_example(self) -> None:
        assert {shlex.split(command)[1] for command in commands()} == set(GROUP.commands)

    @pytest.mark.parametrize("command", sorted(GROUP.commands))
    def test_the_table_of_commands_lists_every_option(self, command: str) -> None:
        (row,) = [line for line in README.splitlines() if line.startswith(f"| `{command}` |")]
        missing = [option for option in options(command) if f"`{option}`" not in row]
        assert not missing

    def test_the_table_of_commands_lists_no_unknown_option(self) -> None:
        for command in GROUP.commands:
            (row,) = [line for line in README.splitlines() if line.startswith(f"| `{command}` |")]
            assert set(re.findall(r"`(--[a-z-]+)`", row)) == set(options(command))


class TestReferences:
    @pytest.mark.parametrize("name", shipped_names("config"))
    def test_every_shipped_configuration_is_linked(self, name: str) -> None:
        assert f"[`{name}`](configs/{name}.yaml)" in README

    @pytest.mark.parametrize("name", shipped_names("ontology"))
    def test_every_shipped_ontology_is_linked(self, name: str) -> None:
        assert f"(ontologies/{name}.yaml)" in README

    @pytest.mark.parametrize("name", EXPORTERS)
    def test_every_export_format_is_documented(self, name: str) -> None:
        assert f"\n| `{name}` | " in TEXTS[ROOT / "docs" / "formats.md"]
        assert f"`{name}`" in README

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
    def test_links_lead_to_existing_files(self, page: Path) -> None:
        targets = re.findall(r"\]\((?!http)([^)#]+)\)", TEXTS[page])
        assert [target for target in targets if not (page.parent / target).exists()] == []

    def test_every_page_is_linked_from_the_readme(self) -> None:
        assert all(f"(docs/{page.name})" in README for page in PAGES[1:])

    @pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
    def test_every_documented_path_exists(self, page: str) -> None:
        paths = PATH.findall((ROOT / page).read_text(encoding="utf-8"))
        assert len(paths) > 10
        package = ROOT / "grounded_sam2"
        roots = (ROOT, package, package / "exporters", package / "exporters" / "formats")
        assert [path for path in paths if not any((root / path).exists() for root in roots)] == []

    def test_the_architecture_page_lists_every_subpackage_and_module(self) -> None:
        package = ROOT / "grounded_sam2"
        subpackages = {
            path.name + "/" for path in package.iterdir() if (path / "__init__.py").is_file()
        }
        modules = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
        text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
        assert [name for name in subpackages | modules if f"\n| `{name}` |" not in text] == []


class TestCode:
    def test_the_example_configuration_is_valid(self) -> None:
        (example,) = blocks("yaml")
        config = load_config(yaml.safe_load(example))
        assert config.cleanup.across_classes

    @pytest.mark.slow
    def test_the_python_code_of_the_readme_runs(
        self, working_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names: dict[str, Any] = {}
        for block in blocks("python", [PAGES[0]]):
            exec(compile(block, "README.md", "exec"), names)
        assert names["annotated"].shape[2] == 3
        assert (working_folder / "labeled" / "yolo" / "data.yaml").is_file()
        assert len(capsys.readouterr().out.splitlines()) == 50

    @pytest.mark.slow
    @pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
    def test_the_python_code_of_the_other_pages_runs(
        self, page: Path, working_folder: Path
    ) -> None:
        for block in blocks("python", [page]):
            exec(compile(block, page.name, "exec"), {})


class TestContinuousIntegration:
    @pytest.mark.parametrize(
        ("mark", "command"),
        [
            ("demo", "pip install -e . && grounded-sam2 demo --out demo"),
            ("tests", 'pip install -e ".[test]" && pytest -n auto'),
        ],
    )
    def test_the_readme_marks_the_commands_that_continuous_integration_runs(
        self, mark: str, command: str
    ) -> None:
        assert README.count(f"<!-- ci: {mark} -->\n```bash\n{command}\n```\n") == 1

    def test_the_script_of_continuous_integration_is_executable_and_valid_bash(self) -> None:
        script = ROOT / ".ci" / "run"
        assert script.stat().st_mode & 0o111
        subprocess.run(["bash", "-n", script], check=True)
