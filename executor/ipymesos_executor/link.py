"""The sockets by which an engine belongs to one controller. A new set is whole before the former one is left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import zmq
from ipyparallel.controller.heartmonitor import Heart
from ipyparallel.util import disambiguate_ip_address
from zmq.utils.monitor import parse_monitor_message

from .heart import listen_to

if TYPE_CHECKING:
    from .engine import Engine

SHELL = ("mux", "task", "broadcast")  # whose schedulers talk to the one shell socket
HANDSHAKES = 10.0  # seconds, once the hub has answered
LAST_WORDS = 1000  # ms for what was said at the end to leave; a controller that has gone does not take it


class Refused(Exception):
    """The hub does not want us now."""


async def readable(socket: zmq.Socket) -> None:
    """Wait for a message.

    zmq.asyncio forgets the descriptor of a cancelled wait a little too late: it may be another socket's by then.
    """
    loop, changed, fd = asyncio.get_running_loop(), asyncio.Event(), socket.FD
    loop.add_reader(fd, changed.set)  # says no more than that the socket's state may be another one now
    try:
        while not socket.EVENTS & zmq.POLLIN:
            await changed.wait()
            changed.clear()
    finally:
        loop.remove_reader(fd)


class Handshakes:
    """Sees which peers a socket has shaken hands with; to be made before it connects.

    A ROUTER silently drops what it sends to a peer whose handshake is not over, so nobody may hear of us before.
    """

    def __init__(self, socket: zmq.Socket) -> None:
        self._socket = socket
        self._events = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._peers: set[bytes] = set()

    async def wait(self, peers: int) -> None:
        while len(self._peers) < peers:
            await readable(self._events)
            event = parse_monitor_message(self._events.recv_multipart())
            if event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._peers.add(event["endpoint"])
            else:
                self._peers.discard(event["endpoint"])

    def close(self) -> None:
        """Stop looking: both ends, each has its descriptors."""
        self._socket.disable_monitor()
        self._events.close(linger=0)


class Heartbeat(Heart):  # type: ignore[misc]
    """Answers the hub's pings in a thread of its own, without Python's lock, and can be ended."""

    def __init__(self, engine: Engine, link: Link) -> None:
        super().__init__(
            link.url("hb_ping"),
            link.url("hb_pong"),
            heart_id=engine.bident,
            curve_serverkey=engine.curve_serverkey,
            curve_secretkey=engine.curve_secretkey,
            curve_publickey=engine.curve_publickey,
        )
        self._context = zmq.Context()
        self.device.context_factory = lambda: self._context
        self.device.setsockopt_in(zmq.LINGER, 0)
        self.device.setsockopt_out(zmq.LINGER, 0)
        self.device.setsockopt_in(zmq.UNSUBSCRIBE, b"")  # from everything
        for topic in listen_to(engine.bident):
            self.device.setsockopt_in(zmq.SUBSCRIBE, topic)
        self.start()

    def end(self) -> None:
        self._context.term()


class Link:
    """`info` is an engine's connection info, keys included."""

    def __init__(self, engine: Engine, info: dict[str, Any]) -> None:
        protocol, _, ip = info["interface"].partition("://")
        self.info = {**info, "interface": f"{protocol}://{disambiguate_ip_address(ip, info['location'])}"}
        self.engine_id: int | None = None
        self.sockets: dict[str, zmq.Socket] = {}
        self._engine = engine
        self._connect, _ = engine.init_connector()
        self._watches: list[Handshakes] = []
        self.registrar = engine.context.socket(zmq.DEALER)  # without our identity: the former one may be in use yet
        self._connect(self.registrar, self.url("registration"))

    def url(self, name: str) -> str:
        port = self.info[name]
        if name == "broadcast":
            port = port[(self.engine_id or 0) % len(port)]  # which leaf of the controller's tree knows this id
        return f"{self.info['interface']}:{port}"

    async def ask(self) -> list[bytes]:
        """Ask to be registered; the hub's answer. A hub that is not there yet is waited for."""
        content = {"uuid": self._engine.ident}
        if self._engine.id is not None:
            content["id"] = self._engine.id
        self._engine.session.send(self.registrar, "registration_request", content=content)
        await readable(self.registrar)
        return self.registrar.recv_multipart()

    async def join(self) -> None:
        """Register and make the sockets for requests; Refused or asyncio.TimeoutError if that fails."""
        session = self._engine.session
        _, frames = session.feed_identities(await self.ask())
        content = session.deserialize(frames)["content"]
        if content["status"] != "ok":
            raise Refused(content.get("evalue", content["status"]))
        self.engine_id = content["id"]
        self.sockets["shell"] = self._router(*SHELL)
        self.sockets["control"] = self._router("control")
        shell, control = self._watches
        await asyncio.wait_for(asyncio.gather(shell.wait(len(SHELL)), control.wait(1)), HANDSHAKES)
        self._unwatch()

    def _router(self, *names: str) -> zmq.Socket:
        socket = self._engine.context.socket(zmq.ROUTER)
        socket.identity = self._engine.bident
        self._watches.append(Handshakes(socket))
        for name in names:
            self._connect(socket, self.url(name))
        return socket

    def _unwatch(self) -> None:
        while self._watches:
            self._watches.pop().close()

    def part(self, reason: str) -> None:
        """Tell the hub, if it is still there, that we are not."""
        if self.engine_id is None:
            self.registrar.close(linger=0)  # or a hub that is late could still take us for coming
            return
        content = {"id": self.engine_id, "reason": reason}
        self._engine.session.send(self.registrar, "unregistration_request", content=content)
        self.registrar.close(linger=LAST_WORDS)

    def drop(self) -> None:
        """Give up a link that has not come into use."""
        self._unwatch()
        for socket in self.sockets.values():
            socket.close(linger=0)
        self.part("it was told to join another controller")
