"""Names of devices and number formats, on machines with and without GPUs."""

from __future__ import annotations

import pytest
import torch

from grounded_sam2.errors import ConfigError
from grounded_sam2.models.devices import resolve_device, resolve_dtype


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)


@pytest.mark.usefixtures("no_cuda")
def test_auto_is_the_cpu_without_cuda() -> None:
    assert resolve_device("auto") == torch.device("cpu")
    assert resolve_dtype("auto", torch.device("cpu")) == torch.float32


@pytest.mark.usefixtures("two_gpus")
def test_auto_is_cuda_with_bfloat16_on_a_machine_with_a_gpu() -> None:
    device = resolve_device("auto")
    assert device == torch.device("cuda")
    assert resolve_dtype("auto", device) == torch.bfloat16


@pytest.mark.usefixtures("two_gpus")
def test_auto_is_float32_on_a_gpu_that_only_emulates_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert resolve_dtype("auto", torch.device("cuda")) == torch.float32


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_by_index() -> None:
    assert resolve_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.usefixtures("two_gpus")
def test_the_error_of_a_missing_gpu_names_the_last_one() -> None:
    with pytest.raises(ConfigError, match=r"'cuda:2'.*2 CUDA device.*'cuda:1'"):
        resolve_device("cuda:2")


@pytest.mark.usefixtures("no_cuda")
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_missing_cuda_is_an_error_with_a_repair(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"runtime.device '{name}'.*use 'auto' or 'cpu'"):
        resolve_device(name)


def test_missing_mps_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="needs an Apple GPU"):
        resolve_device("mps")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "xpu", "CPU"])
def test_other_device_names_are_errors(name: str) -> None:
    with pytest.raises(ConfigError, match="expected 'auto', 'cpu', 'cuda'"):
        resolve_device(name)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)],
)
def test_dtypes_by_name(name: str, dtype: torch.dtype) -> None:
    assert resolve_dtype(name, torch.device("cpu")) == dtype


def test_other_dtype_names_are_errors() -> None:
    with pytest.raises(ConfigError, match=r"'int8'.*float32, bfloat16, float16"):
        resolve_dtype("int8", torch.device("cpu"))
