"""Says what happens, to all who want to know: the log, the journal, and who counts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace

from .. import __version__
from ..core.explain import Explanation
from ..core.session import Everything
from ..errors import one_line
from .happenings import happenings
from .journal import Journal
from .vocabulary import Happening
from .waiting import Waiting

WISHES = {"engines_wanted", "engines_dropped", "engines_retiring", "stopping"}
# What others write into the log already, or nobody needs to read there.
UNSAID = {"waiting_over", "scheduler_resumed", "trouble", "trouble_over", "framework_removed", "stopped"}

ASKER: ContextVar[str] = ContextVar("asker", default="")  # by whom the request is that is answered at the moment

log = logging.getLogger("ipymesos.daemon")

Count = Callable[[Happening, Everything], None]


class Herald:
    """Belongs to the loop's thread. `count` gets what has happened and the state after it."""

    def __init__(self, journal: Journal, count: Count) -> None:
        self.journal, self._count = journal, count
        self._waiting = Waiting()
        self._trouble = ""

    def watch(self, before: Everything, after: Everything) -> None:
        """Of a turn."""
        for happening in happenings(before, after):
            self.tell(happening, after)

    def begin(self, state: Everything, fresh: bool) -> None:
        n, engines = len(state.cluster.tasks), sum(wish.n for wish in state.cluster.spec.engines.values())
        here = f"scheduler of ipymesos {__version__}, pid {os.getpid()},"
        if fresh:
            kind, text = "scheduler_started", f"{here} starts a cluster; {engines} engines wanted"
        else:
            kind, text = "scheduler_resumed", f"{here} takes over {n} tasks; {engines} engines wanted"
        self.tell(Happening(kind, text, wanted=engines), state)

    def end(self, state: Everything, error: str) -> None:
        why = one_line(error or state.cluster.stopping)
        self.tell(Happening("stopped", f"the scheduler has ended: {why}", reason=why), state)
        self.journal.close()

    def look(self, state: Everything, said: Explanation, now: float, trouble: str) -> None:
        """Now and then: what waits, `said` why. `trouble` is what the scheduler can't do at the moment."""
        if trouble and not self._trouble:
            self.tell(Happening("trouble", trouble, reason=trouble), state)
        elif self._trouble and not trouble:
            self.tell(Happening("trouble_over", "what could not be done is done again"), state)
        self._trouble = trouble
        for happening in self._waiting.look(state, said, now):
            self.tell(happening, state)

    def tell(self, happening: Happening, state: Everything) -> None:
        if happening.kind in WISHES and not happening.by:
            happening = replace(happening, by=ASKER.get())
        if happening.kind not in UNSAID:
            log.info(happening.text)
        self._count(happening, state)
        self.journal.add(happening)
