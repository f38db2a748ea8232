"""Frozen dataclasses to JSON and back, by their type hints: no field is forgotten, and none is made up."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def encode(value: Any) -> Any:
    """`value` as json.dumps takes it. TypeError for what no hint of ours can bring back."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {name: encode(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(encode(item) for item in value)
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    raise TypeError(f"can't encode {type(value).__name__}")


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def decode(kind: type[T], content: Any) -> T:
    """What `encode` was given, a `kind`. ValueError naming the place when the content isn't one.

    A field that the content lacks gets its default, so that a newer program reads what an older one wrote.
    """
    return typing.cast(T, _decode(kind, content, kind.__name__))


def _decode(kind: Any, content: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if content is None and types.NoneType in args:
            return None
        (kind,) = (a for a in args if a is not types.NoneType)
        return _decode(kind, content, where)
    if origin is tuple:
        items = _expect(list, content, where)
        kinds = [args[0]] * len(items) if args[-1] is Ellipsis else list(args)
        if len(kinds) != len(items):
            raise ValueError(f"{where}: {len(items)} items, not {len(kinds)}")
        return tuple(_decode(k, item, f"{where}[{i}]") for i, (k, item) in enumerate(zip(kinds, items, strict=True)))
    if origin is frozenset:
        return frozenset(_decode(args[0], item, where) for item in _expect(list, content, where))
    if origin is not None and issubclass(origin, Mapping):
        pairs = _expect(dict, content, where)
        return {args[0](key): _decode(args[1], item, f"{where}[{key}]") for key, item in pairs.items()}
    if is_dataclass(kind):
        items = _expect(dict, content, where)
        hints = typing.get_type_hints(kind)
        known = {f.name for f in fields(kind)}
        if unknown := sorted(set(items) - known):
            raise ValueError(f"{where}: unknown {', '.join(unknown)}")
        try:
            return kind(**{n: _decode(hints[n], item, f"{where}.{n}") for n, item in items.items()})  # type: ignore[operator]
        except TypeError as error:
            raise ValueError(f"{where}: {error}") from None
    if issubclass(kind, Enum):
        return kind(content)
    if kind is float:
        return float(_expect((int, float), content, where))
    return _expect(kind, content, where)


def _expect(kind: Any, content: Any, where: str) -> Any:
    if not isinstance(content, kind) or (isinstance(content, bool) and kind is not bool):
        raise ValueError(f"{where}: {content!r}")
    return content
