"""The REST API: who may talk to the daemon, and what the requests look like. Decides nothing about the cluster.

Every request needs the token of the daemon file (`Authorization: Bearer`). The Host header is checked as well, so
that a web page in the user's browser can't reach the API under a name of its own (DNS rebinding).
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import signal
from collections.abc import Iterable
from typing import Any, Protocol
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from ..errors import ConfigError, IPyMesosError

LARGEST_BODY = 1 << 20  # bytes
LONGEST_POLL = 300.0  # seconds
MOST_ENGINES = 10_000

log = logging.getLogger("ipymesos.daemon.web")


class Service(Protocol):
    """What is behind the API. A ConfigError becomes a 400 with its message."""

    def status(self) -> dict[str, Any]: ...

    async def changed(self, version: int, timeout: float) -> None: ...

    def want_engines(
        self, name: str, n: int, options: dict[str, Any] | None, engine_args: list[str] | None
    ) -> dict[str, Any]: ...

    def drop_engines(self, name: str) -> dict[str, Any]: ...

    def signal_engines(self, name: str, signum: int) -> dict[str, Any]: ...

    def explain(self) -> dict[str, Any]: ...

    def stop(self, reason: str) -> dict[str, Any]: ...


class Handler(RequestHandler):
    """What all requests have in common: the checks before, JSON both ways, and the errors' shape."""

    def initialize(self, service: Service, token: str, hosts: frozenset[str]) -> None:
        self.service, self.token, self.hosts = service, token, hosts

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def prepare(self) -> None:
        if self.check_host() and not self.authorized():
            self.set_header("WWW-Authenticate", "Bearer")
            self.refuse(401, "the token of the daemon file is needed: Authorization: Bearer TOKEN")

    def check_host(self) -> bool:
        good = host_of(self.request.headers.get("Host", "")) in self.hosts
        if not good:
            self.refuse(403, "the Host header names another host than this daemon's")
        return good

    def authorized(self) -> bool:
        kind, _, given = self.request.headers.get("Authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self.token.encode())
        return bool(self.token) and kind.lower() == "bearer" and same

    def refuse(self, code: int, message: str) -> None:
        self.set_status(code)
        self.answer({"error": message})

    def answer(self, content: dict[str, Any]) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(content))

    def body(self, *allowed: str) -> dict[str, Any]:
        """The JSON object that was sent; ConfigError if it isn't one or has other fields than those allowed."""
        try:
            content = json.loads(self.request.body or b"{}")
        except ValueError:
            raise ConfigError("the body isn't JSON") from None
        if not isinstance(content, dict):
            raise ConfigError(f"the body must be a JSON object, not {content!r}")
        if unknown := sorted(set(content) - set(allowed)):
            raise ConfigError(f"{unknown[0]}: there is no such field here; allowed: {', '.join(allowed)}")
        return content

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, ConfigError):
            self.refuse(400, str(error))
        elif isinstance(error, IPyMesosError):
            self.refuse(500, str(error))
        else:
            self.refuse(status_code, self._reason)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not isinstance(value, IPyMesosError):
            super().log_exception(typ, value, tb)


class ClusterHandler(Handler):
    async def get(self) -> None:
        after = self.get_query_argument("after", "")
        if after:
            timeout = number("timeout", self.get_query_argument("timeout", "30"))
            await self.service.changed(int(number("after", after)), min(timeout, LONGEST_POLL))
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
        if not isinstance(reason, str) or len(reason) > 500:
            raise ConfigError("reason: a text of up to 500 characters is allowed")
        self.answer(self.service.stop(reason))


class NothingHandler(Handler):
    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            self.refuse(404, "there is nothing here; see /api/v1/cluster")


def number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e15:
        raise ConfigError(f"{name}: {text!r}; a number from 0 on is allowed")
    return value


def host_of(header: str) -> str:
    """The host in a Host header, without its port, brackets or capitals; empty if it is malformed."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def log_request(handler: RequestHandler) -> None:
    """Method, path and outcome; headers, query and body may hold what a log must not."""
    request = handler.request
    level = logging.DEBUG if handler.get_status() < 400 else logging.INFO
    log.log(level, "%s %s %d", request.method, request.path, handler.get_status())


class WebServer:
    """The API on an address of its own. `port` 0 takes a free one; OSError when the address can't be had.

    `names` are further hosts under which it may be reached, `pages` further paths and their handlers.
    """

    def __init__(
        self,
        service: Service,
        token: str,
        ip: str,
        port: int,
        names: Iterable[str] = (),
        pages: Iterable[tuple[str, type[Handler]]] = (),
    ) -> None:
        hosts = frozenset(name.lower() for name in ("127.0.0.1", "localhost", "::1", ip, *names) if name)
        shared = {"service": service, "token": token, "hosts": hosts}
        application = Application(
            [
                (r"/api/v1/cluster", ClusterHandler, shared),
                (r"/api/v1/engines/([^/]+)", EnginesHandler, shared),
                (r"/api/v1/engines/([^/]+)/signal", SignalHandler, shared),
                (r"/api/v1/explain", ExplainHandler, shared),
                (r"/api/v1/stop", StopHandler, shared),
                *((path, handler, shared) for path, handler in pages),
            ],
            default_handler_class=NothingHandler,
            default_handler_args=shared,
            log_function=log_request,
        )
        if not ip:
            raise OSError("an address is needed")  # tornado would take all there are
        sockets = bind_sockets(port, ip)
        self._server = HTTPServer(application, max_body_size=LARGEST_BODY, max_buffer_size=2 * LARGEST_BODY)
        self._server.add_sockets(sockets)
        address, bound = sockets[0].getsockname()[:2]
        if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            log.warning("the REST API at %s isn't encrypted: whoever listens on that network learns its token", address)
        self.url = f"http://{f'[{ip}]' if ':' in ip else ip}:{bound}"

    async def stop(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()
