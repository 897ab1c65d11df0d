"""Device, number format and batch size from the configuration, and out-of-memory errors.

``auto`` is CUDA with bfloat16 on a machine with a GPU, and the CPU with float32 otherwise. Apple's
``mps`` must be selected by name: it lacks some of the operations that the models need.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from grounded_sam2.errors import ConfigError, OutOfMemoryError

__all__ = ["batch_size_for", "memory_errors", "resolve_device", "resolve_dtype"]

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def resolve_device(name: str) -> torch.device:
    """Resolve ``runtime.device`` on this machine.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:<index>`` or ``mps``.

    Raises:
        ConfigError: an unknown name, or the machine (or this build of PyTorch) lacks the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in {"cpu", "cuda", "mps"}:
        raise ConfigError(
            f"runtime.device {name!r}: expected 'auto', 'cpu', 'cuda', 'cuda:<index>' or 'mps'"
        )
    if device.type == "cuda":
        _check_cuda(name, device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"runtime.device {name!r}: needs an Apple GPU; use 'auto' or 'cpu'")
    return device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Resolve ``runtime.dtype`` on a device.

    Args:
        name: ``auto``, ``float32``, ``bfloat16`` or ``float16``. ``auto`` is bfloat16 on GPUs that
            compute in it (NVIDIA: Ampere, 2020, and later) and float32 elsewhere: older GPUs only
            emulate bfloat16, and SAM 2's activations may leave the range of float16.
        device: from `resolve_device`.

    Raises:
        ConfigError: an unknown name.
    """
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float32
    if name not in _DTYPES:
        raise ConfigError(f"runtime.dtype {name!r}: expected 'auto' or one of {', '.join(_DTYPES)}")
    return _DTYPES[name]


def batch_size_for(device: torch.device) -> int:
    """Images per batch for ``runtime.batch_size: auto`` on a device.

    Returns:
        8 on a CPU, whose cores one image keeps busy. On a GPU one per free GiB, rounded down to a
        power of two from 4 to 64: the large checkpoints need less than that per image.
    """
    if device.type != "cuda":
        return 8
    free, _ = torch.cuda.mem_get_info(device)
    return min(64, max(4, 1 << (free >> 30).bit_length() - 1)) if free >> 30 else 4


@contextmanager
def memory_errors(role: str) -> Iterator[None]:
    """Convert PyTorch's out-of-memory errors to `grounded_sam2.errors.OutOfMemoryError`.

    Args:
        role: the model that ran, named in the message.
    """
    advice = "lower runtime.batch_size, or detector.batch_size and segmenter.prompts_per_batch"
    try:
        yield
    except torch.OutOfMemoryError:
        raise OutOfMemoryError(f"{role}: not enough GPU memory; {advice}") from None
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise OutOfMemoryError(f"{role}: not enough memory; {advice}") from None


def _check_cuda(name: str, index: int) -> None:
    if not torch.cuda.is_available():
        why = "sees no GPU or driver" if torch.version.cuda else "was built without CUDA"
        raise ConfigError(
            f"runtime.device {name!r}: PyTorch {torch.__version__} {why}; use 'auto' or 'cpu'"
        )
    count = torch.cuda.device_count()
    if index >= count:
        raise ConfigError(
            f"runtime.device {name!r}: this machine has {count} CUDA device(s), the last is "
            f"'cuda:{count - 1}'; use that or 'auto'"
        )
