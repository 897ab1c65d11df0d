"""Architecture: imports between subpackages, and what importing the package loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import grounded_sam2

PACKAGE = Path(grounded_sam2.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")

VALUES = {"errors", "geometry", "results"}
SETTINGS = {"errors", "config", "ontology"}
INPUT_AND_STORE = {"sources", "store"}

MAY_IMPORT: dict[str, set[str]] = {
    # From the bottom layer up: a subpackage imports itself and what is named here, nothing else.
    "errors": set(),
    "geometry": {"errors"},
    "config": {"errors"},
    "ontology": {"errors", "config"},
    "results": {"errors", "geometry"},
    "testing": VALUES | {"models.protocols"},
    "sources": VALUES | {"config"},
    "models": VALUES | SETTINGS,
    "store": VALUES | {"config", "sources"},
    "inference": VALUES | SETTINGS | {"models.protocols"},
    "tracking": VALUES | SETTINGS | {"inference", "models.protocols"},
    "visualization": VALUES | INPUT_AND_STORE,
    "exporters": VALUES | SETTINGS | INPUT_AND_STORE | {"inference"},
    "engine": VALUES | SETTINGS | INPUT_AND_STORE | {"inference", "models.protocols", "tracking"},
    "importers": VALUES | INPUT_AND_STORE | {"config", "engine"},
    "report": VALUES | INPUT_AND_STORE | {"config", "exporters"},
    "evaluation": VALUES | INPUT_AND_STORE,
    "pipeline": VALUES
    | SETTINGS
    | INPUT_AND_STORE
    | {"engine", "exporters", "inference", "models", "tracking", "visualization"},
    # The synthetic scenes import values only; the demo commands use the whole pipeline.
    "demo": VALUES,
    "demo.run": VALUES | INPUT_AND_STORE | {"demo", "engine", "pipeline", "visualization"},
    "demo.run_clips": VALUES | INPUT_AND_STORE | {"demo", "engine", "pipeline", "visualization"},
    "cli": VALUES
    | SETTINGS
    | INPUT_AND_STORE
    | {"demo", "engine", "evaluation", "exporters", "importers", "pipeline", "report"}
    | {"visualization"},
    "__main__": {"cli"},
}
MODEL_LIBRARIES = {"torch", "torchvision", "transformers", "timm", "einops", "huggingface_hub"}


def name_of(path: Path) -> str:
    """``models.sam2.masks`` for a file below the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def subpackage_of(module: str) -> str:
    """The key of `MAY_IMPORT` that a module of the package belongs to."""
    return module if module in MAY_IMPORT else module.split(".")[0]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, wherever in the file, and the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write the whole name"
            assert node.module is not None
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            is_module = [is_module_of_the_package(name) for name in submodules]
            yield from ((n, node.lineno) for n, m in zip(submodules, is_module, strict=True) if m)
            if not all(is_module):
                yield node.module, node.lineno


