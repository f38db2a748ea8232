"""ipyparallel's cluster, on Mesos, and what can be asked of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from logging import Logger
from typing import Any

import ipyparallel
from traitlets import default

from . import logs as logs_
from .bars import Bar, Progress, Stage, ending, stage
from .client import Daemon
from .errors import ConfigError, IPyMesosError, NotRunning, StartFailed
from .explained import FAINT, Explanation, ended, explain, scheduler
from .following import Client
from .following.cluster import connect_client
from .scaling import LOOK, hopeless, wait_for_engines

CELL = "padding:.1em .8em .1em 0;text-align:left;vertical-align:top"


class Text(str):
    """Text that a prompt and a notebook show as it is, not as a string with quotes."""

    def __repr__(self) -> str:
        return str(self)


class Cluster(ipyparallel.Cluster):
    """ipyparallel.Cluster on Mesos: controller and engines default to "mesos", its clients follow their controller, and
    it can tell what it waits for, what has happened, and what its engines have written.

    `with Cluster(n=4) as client: ...` stops at the end, and at once if the start fails.
    """

    shows_progress = True  # so that our launchers needn't
    _failure = ""  # of a `with` that was undone

    @default("controller_launcher_class")
    def _default_controller(self) -> str:
        return "mesos"

    @default("engine_launcher_class")
    def _default_engines(self) -> str:
        return "mesos"

    # -- what ipyparallel's does, and a little more

    @classmethod
    def from_dict(cls, d: dict[str, Any], **kwargs: Any) -> Cluster:
        """Always one of these, also for the file of a plain ipyparallel.Cluster on Mesos."""
        ours = {**d, "cluster": {**d["cluster"], "class": f"{cls.__module__}.{cls.__name__}"}}
        return super().from_dict(ours, **kwargs)  # type: ignore[no-any-return]

    async def connect_client(self, **client_kwargs: Any) -> Client:
        return await connect_client(self, **client_kwargs)

    async def start_and_connect(self, n: int | None = None, activate: bool = False) -> Client:
        """Start, connect a client, and wait for the engines. In a terminal or a notebook a bar shows how far it is.

        Raises StartFailed with the reason when not all of them can run, or TimeoutError with it after engine_timeout.
        """
        n = self.n if n is None else n
        with self._progress():
            await self.start_cluster(n=n)
            client = await self.connect_client()
            await self._arrival(client, sum(engines.n for engines in self.engines.values()) if n is None else n)
        if activate:
            view = client[:]
            view.block = True
            view.activate()
        return client

    async def _arrival(self, client: Client, n: int) -> None:
        """Wait until the client sees n engines."""
        future = client.wait_for_engines(n, block=False, timeout=self.engine_timeout, interactive=False)
        arrived = asyncio.wrap_future(future)
        try:
            while not (await asyncio.wait((arrived,), timeout=LOOK))[0]:
                for group in self.explain().groups:
                    if why := hopeless(group):
                        raise StartFailed(why)
            arrived.result()
        except TimeoutError as error:
            raise TimeoutError(f"{error} {self.explain().summary}") from None
        finally:
            arrived.cancel()

    async def stop_cluster(self) -> None:
        with self._progress(ending):
            await super().stop_cluster()

    def __exit__(self, *args: Any) -> None:
        with self._progress(ending):
            super().__exit__(*args)

    async def __aexit__(self, *args: Any) -> None:
        with self._progress(ending):
            await super().__aexit__(*args)

    def __enter__(self) -> Client:
        try:
            return super().__enter__()  # type: ignore[no-any-return]
        except BaseException as error:
            self._failure = str(error)
            self.stop_cluster_sync()
            raise

    async def __aenter__(self) -> Client:
        try:
            return await super().__aenter__()  # type: ignore[no-any-return]
        except BaseException as error:
            self._failure = str(error)
            await self.stop_cluster()
            raise

    @contextmanager
    def _progress(self, show: Callable[[dict[str, Any]], Stage] = stage) -> Iterator[None]:
        """A bar while the block runs, and what is logged meanwhile above it."""

        def find() -> Daemon | None:
            try:
                return scheduler(self)
            except NotRunning:
                return None

        with Progress(find, show) as progress:
            if progress.bar.where != "terminal" or not isinstance(self.log, Logger):
                yield
                return
            from tqdm.contrib.logging import logging_redirect_tqdm

            with logging_redirect_tqdm([self.log]):
                yield

    # -- what can be asked of it

    def explain(self) -> Explanation:
        """What it waits for, and why; of one that has failed, why."""
        return ended(self._failure) if self._failure and self.controller is None else explain(self)

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """What has happened, the oldest first; after event number `after`. docs/events.md describes the fields."""
        daemon, found = scheduler(self), []
        while news := daemon.events(after):
            found += news
            after = news[-1]["seq"]
        return found

    def logs(self, *what: str | int, tail: int | None = None, stream: str = "log", engine_set: str = "") -> Text:
        """What has been written by "controller", "scheduler", "engines", an engine by its number, or a task.

        Without a word: scheduler, controller, and engines that ended unasked. `tail`: how many lines of each. `stream`:
        "log" is their own, "stdout" and "stderr" are their container's.
        """
        said = logs_.read(
            scheduler(self), [str(word) for word in what], tail=tail, stream=stream, engine_set=engine_set
        )
        parts = []
        for one in said:
            title = f"==> {one.title} <==\n" if len(said) > 1 else ""
            parts.append(title + one.text + (f"({one.problem})\n" if one.problem else ""))
        return Text("".join(parts))

    def scale(self, n: int, engine_set: str = "", *, wait: bool = True, timeout: float = 300.0) -> None:
        """Let there be n engines, in `engine_set` if there are several.

        With `wait` it returns when they run, and raises StartFailed, with the reason, when that takes more than
        `timeout` seconds or can never be.
        """
        if n < 1:
            raise ConfigError(f"n: {n}; 1 engine is the least. stop_engines() ends a set, stop_cluster() all of it")
        daemon = scheduler(self)
        sets = [name for name, engines in daemon.status()["engines"].items() if engines["state"] != "stopping"]
        if engine_set not in sets and (engine_set or len(sets) != 1):
            raise ConfigError(f"engine_set: choose one of {', '.join(sets) or 'none, as there is none yet'}")
        name = engine_set or sets[0]
        daemon.want_engines(name, n)
        if name in self.engines:
            self.engines[name].n = n
            self.n = n if self.n is not None and len(self.engines) == 1 else self.n
            self.update_cluster_file()
        bar = Bar()
        try:
            if wait:
                wait_for_engines(daemon, name, n, timeout, lambda status: bar.show(stage(status, name)))
        finally:
            bar.close()

    def _repr_html_(self) -> str:
        try:
            daemon = scheduler(self)
            return summary_html(daemon.status(), Explanation(daemon.explain()), daemon.url)
        except IPyMesosError as error:
            return f"<div><b>{escape(repr(self))}</b></div>" + ended(str(error))._repr_html_()


Cluster.__module__ = "ipymesos"  # what a cluster's file says, from which other processes find the class again


# -- for notebooks


def summary_html(status: dict[str, Any], waits: Explanation, url: str) -> str:
    """Where a cluster stands; readable on light and dark pages, as it has no colours of its own."""
    controller = status["controller"]
    name = f"{status['name']} {status['cluster_id']}".strip()
    master = f"Mesos master {status['master']}" if status["connected"] else "no Mesos master"
    link = f'<a href="{escape(url)}" target="_blank" rel="noopener">dashboard</a>'
    where = f" on {controller['agent']}" if controller["agent"] else ""
    rows = [("controller", "", f"{controller['state']}{where}")]
    for engine_set, engines in status["engines"].items():
        rows.append((f"engines {engine_set}", _meter(engines["running"], engines["wanted"]), _states(engines)))
    cell = f'<td style="{CELL}">'
    body = "".join(
        f'<tr><th style="{CELL}">{escape(what)}</th>{cell}{meter}</td>{cell}{escape(said)}</td></tr>'
        for what, meter, said in rows
    )
    return (
        f"<div><b>{escape(name)}</b>: {escape(status['state'])}"
        f' <span style="{FAINT}">{escape(master)}, framework {escape(status["framework_id"] or "(none yet)")}</span>'
        f" {link}</div><table>{body}</table>" + (waits._repr_html_() if waits.groups else "")
    )


def _meter(running: int, wanted: int) -> str:
    width = 100 * min(running, wanted) // wanted if wanted else 100
    return (
        f"{running} of {wanted}"
        '<div style="width:8em;height:.5em;background:rgba(128,128,128,.25);border-radius:.25em">'
        f'<div style="width:{width}%;height:100%;background:rgba(46,139,87,.9);border-radius:.25em"></div></div>'
    )


def _states(engines: dict[str, Any]) -> str:
    states = Counter(task["state"] for task in engines["tasks"])
    hosts = len({task["agent_id"] for task in engines["tasks"]})
    said = ", ".join(f"{n} {state}" for state, n in states.items())
    return f"{said} on {hosts} agent{'s' * (hosts != 1)}" if hosts else engines["state"]
