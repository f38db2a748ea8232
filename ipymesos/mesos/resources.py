"""One Mesos Resource <-> one Piece (docs/attributes-resources.md, include/mesos/v1/mesos.proto).

Whatever a Resource says beside its name and amount (allocation_info, reservations, provider_id) has to be
repeated word for word by whoever uses it, and so travels along as text in Piece.origin.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..core.resources import Piece

Json = Mapping[str, Any]

UNITS = {"cpus": 1000, "mem": 1, "disk": 1, "gpus": 1}  # how many of ours are one of Mesos'
EPSILON = 1e-6  # Mesos counts in thousandths but sends doubles: 0.3 * 1000 must become 300, not 299
OURS = frozenset(("name", "type", "scalar", "ranges", "set"))  # what a Piece says by itself
# Not for us: what may be taken away again, what others use too, and disks that hold somebody's data (a persistent
# volume, a mount disk) or whose use means more than an amount.
UNWANTED = frozenset(("revocable", "shared", "disk"))


def pieces(resources: Iterable[Json]) -> tuple[Piece, ...]:
    """The Pieces of an offer's resources; the ones we have no use for are left out. Raises on malformed ones."""
    made: list[Piece] = []
    for resource in resources:
        rest = {key: value for key, value in resource.items() if key not in OURS}
        if UNWANTED.isdisjoint(rest) and (piece := _piece(resource, rest, _origin(rest))) is not None:
            made.append(piece)
    return tuple(made)


_last: tuple[Json, str] = ({}, "")  # most resources, of an offer and of all offers, are of one origin


def _origin(rest: Json) -> str:
    global _last
    known, origin = _last
    if rest != known:
        origin = json.dumps(rest, sort_keys=True, separators=(",", ":")) if rest else ""
        _last = rest, origin
    return origin


def _piece(resource: Json, rest: Json, origin: str) -> Piece | None:
    name = resource["name"]
    # Before reservations could be refined (Mesos 1.4) a resource had one role of its own.
    reserved = bool(rest.get("reservations")) or rest.get("role", "*") != "*"
    if name == "ports":
        ranges = merged((int(r["begin"]), int(r["end"])) for r in resource["ranges"].get("range", ()))
        return Piece(name, 0, ranges, origin, reserved) if ranges else None
    if name not in UNITS:
        return None
    amount = math.floor(float(resource["scalar"]["value"]) * UNITS[name] + EPSILON)
    return Piece(name, amount, (), origin, reserved) if amount > 0 else None


def resources(pieces: Iterable[Piece]) -> list[dict[str, Any]]:
    """The Resources of a task or an executor, with all that their origin wants repeated."""
    return [_resource(piece) for piece in pieces]


def _resource(piece: Piece) -> dict[str, Any]:
    resource: dict[str, Any] = {"name": piece.name}
    if piece.name == "ports":
        resource["type"] = "RANGES"
        resource["ranges"] = {"range": [{"begin": begin, "end": end} for begin, end in merged(piece.ranges)]}
    else:
        resource["type"] = "SCALAR"
        resource["scalar"] = {"value": piece.amount / UNITS[piece.name]}
    if piece.origin:
        resource.update(json.loads(piece.origin))
    return resource


def merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same numbers, sorted, in as few ranges as possible; ranges that end before they begin are empty."""
    result: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if end < begin:
            continue
        if result and begin <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((begin, end))
    return tuple(result)
