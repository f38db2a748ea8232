"""A live engine joins another controller in place: same process, same namespace, same id.

It is told through a pipe, one JSON object per line: {"controller": its task's name, "engine_info": its address}. Only
the newest line counts. Nothing changes before the new hub has answered and the new schedulers can reach us.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import zmq
from zmq.eventloop.zmqstream import ZMQStream

from .lines import Lines
from .link import HANDSHAKES, LAST_WORDS, Handshakes, Heartbeat, Link, Refused

if TYPE_CHECKING:
    from .engine import Engine

REASON = "moved to another controller"  # what the former hub and its clients are told
AGAIN = 1.0  # seconds after a hub has refused us, or a scheduler has not answered


class Mover:
    """Lives in the main loop until the engine has a kernel, then in the loop of the control thread.

    That one runs while the main thread computes, so a busy engine moves too, unless C code keeps Python's lock.
    """

    def __init__(self, engine: Engine, orders: int, controller: str) -> None:
        self._engine = engine
        self._orders = orders  # the pipe's end, which does not block
        self._lines = Lines()
        self._target = controller  # the newest one we were told to join
        self._address: dict[str, Any] = {}  # its engine_info as we were told, which is without keys
        self._here = ""  # the one we are registered with
        self._work: asyncio.Future[Any] | None = None
        self._link: Link | None = None
        self._heart: Heartbeat | None = None

    # --- the first registration: main loop ---------------------------------------------------------------------

    async def join(self, timeout: float) -> None:
        """Register for the first time, within `timeout` seconds of the last instruction; asyncio.TimeoutError."""
        engine, loop = self._engine, asyncio.get_running_loop()
        loop.add_reader(self._orders, self._read, self._redirect)
        try:
            answer, target = None, ""
            while answer is None:
                target = self._target
                engine.connection_info |= self._address
                link = Link(engine, engine.connection_info)
                answer = await self._unless_told(asyncio.wait_for(link.ask(), timeout))
                if answer is None:
                    link.drop()
            engine.connection_info, engine.location = link.info, link.info["location"]
            engine.registration_url, engine.registrar = link.url("registration"), link.registrar
            watches = await engine.become(answer)
            link.engine_id, self._link = engine.id, link
            if self._target == target and await self._unless_told(self._reached(watches)):
                self._arrive(target)
            engine.look_away(watches)
        finally:
            loop.remove_reader(self._orders)
        engine.kernel.control_thread.io_loop.add_callback(self._take_over)

    async def _reached(self, watches: list[tuple[Handshakes, int]]) -> bool:
        async def reached() -> None:
            await asyncio.gather(*(watch.wait(peers) for watch, peers in watches))
            await self._engine.kernel.iopub_socket.subscribed()

        try:
            await asyncio.wait_for(reached(), HANDSHAKES)
        except asyncio.TimeoutError:
            self._engine.log.warning("the controller's schedulers have not answered within %g s", HANDSHAKES)
        return True

    async def _unless_told(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What `work` returns, or None if an instruction came first."""
        target = self._target
        self._work = asyncio.ensure_future(work)
        try:
            return await self._work
        except asyncio.CancelledError:
            if self._target == target:
                raise  # it is us who are not wanted any more
            return None

    def _redirect(self, controller: str, address: dict[str, Any]) -> None:
        if controller == self._target:
            return
        self._target, self._address = controller, address
        if self._work is not None:
            self._work.cancel()

    # --- every later one: control thread -----------------------------------------------------------------------

    def _take_over(self) -> None:
        asyncio.get_running_loop().add_reader(self._orders, self._read, self._obey)
        if self._target != self._here:
            self._set_out()

    def _obey(self, controller: str, address: dict[str, Any]) -> None:
        if controller == self._target:
            if controller == self._here:
                self._tell()  # whoever asks again has not heard it
            return
        self._target, self._address = controller, address
        if self._work is not None:
            self._work.cancel()
        if controller == self._here:
            self._tell()  # called back before we had left
        else:
            self._set_out()

    def _set_out(self) -> None:
        self._work = asyncio.ensure_future(self._move(self._target, self._address))

    async def _move(self, controller: str, address: dict[str, Any]) -> None:
        try:
            link = await self._linked(address)
            self._switch(link)
            self._arrive(controller)
        except Exception:  # an address that is none: the next instruction may be better
            self._engine.log.exception("can't move to %s", controller)
            self._target = self._here

    async def _linked(self, address: dict[str, Any]) -> Link:
        while True:
            link = Link(self._engine, {**self._engine.connection_info, **address})
            try:
                await link.join()
                return link
            except (Refused, asyncio.TimeoutError) as error:
                self._engine.log.warning("not registered with the new controller yet: %s", error or "no handshake")
                link.drop()
            except BaseException:
                link.drop()
                raise
            await asyncio.sleep(AGAIN)

    def _switch(self, link: Link) -> None:
        """Leave the former controller for this one, in one go."""
        engine, former = self._engine, self._link
        assert former is not None and link.engine_id is not None
        kernel = engine.kernel
        self._link = link
        engine.shell_socket = link.sockets["shell"]  # from here on no answer leaves by the former one
        kernel.offer(link.sockets["shell"])
        control, engine.control_socket = kernel.control_stream, link.sockets["control"]
        kernel.control_stream = ZMQStream(link.sockets["control"])
        kernel.control_stream.on_recv(control._recv_callback, copy=False)
        control.close(linger=LAST_WORDS)
        engine.renumber(link.engine_id)
        pub, old, new = kernel.iopub_socket, former.url("iopub"), link.url("iopub")
        pub.schedule(lambda: _reconnect(pub.socket, old, new, engine.init_connector()[0]))
        if self._heart is not None:
            self._heart.end()
            self._heart = None
        former.part(REASON)
        engine.connection_info, engine.location = link.info, link.info["location"]
        engine.registration_url, engine.registrar = link.url("registration"), link.registrar

    # --- both ----------------------------------------------------------------------------------------------------

    def _read(self, obey: Callable[[str, dict[str, Any]], None]) -> None:
        try:
            data = os.read(self._orders, 1 << 16)
        except BlockingIOError:
            return
        if not data:  # the zygote has ended, and the kernel is about to end us
            asyncio.get_running_loop().remove_reader(self._orders)
        elif lines := self._lines.feed(data):
            obey(lines[-1]["controller"], lines[-1]["engine_info"])

    def _arrive(self, controller: str) -> None:
        assert self._link is not None
        self._here = controller
        self._heart = Heartbeat(self._engine, self._link)
        self._tell()

    def _tell(self) -> None:
        self._engine.tell_registered(self._here, self._address)


def _reconnect(socket: zmq.Socket, old: str, new: str, connect: Callable[[zmq.Socket, str], Any]) -> None:
    if new != old:
        socket.disconnect(old)
        connect(socket, new)
