"""Progress of a cluster as a bar: in a terminal and in a notebook, and nowhere else.

One bar for all of it, which says what is being waited for at the moment, and why once nothing has moved for a while.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from .client import Daemon
from .errors import IPyMesosError, one_line

STALL = 3.0  # seconds without progress after which the reason is shown
PAUSE, POLL = 0.1, 1.0  # seconds between two looks at least, and at most
TICK = 0.9  # seconds between two pictures of the same
FORMAT = "{desc} |{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
WIDTH = 24  # of the bar, in a terminal


@dataclass(frozen=True)
class Stage:
    """What there is to show."""

    what: str  # scheduler, controller, engines, stopping
    done: int = 0
    total: int = 1
    doing: str = ""  # how far the rest is
    why: str = ""  # it waits
    complete: bool = False


def stage(status: dict[str, Any], name: str = "") -> Stage:
    """Of what GET /cluster answers; of one engine set only, if `name` is given."""
    controller, sets = status["controller"], status["engines"]
    if status["state"] == "stopping":
        return ending(status)
    chosen = [engines for set_name, engines in sets.items() if name in ("", set_name)]
    total = sum(engines["wanted"] for engines in chosen)
    if controller["state"] != "running":
        said = controller["message"] or status["explain"]
        return Stage("controller", 0, total or 1, controller["state"] if controller["task"] else "", one_line(said))
    if not chosen:
        return Stage("controller", 1, 1, complete=True)
    states = Counter(task["state"] for engines in chosen for task in engines["tasks"])
    states["ending"] = states.pop("killing", 0)
    doing = ", ".join(f"{n} {state}" for state, n in states.items() if n and state != "running")
    return Stage(
        "engines",
        sum(min(engines["running"], engines["wanted"]) for engines in chosen),
        total,
        doing,
        "; ".join(one_line(engines["message"]) for engines in chosen if engines["message"]),
        all(engines["running"] == len(engines["tasks"]) == engines["wanted"] for engines in chosen),
    )


def ending(status: dict[str, Any]) -> Stage:
    """Of a cluster whose tasks shall all end."""
    left = sum(len(engines["tasks"]) for engines in status["engines"].values()) + bool(status["controller"]["task"])
    why = one_line(status["explain"]) if status["state"] == "stopping" else ""
    return Stage("stopping", -left, 0, f"{left} to end", why)


def place() -> str:
    """Where progress can be shown: 'terminal', 'notebook', or '' for nowhere. IPP_NONINTERACTIVE=1 means nowhere."""
    if os.environ.get("IPP_NONINTERACTIVE", "") not in ("", "0"):
        return ""
    ipython = sys.modules.get("IPython")
    if getattr(ipython and ipython.get_ipython(), "kernel", None) is not None:
        return "notebook"
    return "terminal" if sys.stderr.isatty() else ""


class Bar:
    """Appears with the first `show`. Without a place for it, all this does nothing."""

    def __init__(self, where: str | None = None, leave: bool = True) -> None:
        self.where = place() if where is None else where
        self._leave = leave
        self._bar: Any = None
        self._most = 0  # tasks that there were when the end began
        self._shown: Stage | None = None
        self._shown_at = self._moved_at = 0.0

    def show(self, now: Stage) -> None:
        if not self.where:
            return
        if now.what == "stopping":
            self._most = max(self._most, -now.done)
            now = replace(now, done=self._most + now.done, total=self._most)
        at, last = time.monotonic(), self._shown
        if last is None or (now.what, now.done, now.doing) != (last.what, last.done, last.doing):
            self._moved_at = at
        elif now == last and at - self._shown_at < TICK:
            return
        self._shown, self._shown_at = now, at
        stalled = bool(now.why) and not now.complete and at - self._moved_at >= STALL
        text = now.why if stalled else now.doing
        if self._bar is None:
            self._bar = self._new(now)
        bar = self._bar
        if bar.total != now.total:
            began = bar.start_t
            bar.reset(now.total)
            bar.start_t = began
        bar.n = now.done
        bar.set_description_str(_title(now), refresh=False)
        bar.set_postfix_str(text, refresh=False)
        bar.refresh()

    def close(self, complete: bool = False) -> None:
        if self._bar is None:
            return
        if complete:
            self._bar.n = self._bar.total
            self._bar.set_postfix_str("", refresh=False)
            self._bar.refresh()
        self._bar.close()
        self._bar, self._shown, self._most = None, None, 0

    def _new(self, first: Stage) -> Any:
        what: dict[str, Any] = {"desc": _title(first), "total": first.total, "leave": self._leave}
        if self.where == "notebook":
            try:
                import ipywidgets  # noqa: F401
                from tqdm.notebook import tqdm_notebook
            except ImportError:
                pass
            else:
                return tqdm_notebook(bar_format=FORMAT, **what)
        from tqdm import tqdm

        return tqdm(
            bar_format=FORMAT.replace("{bar}", f"{{bar:{WIDTH}}}"),
            file=Cell() if self.where == "notebook" else sys.stderr,
            dynamic_ncols=True,
            **what,
        )


class Cell:
    """What tqdm writes, as one output of a notebook's cell that changes, so that only the last is kept."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._handle: Any = None

    def write(self, text: str) -> None:
        if not (line := text.strip("\r\n ")):
            return
        from IPython.display import display

        if self._handle is None:
            self._handle = display({"text/plain": line}, raw=True, display_id=True)
        else:
            self._handle.update({"text/plain": line}, raw=True)

    def flush(self) -> None:
        """Nothing is kept back."""


def _title(stage: Stage) -> str:
    return f"{stage.what:10}"


class Progress:
    """Shows how far a cluster is while a `with` block runs.

    `find` gives its scheduler, None while there is none; `show` makes of a status what is shown. `ever`: the bar is
    there only while something is missing.
    """

    def __init__(
        self,
        find: Callable[[], Daemon | None],
        show: Callable[[dict[str, Any]], Stage] = stage,
        bar: Bar | None = None,
        ever: bool = False,
    ) -> None:
        self._find, self._show, self._ever = find, show, ever
        self.bar = bar or Bar()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if self.bar.where:
            cell = contextvars.copy_context().run  # where a notebook's output belongs
            thread = threading.Thread(target=cell, args=(self._run,), name="ipymesos-progress", daemon=True)
            with contextlib.suppress(RuntimeError):  # an interpreter that ends, and stops a cluster, starts none
                thread.start()
                self._thread = thread
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
            self.bar.close(complete=kind is None)

    def _run(self) -> None:
        version: int | None = None
        while not self._closed.wait(PAUSE):
            try:
                daemon = self._find()
                if daemon is None:
                    if version is None and self._show is not ending:
                        self.bar.show(Stage("scheduler", doing="starting"))
                    continue
                status = daemon.status(after=version, timeout=POLL)
            except IPyMesosError:
                version = None
                continue
            version = status["version"]
            now = self._show(status)
            if self._ever and now.complete:
                self.bar.close()  # until something is missing again
            else:
                self.bar.show(now)
