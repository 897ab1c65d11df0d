"""Locating and loading of checkpoints: short names, hub ids, local folders, the embedded models.

Weights are data, never code: only safetensors are read, and no code from a checkpoint runs. A
checkpoint on this machine is used without network access. One that is not is requested from the hub
once, with a short time-out, because the hub client's own retries take over 20 seconds to report
that there is no network. Every failure is one line that names the checkpoint and all repairs.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import huggingface_hub
import torch
from huggingface_hub import errors as hub_errors
from transformers.utils import logging as transformers_logging

from grounded_sam2.config.model_types import ENTRY_POINT_GROUPS, ModelType, known_model_types
from grounded_sam2.errors import CheckpointError, one_line

__all__ = [
    "check_checkpoint_type",
    "load_pretrained",
    "load_processor",
    "locate_checkpoint",
    "read_model_type",
    "resolve_checkpoint",
]

_Loaded = TypeVar("_Loaded")

_one_line = partial(one_line, with_type=True, max_length=200)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_HUB_FILES = ["*.json", "*.safetensors", "*.txt"]
_PROBE_SECONDS = 5.0
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def resolve_checkpoint(name: str | Path, model_type: ModelType) -> str:
    """Resolve the name of a checkpoint to a hub id or the path of an existing folder.

    Args:
        name: ``demo`` (the embedded model), a short name of the type, a folder, or a hub id. A
            folder with the name of a short name is given as ``./tiny``.
        model_type: what the checkpoint is for.

    Raises:
        CheckpointError: the name is none of these.
    """
    text = str(name)
    if text == "demo":
        if model_type.embedded is None:
            raise CheckpointError(
                f"checkpoint 'demo': {model_type.section}.type {model_type.name!r} has no embedded "
                f"model; set {model_type.section}.checkpoint to a folder or a hub id"
            )
        return str(model_type.embedded)
    if text in model_type.short_names:
        return model_type.short_names[text]
    folder = Path(name).expanduser()
    if text and folder.is_dir():
        return str(folder)
    if isinstance(name, str) and _HUB_ID.fullmatch(text):
        return text
    raise _error(text, text, model_type, "is neither a folder on this machine nor a hub id")


def locate_checkpoint(
    name: str | Path, model_type: ModelType, *, local_files_only: bool = False
) -> Path:
    """The folder on this machine with a checkpoint's files, fetched from the hub if necessary.

    Args:
        name: as for `resolve_checkpoint`.
        model_type: what the checkpoint is for.
        local_files_only: never use the network.

    Returns:
        A folder with ``config.json`` and all its ``.safetensors``.

    Raises:
        CheckpointError: it is not on this machine and cannot be fetched, or lacks files.
    """
    source = resolve_checkpoint(name, model_type)
    folder = Path(source)
    if str(name) == "demo" or folder.is_dir():
        if problem := _problem(folder):
            raise _error(str(name), source, model_type, problem)
        return folder
    cached = _cached(source)
    if cached is not None and _problem(cached) is None:
        return cached
    if local_files_only:
        reason = "is not in the local cache, and runtime.local_files_only forbids to fetch it"
        raise _error(str(name), source, model_type, reason)
    folder = _download(str(name), source, model_type)
    if problem := _problem(folder):
        raise _error(str(name), source, model_type, problem)
    return folder


def read_model_type(folder: Path) -> str:
    """The ``model_type`` in a checkpoint's ``config.json``; empty if it names none.

    Raises:
        CheckpointError: the file is missing or is not JSON.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {str(folder)!r}: config.json cannot be read: {_one_line(error)}"
        ) from error
    return str(config.get("model_type", "")) if isinstance(config, dict) else ""


def check_checkpoint_type(name: str | Path, folder: Path, model_type: ModelType) -> str:
    """The ``model_type`` in a checkpoint's ``config.json``, if the type of model can load it.

    Args:
        name: as in the configuration, for the message.
        folder: where the checkpoint is.
        model_type: what the checkpoint is for.

    Raises:
        CheckpointError: it is of another type; names the ``type`` to set, if one can load it.
    """
    found, accepted = read_model_type(folder), model_type.checkpoint_model_types
    if not accepted or found in accepted:
        return found
    section = model_type.section
    takers = [
        each
        for each in (*known_model_types("detector"), *known_model_types("segmenter"))
        if found and found in each.checkpoint_model_types
    ]
    if takers:
        repair = f"set {takers[0].section}.type: {takers[0].name} and its checkpoint"
    else:
        examples = [*model_type.short_names, *(["demo"] if model_type.embedded else [])]
        repair = f"choose a checkpoint of {' or '.join(accepted)}"
        if examples:
            repair += f", such as {examples[0]!r}"
        repair += f", or install a package whose {ENTRY_POINT_GROUPS[section]} can load it"
    raise CheckpointError(
        f"checkpoint {str(name)!r} is of type {found!r}, which {section}.type "
        f"{model_type.name!r} cannot load; {repair}"
    )


