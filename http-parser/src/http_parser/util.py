"""The mapping that headers come in."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping


class IOrderedDict(MutableMapping[str, str]):
    """Header name -> value: keys are found whatever their case, and listed as they were first written."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[str, str]] = {}

    def __getitem__(self, key: str) -> str:
        return self._items[key.lower()][1]

    def __setitem__(self, key: str, value: str) -> None:
        name, _ = self._items.get(key.lower(), (key, ""))
        self._items[key.lower()] = (name, value)

    def __delitem__(self, key: str) -> None:
        del self._items[key.lower()]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"
