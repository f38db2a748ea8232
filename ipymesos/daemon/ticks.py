"""Time that passes: for the core, for people who wait, and for a master that doesn't come back."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from ..core.explain import explain
from ..core.messages import Ticked
from ..errors import MesosError
from .owner import Owner
from .view import summary

TICK_WHILE_WAITING, TICK = 0.25, 1.0  # seconds
SAY_WHY_AFTER = 5.0  # seconds of waiting, and again after as many
UNREGISTERED_TIMEOUT = 1.0  # seconds that a stop waits for a registration that is under way
GONE_MASTER_TIMEOUT = 30.0  # seconds that a stop waits for a master that has gone

log = logging.getLogger("ipymesos.daemon")


async def pass_time(owner: Owner, ended: asyncio.Event, patience: float = GONE_MASTER_TIMEOUT) -> MesosError | None:
    """Tick until `ended`, or until a stop has waited `patience` seconds for its master; returns the error of that."""
    told, gone_since = _Told(owner.clock()), owner.clock()
    while not ended.is_set():
        state = owner.state
        said = explain(state, owner.clock())
        waiting = bool(state.cluster.stopping or said.groups)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), TICK_WHILE_WAITING if waiting else TICK)
        owner.post(Ticked())
        told.why(summary(said, state) if waiting or not state.session.connected else "", owner.clock())
        if not state.cluster.stopping or state.session.connected:
            gone_since = owner.clock()
        elif not state.cluster.framework_id:
            if owner.clock() - gone_since > UNREGISTERED_TIMEOUT:
                return None  # no master knows of us, so nothing is left there
        elif owner.clock() - gone_since > patience:
            return MesosError(
                f"the Mesos master was gone for {patience:.0f} s while stopping, so the tasks may still run;"
                " start and stop this cluster again when the master is back"
            )
    return None


class _Told:
    """What was said of why something waits: again only when it has become another reason."""

    def __init__(self, now: float) -> None:
        self.said, self.quiet_until = "", now + SAY_WHY_AFTER

    def why(self, reason: str, now: float) -> None:
        if not reason:
            self.said, self.quiet_until = "", now + SAY_WHY_AFTER
        elif now > self.quiet_until:
            self.quiet_until = now + SAY_WHY_AFTER
            if (without_times := "".join(c for c in reason if not c.isdigit())) != self.said:
                log.info("waiting: %s", reason)
                self.said = without_times
