"""ipyparallel's client, surviving the death and the move of its controller."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import ipyparallel
import zmq

from .address import Address, ConnectionFile
from .hearing import Hearing
from .move import Mover
from .pending import QUERIES, Pending
from .words import ControllerLost, engine_died

log = logging.getLogger("ipymesos")

LOOK = 0.25  # seconds between two looks at the connection file
ANSWER = 0.5  # seconds that a hub may take to say that it is there, when its file is gone
PATIENCE = 5.0  # seconds until an engine that says it has moved is taken to be gone, if no controller follows
MOVED = "moved"  # how the reason of an engine begins that leaves its hub for another controller
REQUESTS = ("apply_request", "execute_request")  # for engines; the rest is for the hub
RETIRED = "retired"  # the reason of one that was asked to leave

Message = dict[str, Any]


class Client(ipyparallel.Client):
    """ipyparallel.Client which follows its cluster to another controller, with all its views and AsyncResults.

    It watches its connection file: the one given, or the profile's. When that names another controller, the client
    connects to it. What was outstanding is sent again as its engine comes back; an engine that has run it already
    sends the answer it kept. `pending="fail"`: it fails with ControllerLost instead. An engine that is not back
    `grace` seconds after its controller is given up, and what it had fails with an EngineError.

    With a dictionary as `connection_info`, or through ssh, there is nothing to follow: then this is ipyparallel's.
    """

    def __init__(
        self,
        connection_info: str | Path | dict[str, Any] | None = None,
        *,
        cluster_id: str | None = None,
        pending: Literal["resend", "fail"] = "resend",
        grace: float = 60.0,
        **kwargs: Any,
    ) -> None:
        if pending not in ("resend", "fail"):
            raise ValueError(f"pending: {pending!r} is neither 'resend' nor 'fail'")
        self._given = connection_info = str(connection_info) if isinstance(connection_info, Path) else connection_info
        self._cluster_id = cluster_id
        self._file: ConnectionFile | None = None
        self._stopped = ""  # why nothing is sent any more
        self._mover = Mover(self, pending, grace)
        super().__init__(connection_info, cluster_id=cluster_id, **kwargs)

    # --- connecting, and looking at the file

    def _connect(self, sshserver: Any, ssh_kwargs: dict[str, Any], timeout: float) -> None:
        if not self._ssh and not isinstance(self._given, dict):
            id_ = f"-{self._cluster_id}" if self._cluster_id else ""
            default = lambda: Path(self._profile_dir.security_dir, f"ipcontroller{id_}-client.json")  # noqa: E731
            self._file = ConnectionFile(self._given or default())
            self._find_hub(timeout)
        self._transmit = self.session.send
        self.session.send = self._post
        self.observe(self._hear, "_iopub_socket")
        super()._connect(sshserver, ssh_kwargs, timeout)
        self.unobserve(self._hear, "_iopub_socket")
        self._io_loop.add_callback(self._watch)

    def _hear(self, change: dict[str, Any]) -> None:
        self._hearing = Hearing(change["new"])

    def _start_io_thread(self) -> None:
        """All sockets are connected, and ours alone for the last time."""
        if not self._hearing.wait():
            log.warning("the controller does not let us hear what engines print")
        super()._start_io_thread()

    def _find_hub(self, timeout: float) -> None:
        """Wait for the hub to answer; while it does not, the file may come to name another one."""
        assert self._file is not None
        deadline = time.monotonic() + timeout
        self.session.send(self._query_socket, "connection_request")
        while not self._query_socket.poll(LOOK * 1000):
            address = self._file.changed()
            if address is not None and address != Address.used(self._config):
                self._mover.reconnect(address)
                self.session.send(self._query_socket, "connection_request")
            if time.monotonic() > deadline:
                raise TimeoutError("Hub connection request timed out")
        _, answer = self.session.recv(self._query_socket, mode=0)
        self._mover.hub = answer["header"]["session"]

    def _watch(self) -> None:
        if self._file is None or self._closed:
            return
        self._io_loop.call_later(LOOK, self._watch)
        if not self._look() and self._file.missing > 1 and not self._stopped:
            self._ask_hub(self._cluster_stopped)

    def _look(self) -> bool:
        """Follow the file if it names another controller; whether it does."""
        address = self._file.changed() if self._file is not None else None
        if address is None:
            return False
        if address == Address.used(self._config) and not self._stopped:
            # The same place; is it the same controller?
            if self._mover.hub:
                self._ask_hub(lambda: None, address)
            return False
        log.info("the controller is another one, at %s: following it", address.urls["registration"])
        self._stopped = ""
        self._mover.begin(address)
        return True

    def _ask_hub(self, silent: Callable[[], None], address: Address | None = None) -> None:
        """Call `silent` if the hub does not answer soon; move if it is another one than before."""
        known = self._mover.hub
        question = self._send(self._query_stream, "connection_request")

        def answered() -> None:
            session = question.result()["header"]["session"] if question.exception() is None else known
            if address is not None and self._mover.hub == known != session:
                self._mover.begin(address)

        def late() -> None:
            if not question.done() and self._mover.hub == known:
                question.set_exception(ControllerLost("not answered"))
                silent()

        question.add_done_callback(lambda _: self._io_loop.add_callback(answered))
        self._io_loop.call_later(ANSWER if address is None else PATIENCE, late)

    def _cluster_stopped(self) -> None:
        if self._file is None or not self._file.missing:
            return
        self._stopped = f"the cluster was stopped: {self._file.path.name} is gone, and its controller does not answer"
        log.info(self._stopped)
        for pending in self._mover.book:
            self._mover.fail(pending, ControllerLost(self._stopped))
        self._mover.forget()
        for future in list(self._futures.values()):
            if not future.done():
                future.set_exception(ControllerLost(self._stopped))
        for uuid in list(self._engines.values()):
            self._engine_gone(uuid, self._stopped)

    # --- sending: called in the IO thread, by what ipyparallel's _send() leaves there

    def _post(self, stream: Any, message: Any, *args: Any, **kwargs: Any) -> Any:
        pending = self._pending(stream, message, kwargs) if isinstance(message, dict) else None
        if pending is None:
            return self._transmit(stream, message, *args, **kwargs)
        if self._stopped:
            self._mover.fail(pending, ControllerLost(self._stopped))
        elif self._mover.take(pending):
            return self._transmit(stream, message, *args, **kwargs)
        return {**message, "tracker": zmq.MessageTracker()}  # done: what is sent later is a copy

    def _pending(self, stream: Any, message: Message, kwargs: dict[str, Any]) -> Pending | None:
        """What must be kept of a message in order to send it again; None for those that are sent once."""
        socket, kind = getattr(stream, "socket", stream), message["header"]["msg_type"]
        metadata, msg_id = message["metadata"], message["header"]["msg_id"]
        future = self._futures.get(msg_id)
        if future is None:
            return None
        pending = Pending(stream, message, list(kwargs.get("buffers") or ()), kwargs.get("ident"), {msg_id: future})
        pending.tracked = bool(kwargs.get("track"))
        if kind in QUERIES and socket is self._query_socket:
            return pending
        if kind not in ("apply_request", "execute_request"):
            return None
        if socket is self._mux_socket:
            ident = pending.ident[-1] if isinstance(pending.ident, list) else pending.ident
            pending.kind, pending.engines = "direct", (ident.decode(),)
        elif socket is self._task_socket:
            pending.kind, pending.engines = "balanced", tuple(metadata.get("targets") or ())
            pending.retries = int(metadata.get("retries") or 0)
            future.iopub_callbacks.append(pending.heard)
        else:
            pending.engines = tuple(target[0] for target in metadata["targets"])
            pending.kind = "coalescing" if metadata["is_coalescing"] else "broadcast"
            if pending.kind == "broadcast":
                pending.futures = {uuid: self._futures[f"{msg_id}_{uuid}"] for uuid in pending.engines}
        return pending

    # --- answers

    def _handle_apply_reply(self, message: Message) -> None:
        self._answer(message, super()._handle_apply_reply)

    def _handle_execute_reply(self, message: Message) -> None:
        self._answer(message, super()._handle_execute_reply)

    def _answer(self, message: Message, handle: Callable[[Message], None]) -> None:
        coalescing = self._should_use_metadata_msg_id(message)
        msg_id = message["metadata"]["original_msg_id"] if coalescing else message["parent_header"]["msg_id"]
        future = self._futures.get(msg_id)
        if future is None or future.done():
            return  # a second answer to what was sent twice
        pending, content = self._mover.book.get(msg_id), message["content"]
        if content.get("controller") == "lost" and self._file is not None:
            self._mover.controller_lost()  # said by its task scheduler, for clients that can't follow
            return
        if pending is not None and content["status"] == "error":
            if not content.get("engine_info") and self._word_of_a_scheduler(pending, message, handle):
                return
            if pending.pinned and pending.retries:
                self._mover.retry(pending)
                return
        if pending is not None and pending.kind == "balanced":
            self._mover.answered(msg_id, message["metadata"].get("engine", ""), content["status"] == "ok")
        handle(message)
        if pending is not None and pending.sent > 1:
            self._io_loop.call_later(PATIENCE, self._end_output, self._output_futures.get(msg_id))

    def _word_of_a_scheduler(self, pending: Pending, message: Message, handle: Callable[[Message], None]) -> bool:
        """Is this error a controller's, and not the last word?"""
        name, text = message["content"].get("ename"), str(message["content"].get("evalue"))
        if name == "EngineError":
            if pending.held or self._look():
                return True  # the former scheduler's, whose engines have left it
            if f": {MOVED}" in text and not pending.patient:
                pending.patient = True
                self._unless_moved(handle, message)
                return True
        if name == "ImpossibleDependency" and pending.pinned:
            self._mover.hold(pending)
            return True
        return False

    def _unless_moved(self, handle: Callable[[Message], None], message: Message) -> None:
        """Let `handle` have the message if no other controller has been named soon."""
        moves = self._mover.moves
        self._io_loop.call_later(PATIENCE, lambda: self._mover.moves == moves and handle(message))

    @staticmethod
    def _end_output(future: Any) -> None:
        """What an engine printed while there was no controller never comes."""
        if future is not None and not future.done():
            future.set_result(None)

    def _settle(self, msg_id: str, answer: Exception) -> None:
        """End a request without an answer of an engine."""
        self.outstanding.discard(msg_id)
        for outstanding in self._outstanding_dict.values():
            outstanding.discard(msg_id)
        future, output = self._futures.get(msg_id), self._output_futures.get(msg_id)
        if future is None or future.done():
            self._end_output(output)
        elif future.header["msg_type"] in REQUESTS:
            self.results[msg_id] = answer
            future.set_result(answer)  # AsyncResult raises it
            self._end_output(output)
            if output is None:  # whoever makes this request, in another thread, is about to make it
                self._io_loop.call_later(LOOK, lambda: self._end_output(self._output_futures.get(msg_id)))
        else:
            future.set_exception(answer)  # a question to the hub

    # --- engines

    def _update_engines(self, engines: dict[Any, str]) -> None:
        for id_, uuid in engines.items():
            for other in [k for k, v in self._engines.items() if v == uuid or k == int(id_)]:
                if (other, self._engines[other]) != (int(id_), uuid):
                    self._engines.pop(other)  # renumbered, or its number was given to another one
                    self._ids.remove(other)
        super()._update_engines(engines)
        for uuid in engines.values():
            self._mover.arrived(uuid)

    def _register_engine(self, message: Message) -> None:
        session = message["header"]["session"]
        if session in self._mover.former_hubs:
            return
        if self._file is not None and self._mover.hub not in ("", session):
            # Another controller at the same address, faster than its file: its engines are none of the former one's.
            self._ask_hub(lambda: None, Address.used(self._config))
            return
        super()._register_engine(message)

    def _unregister_engine(self, message: Message) -> None:
        content, reason = message["content"], str(message["content"].get("reason") or "")
        if content.get("controller") == "lost" and self._file is not None:
            self._mover.controller_lost()  # said in place of a hub that has died, for clients that can't follow
            return
        uuid = content.get("uuid") or self._engines.get(int(content["id"]), "")
        if message["header"]["session"] in self._mover.former_hubs or self._look() or uuid in self._mover.gone:
            return
        if reason.startswith(MOVED):
            self._unless_moved(lambda _: self._engine_gone(uuid, reason, content), message)
        else:
            self._engine_gone(uuid, reason, content)

    def _engine_gone(self, uuid: str, reason: str, content: dict[str, Any] | None = None) -> None:
        """Forget this engine, and fail what it had to answer."""
        id_ = self._engines.get(uuid)
        name = uuid if id_ is None else str(id_)
        if reason and not self._stopped:
            say = log.info if reason == RETIRED else log.warning
            say("engine %s has ended: %s", name, reason)
        if id_ is not None:
            self._engines.pop(id_)
            self._ids.remove(id_)
        self._mover.left(uuid, name, reason)
        for msg_id in self._outstanding_dict.pop(uuid, set()):
            self._settle(msg_id, engine_died(name, reason, msg_id))
        if self._task_socket and self._task_scheme == "pure":
            self._stop_scheduling_tasks()
        event = {"event": "unregister", "id": id_, "uuid": uuid, **(content or {})}
        for callback in list(self._registration_callbacks):
            callback(event)
