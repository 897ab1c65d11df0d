"""Location of the shipped YAML files, in an installed package and in a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from grounded_sam2.config.yaml_files import find_yaml, shipped_folder, shipped_names
from grounded_sam2.errors import ConfigError


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An empty package folder."""
    folder = tmp_path / "site" / "grounded_sam2"
    folder.mkdir(parents=True)
    return folder


def test_in_a_checkout_they_are_beside_the_package(package: Path) -> None:
    (package.parent / "configs").mkdir()
    (package.parent / "configs" / "mine.yaml").touch()
    assert shipped_folder("config", package) == package.parent / "configs"
    assert shipped_names("config", package) == ("mine",)


def test_in_an_installed_package_they_are_inside_it(package: Path) -> None:
    (package.parent / "configs").mkdir()  # of another package
    (package / "configs").mkdir()
    (package / "configs" / "ours.yaml").touch()
    assert shipped_names("config", package) == ("ours",)


def test_a_path_object_is_never_a_shipped_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="'demo' does not exist"):
        find_yaml(Path("demo"), kind="config")
    Path("demo").touch()
    assert find_yaml(Path("demo"), kind="config") == Path("demo")
    assert find_yaml("./demo", kind="config") == Path("demo")
    assert find_yaml("demo", kind="config") == shipped_folder("config") / "demo.yaml"
