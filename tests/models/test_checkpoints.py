"""Names, cache, network and damage of checkpoints, and what their errors tell the user."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants, errors
from safetensors.torch import load_file, save_file
from transformers import Sam2ImageProcessor, Sam2Model, Sam2VideoModel

from grounded_sam2.errors import CheckpointError
from grounded_sam2.models.checkpoints import (
    load_pretrained,
    load_processor,
    locate_checkpoint,
    read_model_type,
    resolve_checkpoint,
)
from grounded_sam2.models.florence2.model_type import FLORENCE2
from grounded_sam2.models.sam2.model_type import SAM2

HUB_ID = "somebody/something"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub that cannot be reached; the list of requested addresses."""
    requested: list[str] = []

    def fail(url: str, **_: Any) -> None:
        requested.append(url)
        raise ConnectionError("Name or service\nnot known")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", fail)
    return requested


@pytest.fixture
def folder(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a valid checkpoint, to be damaged."""
    return Path(shutil.copytree(checkpoints["sam2"], tmp_path / "checkpoint"))


def put_in_cache(cache: Path, source: Path) -> Path:
    repository = cache / "models--somebody--something"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    return Path(shutil.copytree(source, repository / "snapshots" / ("0" * 40)))


# --- names


@pytest.mark.parametrize(
    ("name", "hub_id"),
    [
        ("tiny", "facebook/sam2.1-hiera-tiny"),
        ("small", "facebook/sam2.1-hiera-small"),
        ("base-plus", "facebook/sam2.1-hiera-base-plus"),
        ("large", "facebook/sam2.1-hiera-large"),
        ("sam2-tiny", "facebook/sam2-hiera-tiny"),
        ("sam2-base-plus", "facebook/sam2-hiera-base-plus"),
        ("edgetam", "yonigozlan/EdgeTAM-hf"),
        ("someone/my.model_2-hf", "someone/my.model_2-hf"),
    ],
)
def test_segmenter_names(name: str, hub_id: str) -> None:
    assert resolve_checkpoint(name, SAM2) == hub_id


def test_short_names_belong_to_a_type() -> None:
    assert resolve_checkpoint("large", FLORENCE2) == "florence-community/Florence-2-large"
    with pytest.raises(CheckpointError, match=r"'tiny' is neither a folder .* nor a hub id"):
        resolve_checkpoint("tiny", FLORENCE2)


def test_demo_is_inside_the_package() -> None:
    for role, model_type in (("detector", FLORENCE2), ("segmenter", SAM2)):
        assert Path(resolve_checkpoint("demo", model_type)).parts[-4:] == (
            "grounded_sam2",
            "demo",
            "weights",
            role,
        )


def test_a_short_name_wins_over_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert resolve_checkpoint("tiny", SAM2) == "facebook/sam2.1-hiera-tiny"
    assert resolve_checkpoint("./tiny", SAM2) == "tiny"


@pytest.mark.parametrize(
    "name", ["", "no-such-name", "/no/such/folder", "a/b/c", "../x/y", "a b/c"]
)
def test_invalid_names(name: str) -> None:
    with pytest.raises(CheckpointError, match="neither a folder"):
        resolve_checkpoint(name, SAM2)


# --- locating


def test_a_local_folder_is_used_as_it_is(folder: Path, no_network: list[str]) -> None:
    assert locate_checkpoint(folder, SAM2) == folder
    assert locate_checkpoint(str(folder), SAM2) == folder
    assert not no_network


def test_a_cached_checkpoint_is_used_without_asking_the_network(
    cache: Path, checkpoints: dict[str, Path], no_network: list[str]
) -> None:
    snapshot = put_in_cache(cache, checkpoints["sam2"])
    assert locate_checkpoint(HUB_ID, SAM2) == snapshot
    assert not no_network


@pytest.mark.usefixtures("cache")
def test_without_network_one_probe_and_one_line(no_network: list[str]) -> None:
    with pytest.raises(CheckpointError) as caught:
        locate_checkpoint("tiny", SAM2)
    assert len(no_network) == 1
    assert str(caught.value) == (
        "checkpoint 'tiny' (facebook/sam2.1-hiera-tiny) is not in the local cache, and the hub "
        "cannot be reached (ConnectionError: Name or service not known); fetch it where there is a "
        "network with `hf download facebook/sam2.1-hiera-tiny`, or set segmenter.checkpoint to a "
        "folder that save_pretrained or `hf download` made, or use the embedded models with "
        "`--config demo`"
    )


@pytest.mark.usefixtures("cache")
def test_local_files_only_never_asks(no_network: list[str]) -> None:
    with pytest.raises(CheckpointError, match=r"runtime\.local_files_only forbids"):
        locate_checkpoint(HUB_ID, SAM2, local_files_only=True)
    assert not no_network


def test_an_incomplete_cached_checkpoint_is_fetched_again(
    cache: Path, checkpoints: dict[str, Path], no_network: list[str]
) -> None:
    (put_in_cache(cache, checkpoints["sam2"]) / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be reached"):
        locate_checkpoint(HUB_ID, SAM2)
    assert len(no_network) == 1


@pytest.mark.usefixtures("cache")
def test_only_data_files_are_fetched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(hub_id: str, *, allow_patterns: list[str], local_files_only: bool = False) -> str:
        if local_files_only:
            raise errors.LocalEntryNotFoundError("not cached")
        assert hub_id == HUB_ID
        assert not any(pattern.endswith(("py", "bin", "pt", "*")) for pattern in allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda url, timeout: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert locate_checkpoint(HUB_ID, SAM2) == folder


@pytest.mark.usefixtures("cache")
def test_the_error_names_offline_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, **_: Any) -> None:
        raise errors.OfflineModeIsEnabled("offline")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE forbids"):
        locate_checkpoint(HUB_ID, SAM2)


# --- damaged checkpoints


def test_a_missing_config_is_an_error(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        locate_checkpoint(folder, SAM2)


def test_missing_weights_files_are_an_error(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        locate_checkpoint(folder, SAM2)


def test_pickles_are_an_error(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"only as a pickle \(pytorch_model\.bin\)"):
        load_pretrained(Sam2Model, folder, model_type=SAM2)


def test_missing_shards_are_an_error(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-1-of-2.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"lacks 1 of its files.*model-2-of-2"):
        locate_checkpoint(folder, SAM2)


def test_a_damaged_index_is_an_error(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"damaged model\.safetensors\.index\.json"):
        locate_checkpoint(folder, SAM2)


def test_missing_embedded_weights_are_repaired_by_reinstalling(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'demo'.*reinstall the package") as caught:
        locate_checkpoint("demo", replace(SAM2, embedded=tmp_path))
    assert "--config demo" not in str(caught.value)


# --- loading


def test_a_loaded_model_is_ready_for_inference(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = load_pretrained(Sam2Model, folder, model_type=SAM2, dtype=torch.bfloat16)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.dtype == torch.bfloat16
    assert capfd.readouterr() == ("", "")


def test_weights_that_the_model_does_not_use_are_ignored(
    checkpoints: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    load_pretrained(Sam2Model, checkpoints["sam2_video"], model_type=SAM2)
    assert capfd.readouterr() == ("", "")


def test_missing_weights_of_the_model_are_an_error(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks \d+ of the weights of Sam2VideoModel, first"):
        load_pretrained(Sam2VideoModel, folder, model_type=SAM2)


def test_weights_of_another_shape_are_an_error(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["no_memory_embedding"] = torch.zeros(1, 1, 7)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
        load_pretrained(Sam2Model, folder, model_type=SAM2)
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_an_error(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(CheckpointError, match=r"cannot be loaded \(.*; set segmenter.checkpoint"):
        load_pretrained(Sam2Model, folder, model_type=SAM2)


def test_processors(folder: Path) -> None:
    processor = load_processor(Sam2ImageProcessor, folder, model_type=SAM2)
    assert processor.size["height"] == 64
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_processor(Sam2ImageProcessor, folder, model_type=SAM2)


def test_model_type(folder: Path) -> None:
    assert read_model_type(folder) == "sam2"
    (folder / "config.json").write_text("{}")
    assert read_model_type(folder) == ""
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        read_model_type(folder)
