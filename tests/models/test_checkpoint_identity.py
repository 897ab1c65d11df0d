"""Equal weights have the same identity, different weights another."""

from __future__ import annotations

import subprocess
import sys

import pytest

from grounded_sam2.models.checkpoint_identity import checkpoint_identity
from grounded_sam2.models.florence2.model_type import FLORENCE2
from grounded_sam2.models.sam2.model_type import SAM2


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "README.md").write_text("a card", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", ["facebook/sam2.1-hiera-tiny", "large", "nowhere/at-all"])
def test_a_hub_id_is_its_own_identity(name):
    assert checkpoint_identity(name, SAM2.embedded) == name


def test_the_embedded_models_have_different_identities():
    names = {
        checkpoint_identity("demo", FLORENCE2.embedded),
        checkpoint_identity("demo", SAM2.embedded),
    }
    assert len(names) == 2
    assert all(name.startswith("demo@") for name in names)


@pytest.mark.parametrize("megabytes", [0, 8])
def test_changed_weights_have_another_identity(folder, megabytes):
    weights = folder / "model.safetensors"
    weights.write_bytes(bytes(range(256)) * (1000 + 4096 * megabytes))
    before = checkpoint_identity(str(folder), FLORENCE2.embedded)
    assert before.startswith(f"{folder}@")
    assert checkpoint_identity(str(folder), FLORENCE2.embedded) == before
    changed = bytearray(weights.read_bytes())
    for place in range(0, len(changed), 1000):
        changed[place] ^= 1
    weights.write_bytes(changed)
    assert checkpoint_identity(str(folder), FLORENCE2.embedded) != before


def test_other_files_do_not_change_the_identity(folder):
    before = checkpoint_identity(str(folder), FLORENCE2.embedded)
    (folder / "README.md").write_text("another card", encoding="utf-8")
    assert checkpoint_identity(str(folder), FLORENCE2.embedded) == before
    (folder / "config.json").write_text('{"a": 1}', encoding="utf-8")
    assert checkpoint_identity(str(folder), FLORENCE2.embedded) != before


def test_torch_is_not_imported():
    program = (
        "import sys; from grounded_sam2.models.checkpoint_identity import checkpoint_identity; "
        "checkpoint_identity('demo', None); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
