"""Time that passes: for the core, for people who wait, and for a master that doesn't come back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from ..core.explain import Explanation, explain
from ..core.messages import Ticked
from ..errors import MesosError
from .owner import Owner

TICK_WHILE_WAITING, TICK = 0.25, 1.0  # seconds
UNREGISTERED_TIMEOUT = 1.0  # seconds that a stop waits for a registration that is under way
GONE_MASTER_TIMEOUT = 30.0  # seconds that a stop waits for a master that has gone


async def pass_time(
    owner: Owner,
    ended: asyncio.Event,
    patience: float = GONE_MASTER_TIMEOUT,
    look: Callable[[Explanation], None] = lambda said: None,
) -> MesosError | None:
    """Tick until `ended`, or until a stop has waited `patience` seconds for its master; returns the error of that.

    `look` is called at each tick, with the reasons for waiting as they were within the last second.
    """
    gone_since = explained_at = owner.clock()
    said = explain(owner.state, explained_at)
    while not ended.is_set():
        state = owner.state
        if owner.clock() - explained_at >= TICK:
            explained_at = owner.clock()
            said = explain(state, explained_at)
        waiting = bool(state.cluster.stopping or said.groups)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), TICK_WHILE_WAITING if waiting else TICK)
        owner.post(Ticked())
        look(said)
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
