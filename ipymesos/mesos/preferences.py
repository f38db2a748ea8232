"""Which offers are worth making, said to the master so that it need not make the others.

Nothing wanted: no offers at all. Something wanted in vain for a while: only offers that could take one task, of
agents with the right attributes (app-framework-development-guide.md, scheduler-http-api.md). For that while every
offer is welcome, because whoever waits wants to hear what was offered and why it would not do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..core import policy
from ..core.offers import one_task
from ..core.resources import SCALARS, Resources
from ..core.session import Everything
from ..core.specs import EngineSpec
from .resources import UNITS

Json = dict[str, Any]

NARROW_AFTER = 10.0  # seconds without success


@dataclass(frozen=True)
class Preferences:
    suppressed: bool = False
    smallest: tuple[Resources, ...] = ()  # an offer shall contain one of these; none: any offer will do
    constraints: tuple[tuple[tuple[str, str], ...], ...] = ()  # an agent shall have all attributes of one of these

    @property
    def wide(self) -> Preferences:
        """What can be said to every master: the rest came with Mesos 1.9."""
        return replace(self, smallest=(), constraints=())


def preferences(state: Everything, now: float) -> Preferences:
    session = state.session
    demand = policy.demand(state, now)
    if not demand:
        return Preferences(suppressed=True)
    started = max((session.missing_since.get(group, now) for group in demand), default=now)
    if not session.connected or now - max(started, session.subscribed_at) < NARROW_AFTER:
        return Preferences()
    specs = [spec for group in sorted(demand) if (spec := policy.spec_of(state.cluster, group)) is not None]
    # An engine may join a pack that is there.
    smallest = {spec.resources if isinstance(spec, EngineSpec) else one_task(spec)[0] for spec in specs}
    constraints = {spec.constraints for spec in specs}
    return Preferences(
        smallest=tuple(sorted(smallest, key=lambda r: (r.cpus, r.mem, r.disk, r.gpus))),
        constraints=tuple(sorted(constraints)) if all(constraints) else (),
    )


def offer_filters(wanted: Preferences, roles: Sequence[str]) -> Json:
    """FrameworkInfo.offer_filters, the same for each role; empty when every offer is welcome."""
    if not wanted.smallest:
        return {}
    quantities = [
        {"quantities": {n: {"value": getattr(least, n) / UNITS[n]} for n in SCALARS if getattr(least, n)}}
        for least in wanted.smallest
    ]
    return {role: {"min_allocatable_resources": {"quantities": quantities}} for role in roles}


def offer_constraints(wanted: Preferences, roles: Sequence[str]) -> Json:
    """OfferConstraints, understood since Mesos 1.11. They hold for attributes that are text; the core judges all."""
    groups = [
        {
            "attribute_constraints": [
                {"selector": {"attribute_name": name}, "predicate": {"text_equals": {"value": value}}}
                for name, value in attributes
            ]
        }
        for attributes in wanted.constraints
    ]
    return {"role_constraints": {role: {"groups": groups} for role in roles}} if groups else {}
