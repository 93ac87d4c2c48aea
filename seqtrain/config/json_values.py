"""Values from JSON that is not trusted, checked against the types that a class declares."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
MAX_COUNT = 2**53  # every int in our JSON is a count; no real one is larger


def make(cls: type[T], fields: Any) -> T:
    """Makes a named tuple, or an object of a class whose arguments are typed, from a dict of its fields. Raises
    ValueError where a field is of another type."""
    hints = get_type_hints(cls if hasattr(cls, "_fields") else cls.__init__)
    if not is_a(fields, dict[str, Any]):
        raise ValueError(f"{cls.__name__}: expected names and values")
    for name, value in fields.items():
        if name not in hints or not is_a(value, hints[name]):
            raise ValueError(f"{cls.__name__}: wrong {name}")
    return cls(**fields)


def is_a(value: Any, hint: Any) -> bool:
    """Whether a value is of the type that `hint` names, such as dict[str, list[int]].

    Stricter than Python: an int is 0 or more and below 2**53, and a str has no lone surrogate, which no file can hold.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(is_a(value, alternative) for alternative in inner)
    if origin in (list, tuple, Sequence):
        return isinstance(value, list | tuple) and all(is_a(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(is_a(k, inner[0]) and is_a(v, inner[1]) for k, v in value.items())
    if hint in (int, float):
        is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT
        return is_count or (hint is float and isinstance(value, float))
    if hint is str:
        return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)
    return hint is Any or isinstance(value, hint)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested values by their dotted names: {"a": {"b": 1}} gives {"a.b": 1}."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return values
