"""Resources of the wire and Pieces say the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipymesos.core.resources import Piece
from ipymesos.mesos import pieces, resources
from ipymesos.mesos.resources import merged

ALLOCATED = {"allocation_info": {"role": "ipy"}}
STATIC = [{"type": "STATIC", "role": "ipy"}]


def scalar(name: str, value: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, **more}


def ports(*ranges: tuple[int, int], **more: Any) -> dict[str, Any]:
    return {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": b, "end": e} for b, e in ranges]}, **more}


@pytest.mark.parametrize(
    "value, amount",
    [(1, 1000), (0.3, 300), (0.1 + 0.2, 300), (2.9999999, 2999), (3.0005, 3000), (0.001, 1), (1e6, 10**9)],
)
def test_cpus_are_thousandths_rounded_down(value: float, amount: int) -> None:
    assert pieces([scalar("cpus", value)]) == (Piece("cpus", amount),)


@pytest.mark.parametrize("name", ["mem", "disk", "gpus"])
def test_other_scalars_are_whole_and_rounded_down(name: str) -> None:
    assert pieces([scalar(name, 1023.999)]) == (Piece(name, 1023),)
    assert pieces([scalar(name, 1024.0)]) == (Piece(name, 1024),)


@pytest.mark.parametrize(
    "resource",
    [
        scalar("cpus", 1, revocable={}),
        scalar("mem", 10, shared={}),
        scalar("disk", 10, disk={"persistence": {"id": "x"}, "volume": {"container_path": "d", "mode": "RW"}}),
        scalar("disk", 10, disk={"source": {"type": "MOUNT"}}),
        scalar("bandwidth", 10),
        {"name": "names", "type": "SET", "set": {"item": ["a"]}},
        scalar("cpus", 0.0004),
        scalar("cpus", -1),
        ports(),
        ports((5, 4)),
    ],
)
def test_what_is_no_use_is_left_out(resource: dict[str, Any]) -> None:
    assert pieces([resource, scalar("mem", 5)]) == (Piece("mem", 5),)


def test_reserved_pieces_are_known_and_repeat_their_reservation() -> None:
    refined = scalar("cpus", 2, reservations=STATIC, **ALLOCATED)
    old = scalar("mem", 64, role="ipy")
    everybodys = scalar("mem", 32, role="*")
    found = pieces([refined, old, everybodys, scalar("disk", 5, **ALLOCATED)])
    assert [(p.name, p.reserved) for p in found] == [("cpus", True), ("mem", True), ("mem", False), ("disk", False)]
    assert resources(found)[0] == refined
    assert resources(found)[1] == old


def test_a_providers_id_is_repeated() -> None:
    theirs = scalar("disk", 5, provider_id={"value": "p"}, **ALLOCATED)
    assert resources(pieces([theirs])) == [theirs]


def test_ports_are_written_merged_and_in_order() -> None:
    piece = Piece("ports", ranges=((31003, 31003), (31000, 31001), (31002, 31002), (31009, 31009)))
    assert resources([piece]) == [ports((31000, 31003), (31009, 31009))]


def test_origin_does_not_depend_on_the_order_of_keys() -> None:
    one = scalar("cpus", 1, reservations=STATIC, allocation_info={"role": "ipy"})
    other = dict(reversed(list(one.items())))
    assert pieces([one]) == pieces([other])


@pytest.mark.parametrize(
    "bad",
    [{}, {"name": "cpus"}, {"name": "cpus", "scalar": {"value": "x"}}, {"name": "ports", "ranges": {"range": [{}]}}],
)
def test_malformed_resources_raise(bad: dict[str, Any]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        pieces([bad])


ranges = st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)), max_size=8)
origins = st.sampled_from(
    [{}, ALLOCATED, {**ALLOCATED, "reservations": STATIC}, {"role": "r"}, {**ALLOCATED, "provider_id": {"value": "é"}}]
)


@given(st.sampled_from(["cpus", "mem", "disk", "gpus"]), st.integers(1, 10**9), origins)
def test_scalars_survive_the_way_there_and_back(name: str, amount: int, origin: dict[str, Any]) -> None:
    found = pieces([scalar(name, amount / 1000 if name == "cpus" else amount, **origin)])
    assert [p.amount for p in found] == [amount]
    assert pieces(resources(found)) == found


@given(ranges, origins)
def test_ports_survive_the_way_there_and_back(some: list[tuple[int, int]], origin: dict[str, Any]) -> None:
    found = pieces([ports(*some, **origin)])
    assert pieces(resources(found)) == found
    numbers = {n for begin, end in some for n in range(begin, end + 1)}
    assert {n for p in found for begin, end in p.ranges for n in range(begin, end + 1)} == numbers


@given(ranges)
def test_merged_ranges_are_apart_and_sorted(some: list[tuple[int, int]]) -> None:
    result = merged(some)
    assert all(a[1] + 1 < b[0] for a, b in zip(result, result[1:], strict=False))
    assert merged(reversed(some)) == result
