"""The address of the REST API and the pages: bounds for whoever connects, and TLS."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application

from ... import tls
from ...errors import ConfigError
from . import events, login, metrics, page, resources, stream, tasks
from .gate import HERE, Gate
from .handler import NothingHandler, Service, log_request

ROOMS = (resources, events, metrics, tasks, stream, login, page)
ROUTES = [route for room in ROOMS for route in room.ROUTES]
LARGEST_BODY = 1 << 18  # bytes
LARGEST_HEAD = 1 << 14  # bytes of method, URL and all headers together
MOST_CONNECTIONS = 250  # at a time; a process has 1024 descriptors or so
PATIENCE = 30.0  # seconds for a request to come in whole, and that a connection may be idle between two


class Server(HTTPServer):
    """With a bound for the connections: whoever comes when there are too many is hung up on."""

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if len(self._connections) < MOST_CONNECTIONS:
            super().handle_stream(stream, address)
        else:
            stream.close()


class WebServer:
    """The API on an address of its own. `port` 0 takes a free one; OSError when the address can't be had.

    `names` are further hosts under which it may be reached. Without `identity` there is no TLS, and ConfigError for an
    address that other machines can reach.
    """

    def __init__(
        self,
        service: Service,
        token: str,
        ip: str,
        port: int,
        names: Iterable[str] = (),
        identity: tls.Identity | None = None,
        patience: float = PATIENCE,
    ) -> None:
        hosts = frozenset(name.lower() for name in (*HERE, ip, *names) if name)
        self.gate = Gate(token, hosts)
        shared = {"service": service, "gate": self.gate}
        application = Application(
            [(path, handler, shared) for path, handler in ROUTES],
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
