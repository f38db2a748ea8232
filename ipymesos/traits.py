"""Trait types that want a unit, or that check what Mesos would refuse much later.

Every refusal is a TraitError that names the option, repeats the value, and says what is allowed.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from traitlets import Dict, Float, Int, List, TraitError, TraitType, Unicode

from . import masters
from .errors import ConfigError

_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)")

# Mesos counts in powers of two whatever the name of the unit (stout/bytes.hpp), so MB and MiB are one thing.
_MEGABYTES = {"mb": 1, "mib": 1, "gb": 1024, "gib": 1024, "tb": 1024**2, "tib": 1024**2}

_SECONDS: dict[str, float] = {}
for _names, _seconds in (
    ("ms", 0.001),
    ("s sec secs second seconds", 1.0),
    ("m min mins minute minutes", 60.0),
    ("h hour hours", 3600.0),
    ("d day days", 86400.0),
    ("w week weeks", 604800.0),
):
    _SECONDS.update(dict.fromkeys(_names.split(), _seconds))


def parse_memory(text: str) -> int:
    """'512 MB', '2 GB', '1.5 GiB' -> whole MB (2^20 bytes), rounded up. ValueError says what is wrong."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError("is not an amount of memory; write '512 MB', '2 GB' or '1 TB'")
    number, unit = match.groups()
    if not unit:
        raise ValueError(f"has no unit; write '{number} MB', '2 GB' or '1 TB'")
    if unit.lower() not in _MEGABYTES:
        raise ValueError(f"has the unknown unit '{unit}'; write MB, GB or TB, as in '512 MB'")
    return math.ceil(float(number) * _MEGABYTES[unit.lower()])


def parse_duration(text: str) -> float:
    """'90', '90 s', '5 min', '1 week' -> seconds. ValueError says what is wrong."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError("is not a time; write seconds, or '90 s', '5 min', '2 hours', '1 week'")
    number, unit = match.groups()
    if (unit.lower() or "s") not in _SECONDS:
        raise ValueError(f"has the unknown unit '{unit}'; write ms, s, min, hours, days or weeks, as in '5 min'")
    return float(number) * _SECONDS[unit.lower() or "s"]


def refuse(name: str | None, value: object, why: str) -> NoReturn:
    """Raise the TraitError for option `name`."""
    raise TraitError(f"{name}: {value!r} {why}")


def from_text(trait: TraitType[Any, Any], text: str) -> Any:
    """The value that `text` stands for on a command line: 'a,b' for a list, 'a=1,b=2' for a dictionary, or JSON.

    What can't be read comes back as it is: setting it then says what is wrong.
    """
    try:
        if not isinstance(trait, (List, Dict)):
            return trait.from_string(text)
        if text.lstrip()[:1] in ("[", "{"):
            return json.loads(text)
        pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
        return pieces if isinstance(trait, List) else dict(piece.split("=", 1) for piece in pieces)
    except (ValueError, TypeError):
        return text


class Memory(Unicode):  # type: ignore[type-arg]
    """An amount of memory or disk with its unit; stays the text it was given as. See parse_memory."""

    def __init__(self, default: str, *, least: int = 0, **kwargs: Any) -> None:
        super().__init__(default, **kwargs)
        self.least = least

    def validate(self, obj: Any, value: Any) -> str:
        if not isinstance(value, str):
            refuse(self.name, value, f"has no unit; write '{value} MB', '2 GB' or '1 TB', in quotes")
        try:
            amount = parse_memory(value)
        except ValueError as error:
            refuse(self.name, value, str(error))
        if amount < self.least:
            refuse(self.name, value, f"is too little; {self.least} MB is the least")
        return value.strip()


class Duration(TraitType[float, Any]):
    """Seconds as a float; a text with a unit is turned into that. See parse_duration."""

    info_text = "a time in seconds, or a text like '5 min'"

    def __init__(self, default: float, *, least: float = 0.0, **kwargs: Any) -> None:
        super().__init__(default, **kwargs)
        self.least = least

    def validate(self, obj: Any, value: Any) -> float:
        if isinstance(value, str):
            try:
                seconds = parse_duration(value)
            except ValueError as error:
                refuse(self.name, value, str(error))
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            seconds = float(value)
        else:
            refuse(self.name, value, "is not a time; write seconds, or '90 s', '5 min', '2 hours', '1 week'")
        if seconds < self.least:
            refuse(self.name, value, f"is too short; {self.least:g} s is the least")
        return seconds

    def from_string(self, s: str) -> Any:
        return s  # validate() reads it, and its message is better than the one of a failed conversion


class Cpus(Float):  # type: ignore[type-arg]
    """Cores; thousandths are the finest that Mesos knows (docs/attributes-resources.md: three decimal digits)."""

    def __init__(self, default: float, *, least: float = 0.001, **kwargs: Any) -> None:
        super().__init__(default, **kwargs)
        self.least = least

    def validate(self, obj: Any, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            refuse(self.name, value, f"is not a number of cores; write a number from {self.least:g} on, 0.5 or 2")
        if value < self.least:
            refuse(self.name, value, f"is too little; {self.least:g} of a core is the least")
        return float(value)


class Count(Int):  # type: ignore[type-arg]
    """A whole number between `least` and `most`, both included."""

    def __init__(self, default: int, *, least: int = 0, most: int | None = None, **kwargs: Any) -> None:
        super().__init__(default, **kwargs)
        self.least = least
        self.most = most

    def validate(self, obj: Any, value: Any) -> int:
        allowed = f"{self.least} or more" if self.most is None else f"from {self.least} to {self.most}"
        if isinstance(value, bool) or not isinstance(value, int):
            refuse(self.name, value, f"is not a whole number; allowed is {allowed}")
        if value < self.least or (self.most is not None and value > self.most):
            refuse(self.name, value, f"is out of range; allowed is {allowed}")
        return value


class Master(Unicode):  # type: ignore[type-arg]
    """Where the Mesos master is found."""

    # Allowed, unlike Unicode's own: traitlets sets it again when it rolls back after the error of another option.
    default_value = "local"

    def validate(self, obj: Any, value: Any) -> str:
        text = value.strip() if isinstance(value, str) else ""
        if "@" in text:  # it would show in logs and in the status
            raise TraitError(f"{self.name}: an address must not contain a user or password; {masters.FORMS}")
        try:
            if text != "local":
                masters.parse(text)
        except ConfigError as error:
            raise TraitError(str(error)) from None
        return text


class Roles(Unicode):  # type: ignore[type-arg]
    """One or several roles with commas between them, by the rules of Mesos' docs/roles.md."""

    def validate(self, obj: Any, value: Any) -> str:
        roles = [r.strip() for r in value.split(",")] if isinstance(value, str) else [""]
        bad = [r for r in roles if not r or r in (".", "..") or r[0] in "-/" or r[-1] == "/" or re.search(r"\s", r)]
        if bad or len(set(roles)) < len(roles):
            refuse(self.name, value, "is not a role; write '*', 'name', or several different ones: 'one,two'")
        return ",".join(roles)


class Attributes(Dict):
    """Names and values that agents carry; numbers become text."""

    def validate(self, obj: Any, value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            refuse(self.name, value, "is no dictionary; write {'rack': 'a'}")
        for key, item in value.items():
            if not isinstance(key, str) or isinstance(item, bool) or not isinstance(item, (str, int, float)):
                refuse(self.name, value, "must have texts or numbers only, as in {'rack': 'a'}")
        return {key: str(item) for key, item in value.items()}
