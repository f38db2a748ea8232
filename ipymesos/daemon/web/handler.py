"""What all requests have in common: who may ask, JSON both ways, and the shape of an error. Decides nothing more.

Every request needs the token of the daemon file (`Authorization: Bearer`), or the cookie of a browser that has shown it
(logins.py), and what it may be is bounded: see gate.py and docs/security.md. No answer ever lets a web page of another
origin read it (CORS).
"""

from __future__ import annotations

import json
import logging
import re
from math import ceil
from typing import Any, Protocol

from tornado.web import HTTPError, RequestHandler

from ...errors import ConfigError, Gone, IPyMesosError, Unreadable
from ..herald import ASKER
from ..streams import Watcher
from .gate import DEEPEST, Gate, too_deep

LONGEST_MESSAGE = 1000  # characters
LONGEST_POLL = 300.0  # seconds
WORD = "X-IPyMesos-Word"  # header of the dashboard's requests

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

    def logs(self) -> dict[str, Any]: ...

    async def log(
        self, name: str, stream: str, offset: int | None, length: int, tail: int | None
    ) -> dict[str, Any]: ...

    def end_engine(self, task: str, replace: bool) -> dict[str, Any]: ...

    def watch(self, after: int) -> Watcher: ...

    def events(self, after: int) -> dict[str, Any]: ...

    async def happened(self, after: int, timeout: float) -> None: ...

    async def metrics(self) -> tuple[str, bytes]: ...

    def is_metrics_token(self, given: str) -> bool: ...

    def stop(self, reason: str) -> dict[str, Any]: ...


class Handler(RequestHandler):
    """What all requests have in common: the checks before, JSON both ways, and the errors' shape."""

    queries: tuple[str, ...] = ()  # the names that may stand behind the "?"

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
        if not kind:
            return self.logged_in()
        return self.gate.is_token(given.strip()) and kind.lower() == "bearer"

    def logged_in(self) -> bool:
        """Is it the dashboard, with its cookie? To change something it has to say its word, too: see logins.py."""
        headers, cookie = self.request.headers, self.get_cookie(self.cookie_name, "") or ""
        if not cookie or headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return False
        if self.request.method in ("GET", "HEAD"):
            return self.gate.logins.may_read(cookie)
        return "Origin" in headers and self.gate.logins.may_write(cookie, headers.get(WORD, ""))

    def asker(self) -> str:
        """Who it is, as far as they say so."""
        headers = self.request.headers
        if "Authorization" not in headers:
            return "dashboard"
        said = re.fullmatch(r"ipymesos \(([A-Za-z ]{1,20})\)", headers.get("User-Agent", ""))
        return said[1] if said else "REST"

    @property
    def cookie_name(self) -> str:
        """With the port, since browsers share cookies between the ports of a host."""
        port = self.request.host.rpartition(":")[2]
        return f"ipymesos-{port}" if port.isdigit() else "ipymesos"

    def welcome(self) -> None:
        """The last checks of a request by somebody who may ask."""
        self.telling = True
        ASKER.set(self.asker())
        if seconds := self.gate.users.wait():
            self.slow_down(seconds)
        else:
            self.check_shape()

    def check_shape(self) -> None:
        """Only known query parameters, and a body that is declared as JSON: who is of another origin can't do that."""
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if unknown := sorted(set(self.request.query_arguments) - set(self.queries)):
            allowed = ", ".join(self.queries) or "none"
            self.refuse(400, f"{unknown[0][:50]!r}: there is no such query parameter here; allowed: {allowed}")
        elif self.request.body and kind != "application/json":
            self.refuse(415, f"Content-Type: {kind!r}; what is sent here must be application/json")

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
            code = 410 if isinstance(error, Gone) else 502 if isinstance(error, Unreadable) else 500
            self.refuse(code, str(error))
        else:
            self.refuse(status_code, self._reason)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not isinstance(value, (IPyMesosError, HTTPError)):  # those are answered, and are no fault of ours
            super().log_exception(typ, value, tb)


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


def whole(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text, re.ASCII):
        raise ConfigError(f"{name}: {text!r}; a whole number from 0 on is allowed")
    return int(text)


def log_request(handler: RequestHandler) -> None:
    """Method, path and outcome; headers, query and body may hold what a log must not, and the path odd characters."""
    request, status = handler.request, handler.get_status()
    level = logging.INFO if status >= 400 and getattr(handler, "telling", False) else logging.DEBUG
    log.log(level, "%s %s %d", request.method, ascii(request.path)[1:-1][:200], status)
