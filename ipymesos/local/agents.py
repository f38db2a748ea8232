"""What each agent of a local Mesos offers: resources and attributes, in Mesos' own text form.

`cpus:4;mem:8000;ports(role):[31000-31099]` and `rack:r1;zone:a` (Mesos documentation, "Attributes and Resources").
All agents are on one host, so what they offer is declared, not measured: the sum may be more than the host has.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from .errors import FlagError
from .ports import Block

Texts = str | Sequence[str] | None  # one for all agents, or one for each

MAX_AGENTS = 1000
NAME = re.compile(r"[A-Za-z_][\w.-]*\Z")
RESOURCE = re.compile(r"\s*(?P<name>[A-Za-z_][\w.-]*)\s*(?:\(\s*(?P<role>[\w.*/-]+)\s*\))?\s*:\s*(?P<value>.+?)\s*\Z")
SCALAR = re.compile(r"\d+(?:\.\d+)?\Z")
RANGES = re.compile(r"\[\s*(\d+\s*-\s*\d+(?:\s*,\s*\d+\s*-\s*\d+)*)\s*\]\Z")
SET = re.compile(r"\{.*\}\Z")
GENEROUS_CPUS = 128  # times the host's cores, over all agents: enough for trials with many small engines
GENEROUS_MEM = 16  # times the host's memory; neither is enforced on processes
FORM = "allowed: for example 'cpus:4;mem:8000;disk:10000;ports:[31000-31099]', mem and disk in MB"


@dataclass(frozen=True)
class Resource:
    """One resource of an agent, as written; `ranges` of those that are ranges, both ends included."""

    name: str
    role: str
    value: str
    ranges: tuple[Block, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}{f'({self.role})' if self.role else ''}:{self.value}"


def check_count(agents: int, least: int = 1) -> int:
    if not least <= agents <= MAX_AGENTS:
        raise FlagError(f"--agents: {agents} is not allowed; allowed: {least} to {MAX_AGENTS}")
    return agents


def one_each(option: str, texts: Texts, agents: int) -> list[str]:
    """The text of every agent; "" when there is none."""
    given = [texts] if isinstance(texts, str) else list(texts or [])
    if len(given) <= 1:
        return (given or [""]) * agents
    if len(given) != agents:
        raise FlagError(
            f"{option}: given {len(given)} times for {agents} agents; allowed: once for all, or once for each agent"
        )
    return given


def parse_resources(text: str) -> list[Resource]:
    """FlagError for what Mesos would not take, said in our words instead of its log."""
    found: list[Resource] = []
    for part in filter(str.strip, text.split(";")):
        match = RESOURCE.match(part)
        if match is None:
            raise FlagError(f"--resources: {part!r} in {text!r} is not 'name:value'; {FORM}")
        name, role, value = match["name"], match["role"] or "", match["value"]
        ranges: tuple[Block, ...] = ()
        if spans := RANGES.match(value):
            pairs = [span.split("-") for span in spans[1].split(",")]
            ranges = tuple((int(low), int(high)) for low, high in pairs)
            if any(low > high for low, high in ranges):
                raise FlagError(f"--resources: {part!r} has a range that ends before it starts; {FORM}")
        elif not SCALAR.match(value) and not SET.match(value):
            raise FlagError(f"--resources: {value!r} of {name} is not a number, [ranges] or {{set}}; {FORM}")
        if name == "ports" and (not ranges or any(not 1 <= low <= high <= 65535 for low, high in ranges)):
            raise FlagError(f"--resources: {value!r} of ports is not allowed; allowed: ports:[a-b] within 1 to 65535")
        if name in ("cpus", "mem", "disk", "gpus") and not SCALAR.match(value):
            raise FlagError(f"--resources: {value!r} of {name} is not a number; {FORM}")
        found.append(Resource(name, role, value, ranges))
    return found


def check_ports(agents: Sequence[list[Resource]]) -> None:
    """Agents of one host may not offer the same port twice."""
    owner: list[tuple[int, int, int]] = []
    for number, resources in enumerate(agents):
        for resource in resources:
            if resource.name == "ports":
                owner += [(low, high, number) for low, high in resource.ranges]
    owner.sort()
    for (_, high, first), (other, _, second) in pairwise(owner):
        if other <= high:
            raise FlagError(
                f"--resources: port {other} is offered twice, by agent {first} and agent {second}, which share a host; "
                "allowed: ports that differ between agents, or none (each agent then gets its own)"
            )


def wants_ports(resources: list[Resource]) -> bool:
    return all(resource.name != "ports" for resource in resources)


def complete(resources: list[Resource], agents: int, block: Block | None, work_dir: Path) -> str:
    """The agent's flag, with what was left out filled in, so that Mesos has nothing to detect.

    What it detects may differ at the next start, and an agent whose resources changed refuses to recover.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    filled = {
        "cpus": str(max(1, GENEROUS_CPUS * (os.cpu_count() or 1) // agents)),
        "mem": str(max(256, GENEROUS_MEM * memory // agents)),
        "disk": str(max(1024, shutil.disk_usage(work_dir).total // 2**20)),
    }
    if block is not None:
        filled["ports"] = f"[{block[0]}-{block[1]}]"
    present = {resource.name for resource in resources}
    return ";".join([*map(str, resources), *(f"{k}:{v}" for k, v in filled.items() if k not in present)])


def check_attributes(text: str) -> str:
    for part in filter(str.strip, text.split(";")):
        name, colon, value = part.partition(":")
        if not colon or not NAME.match(name.strip()) or not value.strip():
            raise FlagError(
                f"--attributes: {part!r} in {text!r} is not 'name:value'; allowed: such as 'rack:r1;zone:a'"
            )
    return text
