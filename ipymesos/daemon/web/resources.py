"""The REST API's resources: what each request looks like. A wrong one is a ConfigError, and becomes a 400."""

from __future__ import annotations

import signal

from ...client import LONGEST_REASON
from ...errors import ConfigError
from . import openapi
from .handler import LONGEST_POLL, Handler, number, whole
from .logs import LogHandler, LogsHandler

MOST_ENGINES = 10_000


class ClusterHandler(Handler):
    queries = ("after", "timeout")

    async def get(self) -> None:
        after = self.get_query_argument("after", None)
        timeout = number("timeout", self.get_query_argument("timeout", "30"))
        if after is not None:
            await self.service.changed(whole("after", after), min(timeout, LONGEST_POLL))
        self.answer(self.service.status())


class EnginesHandler(Handler):
    def put(self, name: str) -> None:
        body = self.body("n", "options", "engine_args")
        n, options, args = body.get("n"), body.get("options"), body.get("engine_args")
        if not isinstance(n, int) or isinstance(n, bool) or not 0 <= n <= MOST_ENGINES:
            raise ConfigError(f"n: {n!r}; a whole number from 0 to {MOST_ENGINES} of engines is allowed")
        if options is not None and not isinstance(options, dict):
            raise ConfigError(f"options: {options!r}; an object of option names and values is allowed")
        if args is not None and not (isinstance(args, list) and all(isinstance(a, str) for a in args)):
            raise ConfigError(f"engine_args: {args!r}; a list of texts is allowed")
        self.answer(self.service.want_engines(name, n, options, args))

    def delete(self, name: str) -> None:
        self.answer(self.service.drop_engines(name))


class SignalHandler(Handler):
    def post(self, name: str) -> None:
        signum = self.body("signal").get("signal")
        if not isinstance(signum, int) or isinstance(signum, bool) or not 0 <= signum < signal.NSIG:
            raise ConfigError(f"signal: {signum!r}; a number from 0 to {signal.NSIG - 1} is allowed")
        self.answer(self.service.signal_engines(name, signum))


class ExplainHandler(Handler):
    def get(self) -> None:
        self.answer(self.service.explain())


class StopHandler(Handler):
    def post(self) -> None:
        reason = self.body("reason").get("reason") or "asked to stop"
        if not isinstance(reason, str) or len(reason) > LONGEST_REASON:
            raise ConfigError(f"reason: a text of up to {LONGEST_REASON} characters is allowed")
        self.answer(self.service.stop(reason))


class DescriptionHandler(Handler):
    def get(self) -> None:
        self.answer(openapi.document())


ROUTES: list[tuple[str, type[Handler]]] = [
    (r"/api/v1/cluster", ClusterHandler),
    (r"/api/v1/engines/([^/]+)", EnginesHandler),
    (r"/api/v1/engines/([^/]+)/signal", SignalHandler),
    (r"/api/v1/explain", ExplainHandler),
    (r"/api/v1/logs", LogsHandler),
    (r"/api/v1/logs/([^/]+)", LogHandler),
    (r"/api/v1/stop", StopHandler),
    (r"/api/v1/openapi.json", DescriptionHandler),
]
