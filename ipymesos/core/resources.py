"""What agents offer.

Units, here and everywhere inside ipymesos: cpus are integer thousandths of a core (2000 = two cores, so that
no float is ever compared), memory and disk are integer MB as Mesos counts them, GPUs are whole, times are
seconds since the epoch, ports are TCP ports.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """An amount of what Mesos offers, ports aside. cpus in thousandths, mem and disk in MB, gpus whole."""

    cpus: int = 0
    mem: int = 0
    disk: int = 0
    gpus: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(self.cpus + other.cpus, self.mem + other.mem, self.disk + other.disk, self.gpus + other.gpus)

    def times(self, n: int) -> Resources:
        return Resources(self.cpus * n, self.mem * n, self.disk * n, self.gpus * n)


SCALARS = ("cpus", "mem", "disk", "gpus")


@dataclass(frozen=True)
class Piece:
    """One resource of an offer, or of a task: the same shape, since a task must repeat what the offer said.

    `origin` is whatever Mesos wants repeated word for word (reservations, allocation_info), opaque here.
    `reserved` pieces are spent before the ones that everybody may use.
    """

    name: str  # cpus mem disk gpus ports
    amount: int = 0  # of a scalar
    ranges: tuple[tuple[int, int], ...] = ()  # of ports, both ends included
    origin: str = ""
    reserved: bool = False


@dataclass(frozen=True)
class Offer:
    id: str
    agent_id: str
    hostname: str
    ip: str  # the address the agent gives as its own; the controller binds to it
    pieces: tuple[Piece, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    role: str = "*"
    endpoint: str = ""  # host:port where the agent answers HTTP
    unavailable_from: float | None = None  # a maintenance window has been announced


@dataclass(frozen=True)
class InverseOffer:
    """The operators want an agent back, for a while (Mesos: maintenance.md)."""

    id: str
    agent_id: str
    unavailable_from: float
    until: float | None = None  # None: for ever


@dataclass(frozen=True)
class Drain:
    """An agent that is about to be taken away."""

    starts: float
    until: float | None = None
    offer_id: str = ""  # of the inverse offer that announced it; without one it is known from the agent's offers
