"""Fit what is missing into offers; every refusal has a reason.

The funnel's order is fixed: role, attributes, draining, failing, cpus, mem, disk, gpus, ports. The first thing that an
agent lacks is its reason. Reserved resources are spent before the ones everybody may use, and a task repeats the
origin of each piece it takes (Mesos: roles.md, reservation.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from .resources import SCALARS, Offer, Piece, Resources
from .session import Refusal
from .specs import ControllerSpec, EngineSpec

FUNNEL = ("role", "attributes", "draining", "failing", *SCALARS, "ports")


# What a controller's executor takes for itself: the least that Mesos accepts without a warning.
EXECUTOR_SHARE = Resources(cpus=10, mem=32)


def ports_needed(depth: int) -> int:
    """The TCP ports one ipcontroller listens on, for its `broadcast_scheduler_depth`: 15, 18, 24, 36 ...

    Twelve fixed ones; each leaf of the broadcast tree has one for engines, each of its schedulers but the root
    has one for its parent (ipyparallel.controller.app).
    """
    return 12 + 3 * (1 << depth)


@dataclass(frozen=True)
class Lack:
    """What one agent lacks for one task."""

    reason: str
    wanted: str
    offered: str


class Stock:
    """What one agent offers to one role, spent task by task."""

    def __init__(self, offers: Sequence[Offer]) -> None:
        first = offers[0]
        self.offer_ids = tuple(offer.id for offer in offers)
        self.agent_id, self.hostname, self.role = first.agent_id, first.hostname, first.role
        self.ip, self.endpoint = first.ip, first.endpoint
        self.attributes = dict(first.attributes)
        self.unavailable_from = first.unavailable_from
        self.failing = ""  # why this agent is left alone for a while
        self._pieces = sorted((p for offer in offers for p in offer.pieces), key=lambda p: not p.reserved)
        self._amounts: dict[str, int] = {}  # of scalars, all pieces of a name together
        for piece in self._pieces:
            self._amounts[piece.name] = self._amounts.get(piece.name, 0) + piece.amount

    def amount(self, name: str) -> int:
        return self._amounts.get(name, 0)

    def free_ports(self, avoid: Collection[int]) -> int:
        ranges = [r for piece in self._pieces if piece.name == "ports" for r in piece.ranges]
        inside = sum(1 for port in avoid if any(low <= port <= high for low, high in ranges))
        return sum(high - low + 1 for low, high in ranges) - inside

    def lack(
        self, wanted: Resources, constraints: Iterable[tuple[str, str]], ports: int = 0, avoid: Collection[int] = ()
    ) -> Lack | None:
        """The first thing missing in the funnel's order, or None if it fits."""
        for name, value in constraints:
            if self.attributes.get(name) != value:
                return Lack("attributes", f"{name}={value}", f"{name}={self.attributes.get(name, 'unset')}")
        if self.unavailable_from is not None:
            return Lack("draining", "no announced maintenance", "maintenance announced")
        if self.failing:
            return Lack("failing", "an agent on which launches work", self.failing)
        for name in SCALARS:
            if self._amounts.get(name, 0) < getattr(wanted, name):
                return Lack(name, show(name, getattr(wanted, name)), show(name, self.amount(name)))
        if ports and self.free_ports(avoid) < ports:
            return Lack("ports", f"{ports} ports", f"{self.free_ports(avoid)} ports")
        return None

    def take(self, wanted: Resources) -> tuple[Piece, ...]:
        """Spend scalars. The caller has asked `lack` before."""
        taken: list[Piece] = []
        for name in SCALARS:
            need = getattr(wanted, name)
            for i, piece in enumerate(self._pieces):
                part = min(need, piece.amount) if piece.name == name else 0
                if part:
                    taken.append(Piece(name, part, (), piece.origin, piece.reserved))
                    self._pieces[i] = Piece(name, piece.amount - part, (), piece.origin, piece.reserved)
                    self._amounts[name] -= part
                    need -= part
        return tuple(taken)

    def take_ports(self, n: int, avoid: Collection[int]) -> tuple[tuple[Piece, ...], tuple[int, ...]]:
        """Spend n ports, reserved and low ones first; returns the pieces to put into the task, and the ports."""
        taken: list[Piece] = []
        ports: list[int] = []
        for i, piece in enumerate(self._pieces):
            if piece.name != "ports" or len(ports) == n:
                continue
            mine: list[int] = []
            for low, high in sorted(piece.ranges):
                for port in range(low, high + 1):
                    if len(ports) + len(mine) < n and port not in avoid:
                        mine.append(port)
            if mine:
                taken.append(replace(piece, ranges=as_ranges(mine)))
                self._pieces[i] = replace(piece, ranges=without(piece.ranges, mine))
                ports += mine
        return tuple(taken), tuple(ports)


def stocks(offers: Iterable[Offer]) -> list[Stock]:
    """One Stock for each agent and role: offers of two roles can't be accepted together (Mesos: roles.md)."""
    merged: dict[tuple[str, str], list[Offer]] = {}
    for offer in offers:
        merged.setdefault((offer.agent_id, offer.role), []).append(offer)
    return [Stock(group) for group in merged.values()]


def refusal(stock: Stock, group: str, lack: Lack, now: float) -> Refusal:
    return Refusal(group, stock.agent_id, stock.hostname, lack.reason, lack.wanted, lack.offered, now)


def one_task(spec: ControllerSpec | EngineSpec) -> tuple[Resources, int]:
    """The resources and ports of the smallest thing that can be launched: a controller, or a pack of one."""
    if isinstance(spec, ControllerSpec):
        return spec.resources + EXECUTOR_SHARE, ports_needed(spec.depth)
    return spec.resources + spec.pack, 0


def as_ranges(ports: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Ports as Mesos writes them: sorted ranges, both ends included."""
    ranges: list[tuple[int, int]] = []
    for port in sorted(ports):
        if ranges and ranges[-1][1] == port - 1:
            ranges[-1] = (ranges[-1][0], port)
        else:
            ranges.append((port, port))
    return tuple(ranges)


def without(ranges: Iterable[tuple[int, int]], ports: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """The ranges with some ports taken out of them."""
    left = list(ranges)
    for gone_low, gone_high in as_ranges(ports):
        cut: list[tuple[int, int]] = []
        for low, high in left:
            if gone_high < low or gone_low > high:
                cut.append((low, high))
                continue
            if low < gone_low:
                cut.append((low, gone_low - 1))
            if gone_high < high:
                cut.append((gone_high + 1, high))
        left = cut
    return tuple(left)


def show(name: str, amount: int) -> str:
    """An amount in the words of the user's options."""
    if name == "cpus":
        return f"{amount / 1000:g} cpus"
    if name == "gpus":
        return f"{amount} gpus"
    return f"{amount} MB of {'memory' if name == 'mem' else name}"
