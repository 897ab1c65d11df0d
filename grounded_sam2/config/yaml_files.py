"""Shipped YAML files, and a strict YAML reader.

`configs/` and `ontologies/` are at the top of the repository, where people look for them, and are
installed inside the package, where a wheel needs them. `shipped_folder` finds either.

Plain YAML loaders silently keep the last of two equal keys, which in an ontology loses a class.
Here a repeated key is an error with both line numbers. Only safe YAML is read: no tag can build a
Python object."""

from __future__ import annotations

import difflib
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml

from grounded_sam2.errors import ConfigError, GroundedSAM2Error, OntologyError

__all__ = ["ShippedKind", "find_yaml", "read_yaml", "shipped_folder", "shipped_names"]

ShippedKind: TypeAlias = Literal["config", "ontology"]

_FOLDERS: dict[ShippedKind, str] = {"config": "configs", "ontology": "ontologies"}
_ERRORS: dict[ShippedKind, type[GroundedSAM2Error]] = {
    "config": ConfigError,
    "ontology": OntologyError,
}


_PACKAGE = Path(__file__).parents[1]


def shipped_folder(kind: ShippedKind, package: Path = _PACKAGE) -> Path:
    """Folder of the shipped files: inside the installed package, else at the repository's top.

    Args:
        kind: what the files hold.
        package: folder of the package.
    """
    installed = package / _FOLDERS[kind]
    return installed if installed.is_dir() else package.parent / _FOLDERS[kind]


def shipped_names(kind: ShippedKind, package: Path = _PACKAGE) -> tuple[str, ...]:
    """Names (file stems) of the shipped files, sorted."""
    return tuple(sorted(path.stem for path in shipped_folder(kind, package).glob("*.yaml")))


def find_yaml(name_or_path: str | Path, *, kind: ShippedKind) -> Path:
    """Resolve a shipped name (``demo``) or a path (``my/demo.yaml``) to a file.

    Text without a folder or suffix that is a shipped name is that name, whatever lies in the
    working directory: ``demo`` stays the shipped file after a folder ``demo/`` was written.

    Raises:
        ConfigError, OntologyError: there is no such name or file; names the nearest.
    """
    names = shipped_names(kind)
    if isinstance(name_or_path, str) and name_or_path in names:
        return shipped_folder(kind) / f"{name_or_path}.yaml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    reason = "is a folder, not a YAML file" if path.is_dir() else "does not exist"
    nearest = difflib.get_close_matches(path.stem, names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    raise _ERRORS[kind](
        f"{kind} {str(name_or_path)!r} {reason}{hint} "
        f"Give the path of a YAML file or one of the shipped names: {', '.join(names)}"
    )


def read_yaml(path: Path, *, kind: ShippedKind) -> Any:
    """Read one YAML document (UTF-8) made of plain values only; ``None`` for an empty file.

    Raises:
        ConfigError, OntologyError: unreadable, not YAML, a key written twice in one mapping, or a
            tag for anything but plain values. Names the file and the line.
    """
    try:
        return yaml.load(path.read_bytes(), Loader=_StrictLoader)
    except OSError as error:
        reason = error.strerror or str(error)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        reason = f"line {mark.line + 1}: {error.problem}" if mark else str(error.problem)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
    except ValueError as error:  # a scalar that looks like a date but names none: 2024-13-45
        reason = f"{error}; put the text in quotes"
    raise _ERRORS[kind](f"{kind} {str(path)!r} cannot be read: {reason}")


class _StrictLoader(yaml.SafeLoader):
    """Safe loader that refuses a mapping with the same key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first_lines: dict[object, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
                continue  # other keys are refused by the base class; `<<` merges, and may repeat
            key = self.construct_object(key_node)
            line = key_node.start_mark.line + 1
            if key in first_lines:
                raise yaml.constructor.ConstructorError(
                    problem=f"repeats the key {key!r} of line {first_lines[key]}; keep one entry",
                    problem_mark=key_node.start_mark,
                )
            first_lines[key] = line
        return super().construct_mapping(node, deep)
