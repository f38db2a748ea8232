"""The REST API: who may talk to the daemon, and what the requests look like. Decides nothing about the cluster.

Every request needs the token of the daemon file (`Authorization: Bearer`), and what it may be is bounded: see gate.py
and docs/security.md. No answer ever lets a web page of another origin read it (CORS).
"""

from __future__ import annotations

import ipaddress
import json
import logging
import signal
from collections.abc import Iterable
from math import ceil
from typing import Any, Protocol

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from .. import tls
from ..errors import ConfigError, IPyMesosError
from .gate import DEEPEST, HERE, Gate, too_deep

LARGEST_BODY = 1 << 18  # bytes
LARGEST_HEAD = 1 << 14  # bytes of method, URL and all headers together
MOST_CONNECTIONS = 250  # at a time; a process has 1024 descriptors or so
LONGEST_MESSAGE = 1000  # characters
PATIENCE = 30.0  # seconds for a request to come in whole, and that a connection may be idle between two
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

    takes = "application/json"

    def initialize(self, service: Service, gate: Gate) -> None:
        self.service, self.gate = service, gate
        self.telling = False  # is this request worth a line in the log when it is refused?

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")

    def prepare(self) -> None:
        if self.check_way():
            if self.authorized():
                self.welcome()
            else:
                self.turn_away(401, "the token of the daemon file is needed: Authorization: Bearer TOKEN")

    def check_way(self) -> bool:
        """Is it meant for us, and sent by no web page of somebody else's?"""
        headers = self.request.headers
        if not self.gate.is_host(headers.get("Host", "")):
            self.turn_away(403, "the Host header names another host than this daemon's")
        elif not self.gate.is_origin(headers.get("Origin"), headers.get("Host", "")):
            self.turn_away(403, "the Origin header names another server than this daemon's")
        return not self._finished

    def authorized(self) -> bool:
        kind, _, given = self.request.headers.get("Authorization", "").partition(" ")
        return self.gate.is_token(given.strip()) and kind.lower() == "bearer"

    def welcome(self) -> None:
        """The last checks of a request by somebody who may ask."""
        self.telling = True
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if seconds := self.gate.users.wait():
            self.slow_down(seconds)
        elif self.request.body and kind != self.takes:
            self.refuse(415, f"Content-Type: {kind!r}; what is sent here must be {self.takes}")

    def turn_away(self, code: int, message: str) -> None:
        """Refuse a stranger."""
        if seconds := self.gate.strangers.wait():
            self.slow_down(seconds)
            return
        self.telling = True
        if code == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        self.refuse(code, message)

    def slow_down(self, seconds: float) -> None:
        self.telling = False
        self.set_header("Retry-After", str(ceil(seconds)))
        self.refuse(429, "too many requests at once; try again later")

    def refuse(self, code: int, message: str) -> None:
        self.set_status(code)
        self.answer({"error": message[:LONGEST_MESSAGE]})

    def answer(self, content: dict[str, Any]) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(content))

    def body(self, *allowed: str) -> dict[str, Any]:
        """The JSON object that was sent; ConfigError if it isn't one or has other fields than those allowed."""
        try:
            content = json.loads(self.request.body or b"{}")
            json.dumps(content, ensure_ascii=False).encode()  # halves of a character are no text; Mesos takes none
        except (ValueError, RecursionError):
            raise ConfigError("the body isn't JSON") from None
        if too_deep(content):
            raise ConfigError(f"the body has more than {DEEPEST} levels")
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
        if not isinstance(value, (IPyMesosError, HTTPError)):  # those are answered, and are no fault of ours
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


def log_request(handler: RequestHandler) -> None:
    """Method, path and outcome; headers, query and body may hold what a log must not, and the path odd characters."""
    request, status = handler.request, handler.get_status()
    level = logging.INFO if status >= 400 and getattr(handler, "telling", False) else logging.DEBUG
    log.log(level, "%s %s %d", request.method, ascii(request.path)[1:-1][:200], status)


class Server(HTTPServer):
    """With a bound for the connections: whoever comes when there are too many is hung up on."""

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if len(self._connections) < MOST_CONNECTIONS:
            super().handle_stream(stream, address)
        else:
            stream.close()


class WebServer:
    """The API on an address of its own. `port` 0 takes a free one; OSError when the address can't be had.

    `names` are further hosts under which it may be reached, `pages` further paths and their handlers. Without
    `identity` there is no TLS, and ConfigError for an address that other machines can reach.
    """

    def __init__(
        self,
        service: Service,
        token: str,
        ip: str,
        port: int,
        names: Iterable[str] = (),
        pages: Iterable[tuple[str, type[Handler]]] = (),
        identity: tls.Identity | None = None,
        patience: float = PATIENCE,
    ) -> None:
        hosts = frozenset(name.lower() for name in (*HERE, ip, *names) if name)
        self.gate = Gate(token, hosts)
        shared = {"service": service, "gate": self.gate}
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
        if identity is None and not all(is_loopback(sock.getsockname()[0]) for sock in sockets):
            for sock in sockets:
                sock.close()
            raise ConfigError(
                f"ip: {ip!r} can be reached from other machines, and whoever listens on the way would learn the token:"
                f" set certfile and keyfile ({tls.HOW_TO}), or ip to 127.0.0.1"
            )
        self._server = Server(
            application,
            ssl_options=identity.context if identity else None,
            max_header_size=LARGEST_HEAD,
            max_body_size=LARGEST_BODY,
            max_buffer_size=2 * LARGEST_BODY,
            idle_connection_timeout=patience,
            body_timeout=patience,
        )
        self._server.add_sockets(sockets)
        bound = sockets[0].getsockname()[1]
        self.fingerprint = identity.fingerprint if identity else ""
        self.url = f"{'https' if identity else 'http'}://{f'[{ip}]' if ':' in ip else ip}:{bound}"

    async def stop(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
