"""Frozen dataclasses that validate their values against their own annotations.

The annotation is the only definition of a value: ``num_beams: PositiveInt = 1`` is type, range and
default, and the error message is made from it. Supported is what configurations need: ``bool``,
``str``, ``int``, ``float``, ``Literal`` of texts, numbers annotated with a `Range`, and unions of
these.

Not pydantic: importing ``pydantic.dataclasses`` alone takes twice as long as the whole
configuration (165 against 79 ms of processor time, median of nine), on every start of the command
line, and its messages would have to be rewritten just the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from grounded_sam2.errors import ConfigError

__all__ = ["NonNegativeInt", "PositiveInt", "Range", "UnitInterval", "ValidatedSection"]


@dataclass(frozen=True)
class Range:
    """A closed interval."""

    low: float = -math.inf
    high: float = math.inf


UnitInterval: TypeAlias = Annotated[float, Range(0, 1)]
PositiveInt: TypeAlias = Annotated[int, Range(1)]
NonNegativeInt: TypeAlias = Annotated[int, Range(0)]


class ValidatedSection:
    """Base of the sections of a configuration; they are frozen dataclasses.

    Raises:
        ConfigError: when built with a wrong type or a value out of range, naming section, key,
            value and what is expected.
    """

    section: ClassVar[str]

    def __post_init__(self) -> None:
        for name, hint in self.hints().items():
            value = getattr(self, name)
            if not _fits(hint, value):
                raise ConfigError(f"{self.section}.{name} is {value!r}; give {_wanted(hint)}")
            if isinstance(value, int) and _base(hint) is float:
                # 1 and 1.0 are the same configuration, and must have the same hash
                object.__setattr__(self, name, float(value))

    @classmethod
    @cache  # to evaluate annotations takes longer than to check values
    def hints(cls) -> dict[str, Any]:
        """Annotation of each key, in declared order."""
        hints = get_type_hints(cls, include_extras=True)
        return {name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar}


def _base(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _range(hint: Any) -> Range:
    limits: Range = get_args(hint)[1] if get_origin(hint) is Annotated else Range()
    return limits


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _fits(hint: Any, value: object) -> bool:
    if len(_alternatives(hint)) > 1:
        return any(_fits(each, value) for each in _alternatives(hint))
    base, limits = _base(hint), _range(hint)
    if get_origin(base) is Literal:
        return value in get_args(base)
    if base is str:
        return isinstance(value, str) and bool(value.strip())
    if base is bool:
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int if base is int else (int, float)):
        return False  # bool is a subclass of int, but `num_beams: true` is a mistake
    return limits.low <= value <= limits.high and abs(value) < math.inf


def _wanted(hint: Any) -> str:
    if len(_alternatives(hint)) > 1:
        return " or ".join(_wanted(each) for each in _alternatives(hint))
    base, limits = _base(hint), _range(hint)
    if get_origin(base) is Literal:
        names = get_args(base)
        return f"one of {', '.join(names)}" if len(names) > 1 else repr(names[0])
    if base is str:
        return "text"
    if base is bool:
        return "true or false"
    words = "a whole number" if base is int else "a number"
    if math.isfinite(limits.low) and math.isfinite(limits.high):
        return f"{words} from {limits.low:g} to {limits.high:g}"
    return f"{words} of at least {limits.low:g}" if math.isfinite(limits.low) else words
