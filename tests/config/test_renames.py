"""Renamed configuration keys: files and stores of earlier versions are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from grounded_sam2 import Config, load_config
from grounded_sam2.config.renames import RENAMED_KEYS, with_current_keys, with_stored_keys
from grounded_sam2.errors import ConfigError


def all_keys() -> set[str]:
    sections = Config().to_dict().items()
    return {f"{section}.{key}" for section, values in sections for key in values}


def test_every_renamed_key_maps_to_a_current_key() -> None:
    assert set(RENAMED_KEYS.values()) <= all_keys()
    assert not set(RENAMED_KEYS) & all_keys()


@pytest.mark.parametrize(("earlier", "current"), RENAMED_KEYS.items())
def test_a_file_with_the_earlier_name_is_read_with_a_warning(
    tmp_path: Path, earlier: str, current: str
) -> None:
    section, key = current.split(".")
    value = Config().to_dict()[section][key]
    (tmp_path / "my.yaml").write_text(f"{section}:\n  {earlier.split('.')[1]}: {value}\n")
    with pytest.warns(FutureWarning, match=f"'{earlier}' is now '{current}'"):
        assert load_config(tmp_path / "my.yaml") == load_config("default")


def test_an_option_with_the_earlier_name_is_set_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="is now 'tracking.reid_distance'"):
        config = Config().with_options({"tracking.revive_distance": 3.0})
    assert config.tracking.reid_distance == 3.0


def test_an_earlier_and_a_current_name_together_are_an_error() -> None:
    values = {"tracking": {"min_likeness": 0.1, "min_similarity": 0.2}}
    with (
        pytest.warns(FutureWarning),
        pytest.raises(ConfigError, match=r"keep tracking\.min_similarity"),
    ):
        load_config(values)


def test_nested_json_is_renamed_within_its_section_only() -> None:
    stored = {"config": {"tracking": {"sure_confidence": 0.5}, "other": {"sure_confidence": 1}}}
    current = {"config": {"tracking": {"high_confidence": 0.5}, "other": {"sure_confidence": 1}}}
    assert with_current_keys(stored) == current
    assert with_stored_keys(current) == stored