def is_module_of_the_package(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def allowed(module: str, imported: str) -> bool:
    subpackage = subpackage_of(module)
    if imported == subpackage or imported.startswith(f"{subpackage}."):
        return True
    return any(
        imported == known or imported.startswith(f"{known}.") for known in MAY_IMPORT[subpackage]
    )


def run_in_a_new_process(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


class TestImportTable:
    def test_every_subpackage_is_in_the_table(self) -> None:
        subpackages = {name_of(path).split(".")[0] for path in FILES}
        assert subpackages == {subpackage.split(".")[0] for subpackage in MAY_IMPORT}

    def test_the_table_has_no_cycles(self) -> None:
        done: set[str] = set()
        remaining = dict(MAY_IMPORT)
        while remaining:
            ready = [
                subpackage
                for subpackage, below in remaining.items()
                if all(name in done or name.split(".")[0] in done for name in below)
            ]
            assert ready, f"these subpackages import each other: {sorted(remaining)}"
            done |= set(ready)
            for subpackage in ready:
                del remaining[subpackage]

    @pytest.mark.parametrize("path", FILES, ids=name_of)
    def test_imports_follow_the_table(self, path: Path) -> None:
        module = name_of(path)
        wrong = [
            f"line {line}: {imported}"
            for imported, line in imports(path)
            if imported.startswith("grounded_sam2.")
            and not allowed(module, imported.removeprefix("grounded_sam2."))
        ]
        assert not wrong, f"{module} (subpackage {subpackage_of(module)}) may not import: {wrong}"

    @pytest.mark.parametrize("path", FILES, ids=name_of)
    def test_only_models_import_model_libraries(self, path: Path) -> None:
        if name_of(path).split(".")[0] in ("models",):
            return
        used = {imported.split(".")[0] for imported, _ in imports(path)} & MODEL_LIBRARIES
        assert not used

    def test_the_protocols_import_no_model_library(self) -> None:
        used = {name.split(".")[0] for name, _ in imports(PACKAGE / "models" / "protocols.py")}
        assert not used & MODEL_LIBRARIES

    @pytest.mark.parametrize(
        ("module", "imported", "expected"),
        [
            ("exporters.coco", "models.sam2", False),
            ("pipeline", "cli", False),
            ("inference.detect_and_segment", "models.protocols", True),
            ("inference.detect_and_segment", "models.florence2", False),
            ("demo.scenes", "pipeline", False),
            ("demo.run", "pipeline", True),
            ("geometry.rle", "geometry.compressed_counts", True),
        ],
    )
    def test_allowed_resolves_modules_and_subpackages(
        self, module: str, imported: str, expected: bool
    ) -> None:
        assert allowed(module, imported) is expected


class TestModules:
    @pytest.mark.parametrize("path", FILES, ids=name_of)
    def test_every_module_has_a_docstring_and_all(self, path: Path) -> None:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not tree.body:  # an empty __init__.py
            return
        assert ast.get_docstring(tree), "no module docstring"
        names = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert "__all__" in names, "no __all__"

    def test_every_public_name_resolves_and_is_listed(self) -> None:
        for name in grounded_sam2.__all__:
            assert getattr(grounded_sam2, name) is not None
            assert name in dir(grounded_sam2)

    def test_an_unknown_name_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="Florence3"):
            _ = grounded_sam2.Florence3


class TestImporting:
    @pytest.mark.parametrize(
        "module",
        ["grounded_sam2", "grounded_sam2.pipeline", "grounded_sam2.testing", "grounded_sam2.cli"],
    )
    def test_importing_loads_no_model_library(self, module: str) -> None:
        run_in_a_new_process(
            f"import sys, {module}\n"
            f"loaded = {MODEL_LIBRARIES!r} & set(sys.modules)\n"
            "assert not loaded, loaded"
        )

    def test_importing_the_package_loads_no_large_library(self) -> None:
        run_in_a_new_process(
            "import sys, grounded_sam2\n"
            "loaded = {'numpy', 'cv2', 'PIL', 'scipy', 'supervision', 'yaml'} & set(sys.modules)\n"
            "assert not loaded, loaded"
        )

    def test_importing_the_store_loads_no_model_library_and_no_ffmpeg(self) -> None:
        run_in_a_new_process(
            "import sys, grounded_sam2.store\n"
            f"loaded = ({MODEL_LIBRARIES!r} | {{'av'}}) & set(sys.modules)\n"
            "assert not loaded, loaded"
        )

    def test_importing_touches_neither_network_nor_environment(self) -> None:
        run_in_a_new_process(
            "import os, sys\n"
            "before = dict(os.environ)\n"
            "def watch(event, arguments):\n"
            "    assert not event.startswith(('socket.', 'os.putenv', 'os.unsetenv')), event\n"
            "sys.addaudithook(watch)\n"
            "import grounded_sam2\n"
            "assert dict(os.environ) == before"
        )
