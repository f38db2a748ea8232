"""Short-lived processes that the zygote forks to say something by ZeroMQ: no socket may exist in itself."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from . import processes


class Helpers:
    """`forget` closes in a forked process what belongs to the zygote alone."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self.pids: set[int] = set()
        self._forget = forget

    def reap(self) -> None:
        for pid in [pid for pid in self.pids if processes.has_ended(pid)]:
            os.waitpid(pid, 0)
            self.pids.remove(pid)

    def tell_hubs(self, news: dict[str, dict[int, str]]) -> None:
        """Which engines have died, and why (by_controller); each hub by a process of its own: one may not answer."""
        for info, reasons in news.items():
            self._fork(lambda info=info, reasons=reasons: _unregister(info, reasons))  # type: ignore[misc]

    def leave_word(self, payload: dict[str, Any], last: int, why: str) -> None:
        """Tell the clients of a controller that has ended that its engines, up to id `last`, are out of reach."""
        self._fork(lambda: _leave_word(payload, last, why))

    def _fork(self, work: Callable[[], None]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            print(f"nobody was told of a death: {error}", file=sys.stderr, flush=True)
            return
        if pid:
            self.pids.add(pid)
            return
        code = 1
        try:
            self._forget()
            signal.set_wakeup_fd(-1)
            processes.die_with_parent()
            work()
            code = 0
        except Exception:
            traceback.print_exc()  # nobody else would: the process ends below
        finally:
            os._exit(code)


def _unregister(info: str, reasons: dict[int, str]) -> None:
    from .unregister import unregister  # ZeroMQ is loaded by now, but not before preload

    unregister(json.loads(info), reasons)


def _leave_word(payload: dict[str, Any], last: int, why: str) -> None:
    from .lastword import leave_word

    leave_word(payload, last, why)
