"""A client's move to another controller: its sockets, its engines, and what it has asked for.

Everything here runs in the client's IO thread, between two messages.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import zmq
from ipyparallel import error
from zmq.eventloop.zmqstream import ZMQStream

from .address import SOCKETS, Address
from .pending import Book, Pending
from .plan import Done, Lose, Send, needs, plan, rebase
from .survey import Survey
from .words import ControllerLost, engine_died

if TYPE_CHECKING:
    from .client import Client

log = logging.getLogger("ipymesos")

TICK = 0.1  # seconds between two looks at what waits
ASK = 1.0  # seconds between two questions for the engines of a new hub, while some are missing
UNHEARD = 5.0  # seconds until a question to the hub is asked again
SETTLE = 3.0  # seconds that work which nobody seems to have begun waits for engines that may have
REFUSALS = 30  # ticks until a scheduler must have heard of an engine that its hub knows
DONE_KEPT = 10_000  # answered balanced requests that later ones may depend on


@dataclass(eq=False)
class Move:
    """One that is under way: it ends when every engine is back or given up, and nothing is held."""

    began: float
    survey: Survey
    settled_at: float = 0.0  # from when on nobody is waited for any more, 0 = no engine has come yet
    question: Future[Any] | None = None
    asked_at: float = 0.0


class Mover:
    """What a client knows of engines and requests beyond what ipyparallel's does."""

    def __init__(self, client: Client, pending: str, grace: float) -> None:
        self.client = client
        self.resend = pending == "resend"
        self.grace = grace
        self.book = Book()
        self.move: Move | None = None
        self.moves = 0
        self.hub = ""  # the present one's session, once it has answered
        self.former_hubs: set[str] = set()
        self.here: set[str] = set()
        self.away: set[str] = set()
        self.gone: dict[str, tuple[str, str]] = {}  # engines' names, and why they are, by uuid
        self.done: OrderedDict[str, Done] = OrderedDict()
        self._ticking = False

    @property
    def _now(self) -> float:
        return float(self.client._io_loop.time())

    # --- the move itself

    def begin(self, address: Address) -> None:
        """Leave the present controller for the one at `address`, also in the middle of a move."""
        client = self.client
        self.moves += 1
        if self.hub:
            self.former_hubs.add(self.hub)
        self.hub = ""
        self.away |= self.here
        self.here = set()
        self.move = Move(self._now, Survey(self, self.away))
        if address == Address.used(client._config):
            # ZeroMQ has handed over by itself what waited for the former one: sent again, it could run twice.
            why = "a new controller at the address of the former one may have this already, and can't answer it"
            for pending in self.book:
                if pending.kind == "balanced" and pending.started not in self.away:  # begun by nobody, or by a new one
                    self.fail(pending, ControllerLost(why))
        self.reconnect(address)
        why = "the controller was lost before it answered; ask again"
        tracked = {id(future) for pending in self.book for future in pending.futures.values()}
        for future in list(client._futures.values()):
            if not hasattr(future, "output") and id(future) not in tracked and not future.done():
                future.set_exception(ControllerLost(why))
        for msg_id, output in list(client._output_futures.items()):
            answer = client._futures.get(msg_id)
            if not output.done() and (answer is None or answer.done()):
                output.set_result(None)  # the rest of it was lost with the controller
        for pending in self.book:
            if pending.kind is None:
                self._post(pending, pending.metadata)
            else:
                pending.held, pending.pinned = True, False
                pending.delivered.clear()
        self.controller_lost()
        self._ask(self.move)
        self.tick()

    def controller_lost(self) -> None:
        """What was asked through it fails, if that is wanted."""
        for pending in self.book if not self.resend else ():
            if pending.kind is not None:
                self.fail(pending, ControllerLost("the controller was lost while this request was outstanding"))

    def reconnect(self, address: Address) -> None:
        """Those for requests stay the same objects, as views hold their streams. The subscribers are made anew: libzmq
        ends the process when one is disconnected while it has read the first part of a message ahead (fq.cpp)."""
        client = self.client
        client.session.key = address.key.encode()
        if address.curve_serverkey:
            client.curve_serverkey = address.curve_serverkey.encode()
            if not client.curve_publickey or not client.curve_secretkey:
                client.curve_publickey, client.curve_secretkey = zmq.curve_keypair()
        for name, port in SOCKETS.items():
            socket = getattr(client, f"_{name}_socket")
            if socket is None:
                continue
            stream = getattr(client, f"_{name}_stream", None)
            while stream is not None and stream.sending():
                stream._send_queue.get_nowait()  # meant for the former controller; we send it again ourselves
            if stream is not None and socket.type == zmq.SUB:
                socket = self._subscriber(name, stream)
            else:
                socket.disconnect(client._config[port])
            if address.curve_serverkey:
                socket.curve_serverkey = client.curve_serverkey
                socket.curve_publickey, socket.curve_secretkey = client.curve_publickey, client.curve_secretkey
            socket.connect(address.urls[port])
        client._config.update(address.urls, key=address.key, curve_serverkey=address.curve_serverkey or None)

    def _subscriber(self, name: str, stream: ZMQStream) -> zmq.Socket[bytes]:
        """A new one for this stream, not connected yet; what has arrived of outputs by now is taken in."""
        client = self.client
        while name == "iopub" and stream.socket.poll(0):
            client._dispatch_iopub(stream.socket.recv_multipart(zmq.NOBLOCK, copy=False))
        socket: zmq.Socket[bytes] = client._context.socket(zmq.SUB)
        socket.RCVHWM = 0
        socket.subscribe(b"")
        fresh = ZMQStream(socket, client._io_loop)
        fresh.on_recv(stream._recv_callback, copy=False)
        setattr(client, f"_{name}_socket", socket)
        setattr(client, f"_{name}_stream", fresh)
        stream.stop_on_recv()
        client._io_loop.call_later(TICK, stream.close, 0)  # after what the loop has seen of it already
        return socket

    def _ask(self, move: Move) -> None:
        """Ask the hub for its engines, and again while some are missing: a notification may have come too early."""
        if self.move is not move or self.client._closed:
            return
        if move.question is None or move.question.done() or self._now - move.asked_at > UNHEARD:
            move.asked_at = self._now
            move.question = self.client._send(self.client._query_stream, "connection_request")
            move.question.add_done_callback(lambda future: self.call(self._greeted, move, future))
        self.client._io_loop.call_later(ASK, self._ask, move)

    def _greeted(self, move: Move, future: Future[Any]) -> None:
        if self.move is not move or future.exception() is not None:
            return
        message = future.result()
        self.hub = message["header"]["session"]
        content = message["content"]
        self.client._update_engines(dict(content["engines"]))
        if content.get("awaited") is not None:
            away = [uuid for id_, uuid in self.client._engines.items() if id_ not in content["awaited"]]
            for uuid in self.away.intersection(away):
                self.client._engine_gone(uuid, "it ended while its controller was away")
        self.tick()

    def call(self, function: Any, *args: Any) -> None:
        """From whatever thread resolves a future, into ours."""
        if not self.client._closed:
            self.client._io_loop.add_callback(function, *args)

    def forget(self) -> None:
        """The cluster was stopped."""
        self.move, self.here, self.away = None, set(), set()

    # --- engines

    def arrived(self, uuid: str) -> None:
        """The present hub knows this engine."""
        self.here.add(uuid)
        self.away.discard(uuid)
        self.gone.pop(uuid, None)
        if self.move is not None:
            self.move.settled_at = self.move.settled_at or self._now + SETTLE
            self.call(self.tick)

    def left(self, uuid: str, name: str, why: str) -> None:
        self.here.discard(uuid)
        self.away.discard(uuid)
        self.gone[uuid] = name, why

    # --- requests

    def take(self, pending: Pending) -> bool:
        """Keep a new request; whether it may be sent by whoever made it, now."""
        self.book.add(pending)
        if self.move is not None:
            pending.keep(math.inf)  # it may wait for long, and its owner takes it for sent
        elif self.resend:
            pending.keep(self.client.session.copy_threshold)
        if pending.kind is not None and self.move is not None:
            pending.held = True
            self.tick()
            return False
        if pending.kind == "balanced" and self.moves and needs(pending.metadata):
            self._send(pending, Send(pending.msg_id, pending.engines, retries=pending.retries))
            return False
        pending.sent = 1
        return True

    def tick(self) -> None:
        """Send and give up what can be sent or must be given up by now."""
        move = self.move
        if move is None or self.client._closed:
            return
        if self.away and self._now - move.began > self.grace:
            for uuid in list(self.away):
                self.client._engine_gone(uuid, f"it did not come back within {self.grace:g} s after its controller")
        for step in plan((p.request() for p in self.book.held()), self.here, self.away, self._settled(move)):
            pending = self.book.get(step.msg_id)
            if pending is None:
                continue  # lost with another part of it
            if isinstance(step, Lose):
                self._lose(pending, step.engine)
            else:
                self._send(pending, step)
        if self.hub and not self.away and not self.book.held():
            self.move = None
            if move.survey.former:
                log.info("%d engines are with the new controller, %.2f s later", len(self.here), self._now - move.began)
        elif not self._ticking:
            self._ticking = True
            self.client._io_loop.call_later(TICK, self._tick_again)

    def _tick_again(self) -> None:
        self._ticking = False
        self.tick()

    def _settled(self, move: Move) -> bool:
        """Do we know, of every balanced request that waits, whether an engine has begun it?"""
        if not self.hub or (self.away and not 0 < move.settled_at < self._now):
            return False
        return move.survey.over(self.here, [p for p in self.book.held() if p.kind == "balanced" and p.sent])

    def _send(self, pending: Pending, step: Send) -> None:
        metadata = pending.metadata
        if pending.kind == "balanced":
            metadata = {**rebase(metadata, self.done), "retries": step.retries}
            if step.pinned:
                # A failure is not the scheduler's to repeat: it would find no other engine allowed. See retry().
                metadata.update(targets=list(step.engines), after=[], follow=[], retries=0)
            elif step.retries < pending.retries:
                pending.started = ""
            pending.pinned, pending.retries = step.pinned, step.retries
        elif pending.kind in ("broadcast", "coalescing"):
            metadata["targets"] = [(uuid, self.client._engines[uuid]) for uuid in step.engines]
        pending.delivered.update(step.engines)
        pending.held = pending.kind == "broadcast" and bool(pending.request().engines)
        self._post(pending, metadata)

    def _post(self, pending: Pending, metadata: dict[str, Any]) -> None:
        if pending.sent:
            metadata["resent"] = pending.sent  # another signature: whoever has seen the first one refuses a copy
        pending.sent += 1
        message = {**pending.msg, "metadata": metadata}
        self.client._transmit(pending.stream, message, buffers=pending.buffers, ident=pending.ident)

    def retry(self, pending: Pending) -> None:
        """What an engine had begun before the move has failed there, and may be tried elsewhere."""
        targets = tuple(pending.metadata.get("targets") or ())
        pending.started = ""
        self._send(pending, Send(pending.msg_id, targets, retries=pending.retries - 1))

    def hold(self, pending: Pending) -> None:
        """The scheduler does not let that engine have it: not yet, or as it has refused to run it there."""
        pending.held, pending.pinned = True, False
        pending.refused += 1
        if pending.refused > REFUSALS:
            pending.started = ""
        if self.move is None:
            self.move = Move(self._now, Survey(self, ()))
        self.client._io_loop.call_later(TICK, self.tick)

    def answered(self, msg_id: str, engine: str, ok: bool) -> None:
        """A balanced request."""
        self.done[msg_id] = Done(engine, ok)
        while len(self.done) > DONE_KEPT:
            self.done.popitem(last=False)

    def _lose(self, pending: Pending, uuid: str) -> None:
        pending.delivered.add(uuid)
        died = engine_died(*self.gone.get(uuid, (uuid, "")), pending.msg_id)
        self.fail(pending, died, uuid if pending.kind == "broadcast" else "")

    def fail(self, pending: Pending, why: error.RemoteError, engine: str = "") -> None:
        """Answer it with an error, or what this engine had to answer."""
        for key in [engine] if engine else list(pending.futures):
            msg_id = f"{pending.msg_id}_{key}" if pending.kind == "broadcast" else pending.msg_id
            self.client._settle(msg_id, why)
