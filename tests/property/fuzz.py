"""What the fuzz tests share: how many cases, and how something that is right is made wrong.

A usual run tries few cases. IPYMESOS_FUZZ=10000 makes it ten thousand, over all tests.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("IPYMESOS_FUZZ", "500"))
SECRET = "the-secret-of-this-cluster"


def fuzz(percent: float) -> Callable[[Any], Any]:
    """This many percent of all cases are for this test."""
    return settings(
        max_examples=max(5, round(CASES * percent / 100)),
        deadline=None,  # a busy machine is no fault
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


def _deep(depth: int) -> Any:
    nested: Any = 1
    for _ in range(depth):
        nested = [nested]
    return nested


# What programs trip over: borders of numbers, kinds of nothing, texts that are none, and much of everything.
ODDITIES: list[Any] = [
    None, True, False, 0, -1, 1, 65535, 65536, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.5, -0.0, 1e308, 1e-320,
    float("nan"), float("inf"), float("-inf"), "", " ", "\0", "a\0b", "\n", "\ud800", "\u202e", "%s%n", "../../etc",
    "null", "0", "-1", "1e999", "nan", "x" * 100_000, "é" * 300, [], {}, [[]], [None], {"": None}, {"value": None},
    [1] * 5000, _deep(60)
]  # fmt: skip
ODD = st.integers(0, len(ODDITIES) - 1).map(lambda number: copy.deepcopy(ODDITIES[number]))
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)


def _more(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)


ANY = ODD | PLAIN | st.recursive(PLAIN, _more, max_leaves=6)


def _places(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything in this JSON, itself the first."""
    found = [where]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*where, key))
    return found


def wrong(samples: Sequence[Any], most: int = 3) -> st.SearchStrategy[Any]:
    """One of the samples with up to `most` things in it gone, replaced, added, or put where another one was."""
    return st.composite(lambda draw: _wrong(draw, samples, most))()


def _wrong(draw: st.DrawFn, samples: Sequence[Any], most: int) -> Any:
    value = copy.deepcopy(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, most))):
        places = _places(value)[1:]
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder = value
        for key in way:
            holder = holder[key]
        match draw(st.sampled_from(["gone", "replaced", "replaced", "added", "moved", "all"])):
            case "gone":
                del holder[last]
            case "replaced":
                holder[last] = draw(ANY)
            case "added" if isinstance(holder, dict):
                holder[draw(st.text(max_size=8) | st.sampled_from(sorted(map(str, holder))))] = draw(ANY)
            case "added":
                holder.insert(last, draw(ANY))
            case "moved":
                holder[last] = copy.deepcopy(draw(st.sampled_from(samples)))
            case "all":
                value = draw(ANY)
    return value


def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with a piece gone, doubled or replaced."""
    begin = draw(st.integers(0, len(data)))
    end = draw(st.integers(begin, min(len(data), begin + 40)))
    return data[:begin] + draw(st.binary(max_size=20) | st.just(data[begin:end] * 2)) + data[end:]
