"""What the REST API can ask of the daemon: views of the state, and wishes turned into events."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from traitlets import TraitError

from .. import mesos
from ..config import MesosOptions
from ..core.cluster import State
from ..core.messages import EnginesDropped, EnginesWanted, EngineUnwanted, StopWanted
from ..core.session import Everything
from ..core.specs import CONTROLLER, EngineSpec
from ..errors import ConfigError
from . import metrics_token, view
from .access import in_thread
from .streams import Watcher

MOST_EVENTS = 1000  # in one answer

if TYPE_CHECKING:
    from .app import App
    from .exposition import Exposition


class ClusterService:
    """web.handler.Service for the cluster of `app`. Every wish has had its turn when the answer is made."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._exposition: Exposition | None = None

    def status(self) -> dict[str, Any]:
        app, owner = self.app, self.app.owner
        app.orphan.renew()
        error = str(app.error) if app.error else ""
        return view.status(owner.state, owner.clock(), owner.version, app.paths.cluster_id, error, app.trouble)

    async def changed(self, version: int, timeout: float) -> None:
        self.app.orphan.renew()
        await self.app.owner.changed(version, timeout)

    def want_engines(
        self, name: str, n: int, options: dict[str, Any] | None, engine_args: list[str] | None
    ) -> dict[str, Any]:
        if name == CONTROLLER or not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name):
            raise ConfigError(
                f"engine set {name!r}: a name of letters, digits, '_', '.' and '-' is allowed, and not {CONTROLLER!r}"
            )
        self.app.orphan.renew()
        cluster = self.app.owner.state.cluster
        if cluster.stopping:
            raise ConfigError(f"the cluster is stopping ({cluster.stopping}), it takes no engines")
        spec = None
        if options is not None or engine_args is not None or name not in cluster.spec.engines:
            spec = self._engine_spec(options or {}, engine_args or [])
        self.app.owner.take(EnginesWanted(name, n, spec))
        return view.engine_set(self.app.owner.state, name)

    def _engine_spec(self, options: dict[str, Any], engine_args: list[str]) -> EngineSpec:
        """The daemon's own options with these in their place."""
        own = self.app.options
        try:
            wanted = MesosOptions.from_options({**own.to_options(), **options})
            if wanted.gpus and not own.gpus:
                raise ConfigError(
                    f"gpus: {wanted.gpus}; this cluster was started with gpus 0, and Mesos offers GPUs only to those"
                    " who ask for them from the start"
                )
            return wanted.engine_spec(engine_args)
        except TraitError as error:
            raise ConfigError(str(error)) from error

    def drop_engines(self, name: str) -> dict[str, Any]:
        if name not in self.app.owner.state.cluster.spec.engines:
            raise ConfigError(f"engine set {name!r}: there is none of this name")
        self.app.owner.take(EnginesDropped(name))
        return view.engine_set(self.app.owner.state, name)

    def signal_engines(self, name: str, signum: int) -> dict[str, Any]:
        cluster = self.app.owner.state.cluster
        if name not in cluster.spec.engines:
            raise ConfigError(f"engine set {name!r}: there is none of this name")
        engines = [t for t in cluster.group(name) if t.state in (State.STARTING, State.RUNNING)]
        self.app.tell_executors(mesos.signal_call(cluster, engines, signum))
        return {"signal": signum, "engines": len(engines)}

    def explain(self) -> dict[str, Any]:
        owner = self.app.owner
        self.app.orphan.renew()
        return view.explanation(owner.state, owner.clock(), self.app.trouble)

    def logs(self) -> dict[str, Any]:
        return self.app.logs.listing()

    async def log(self, name: str, stream: str, offset: int | None, length: int, tail: int | None) -> dict[str, Any]:
        self.app.orphan.renew()
        return await self.app.logs.read(name, stream, offset, length, tail)

    def end_engine(self, task: str, replace: bool) -> dict[str, Any]:
        self.app.orphan.renew()
        cluster = self.app.owner.state.cluster
        known = cluster.tasks.get(task)
        if known is None:
            raise ConfigError(f"task {task!r}: there is none of this id, or it has ended")
        if known.group == CONTROLLER:
            raise ConfigError(f"task {task!r} is the controller, no engine")
        if cluster.stopping:
            raise ConfigError(f"the cluster is stopping ({cluster.stopping})")
        self.app.owner.take(EngineUnwanted(task, replace))
        return view.engine_set(self.app.owner.state, known.group)

    def watch(self, after: int) -> Watcher:
        """Whoever opens a stream has asked; whoever has it open all night hasn't."""
        self.app.orphan.renew()
        return self.app.streams.open(after)

    def events(self, after: int) -> dict[str, Any]:
        journal = self.app.herald.journal
        return {"events": journal.after(after)[:MOST_EVENTS], "last": journal.last}

    async def happened(self, after: int, timeout: float) -> None:
        await self.app.herald.journal.wait(after, timeout)

    async def metrics(self) -> tuple[str, bytes]:
        """Their type and text."""
        if self._exposition is None:
            exposition = await in_thread(import_module, f"{__package__}.exposition")
            self._exposition = exposition.Exposition(self.app.metrics, self._now)
        return self._exposition.kind, self._exposition.text()

    def _now(self) -> tuple[Everything, float, str, int]:
        owner = self.app.owner
        return owner.state, owner.clock(), self.app.trouble, self.app.herald.journal.unwritten

    def is_metrics_token(self, given: str) -> bool:
        return metrics_token.matches(self.app.paths.metrics_token, given)

    def stop(self, reason: str) -> dict[str, Any]:
        self.app.owner.take(StopWanted(reason))
        return {"state": "stopping", "reason": self.app.owner.state.cluster.stopping}