def load_pretrained(
    cls: type[_Loaded],
    name: str | Path,
    *,
    model_type: ModelType,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    local_files_only: bool = False,
) -> _Loaded:
    """Load a model for inference: in evaluation mode, without gradients, on its device.

    Args:
        cls: a ``transformers`` model class.
        name: as for `resolve_checkpoint`.
        model_type: what the checkpoint is for.
        dtype: number format of the weights.
        device: where to put them.
        local_files_only: never use the network.

    Raises:
        CheckpointError: as `locate_checkpoint` and `check_checkpoint_type`; or the files are
            damaged, or some of the model's weights are missing or have another shape. Weights that
            the model does not use are ignored.
    """
    folder = locate_checkpoint(name, model_type, local_files_only=local_files_only)
    check_checkpoint_type(name, folder, model_type)
    with _one_line_errors(name, model_type), _quiet():
        model, report = cast(Any, cls).from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    if missing := sorted(report["missing_keys"]):
        raise _error(
            str(name),
            resolve_checkpoint(name, model_type),
            model_type,
            f"lacks {len(missing)} of the weights of {cls.__name__}, first {missing[0]!r}",
        )
    loaded: _Loaded = model.eval().requires_grad_(False).to(device)
    return loaded


def load_processor(
    cls: type[_Loaded], name: str | Path, *, model_type: ModelType, local_files_only: bool = False
) -> _Loaded:
    """Load the processor of a checkpoint.

    Args:
        cls: a ``transformers`` processor, image processor or tokenizer class.
        name: as for `resolve_checkpoint`.
        model_type: what the checkpoint is for.
        local_files_only: never use the network.

    Raises:
        CheckpointError: as `locate_checkpoint`; or the processor's files are missing or damaged.
    """
    folder = locate_checkpoint(name, model_type, local_files_only=local_files_only)
    with _one_line_errors(name, model_type), _quiet():
        processor: _Loaded = cast(Any, cls).from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    return processor


def _problem(folder: Path) -> str | None:
    """Why a folder cannot be loaded as a checkpoint; ``None`` if it can."""
    if not (folder / "config.json").is_file():
        return f"has no config.json in {str(folder)!r}"
    if (folder / "model.safetensors").is_file():
        return None
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return f"has a damaged {index.name}: {_one_line(error)}"
        absent = sorted(part for part in parts if not (folder / part).is_file())
        return f"lacks {len(absent)} of its files, first {absent[0]!r}" if absent else None
    pickles = [path.name for pattern in _PICKLES for path in folder.glob(pattern)]
    if pickles:
        return (
            f"has its weights only as a pickle ({pickles[0]}), which can run code; "
            "convert it to safetensors with save_pretrained"
        )
    return "has no model.safetensors"


def _cached(hub_id: str) -> Path | None:
    """The checkpoint's folder in the hub client's cache, possibly incomplete."""
    try:
        return Path(
            huggingface_hub.snapshot_download(
                hub_id, allow_patterns=_HUB_FILES, local_files_only=True
            )
        )
    except hub_errors.LocalEntryNotFoundError as error:
        # A snapshot with only some of the repository's files may contain all that are needed.
        incomplete = getattr(error, "snapshot_path", None)
        return None if incomplete is None else Path(incomplete)


def _download(name: str, hub_id: str, model_type: ModelType) -> Path:
    url = huggingface_hub.hf_hub_url(hub_id, "config.json")
    try:
        huggingface_hub.get_hf_file_metadata(url, timeout=_PROBE_SECONDS)
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=_HUB_FILES))
    except hub_errors.OfflineModeIsEnabled as error:
        reason = "is not in the local cache, and HF_HUB_OFFLINE forbids to fetch it"
        raise _error(name, hub_id, model_type, reason) from error
    except hub_errors.GatedRepoError as error:
        reason = "must be agreed to on its hub page first, and needs `hf auth login`"
        raise _error(name, hub_id, model_type, reason) from error
    except hub_errors.RepositoryNotFoundError as error:
        raise _error(name, hub_id, model_type, "is not on the hub, or is private") from error
    except hub_errors.RemoteEntryNotFoundError as error:
        raise _error(name, hub_id, model_type, "has no config.json on the hub") from error
    except Exception as error:  # the hub client's transport changes between versions
        reason = f"is not in the local cache, and the hub cannot be reached ({_one_line(error)})"
        raise _error(name, hub_id, model_type, reason) from error


@contextmanager
def _one_line_errors(name: str | Path, model_type: ModelType) -> Iterator[None]:
    """Convert the libraries' errors for a damaged checkpoint to a `CheckpointError`."""
    try:
        yield
    except Exception as error:
        reason = f"cannot be loaded ({_one_line(error)})"
        raise _error(str(name), resolve_checkpoint(name, model_type), model_type, reason) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the loader's progress bars, log messages and warnings; errors still raise."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _error(name: str, source: str, model_type: ModelType, reason: str) -> CheckpointError:
    """One line: the checkpoint, the problem, and the repairs."""
    resolved = "" if source == name else f" ({source})"
    section = model_type.section
    repairs = [f"set {section}.checkpoint to a folder that save_pretrained or `hf download` made"]
    if _HUB_ID.fullmatch(source):
        repairs.insert(0, f"fetch it where there is a network with `hf download {source}`")
    if name == "demo":
        repairs = ["reinstall the package, which carries it"]
    else:
        repairs.append("use the embedded models with `--config demo`")
    return CheckpointError(f"checkpoint {name!r}{resolved} {reason}; {', or '.join(repairs)}")
