"""The shell around pymesos' scheduler driver: events out, calls in.

What pymesos does about failures would cost users their clusters (it tears the framework down when a callback raises,
floods a master that answers 503, waits for ever on a half-open connection, drops calls silently), so the reading
loop, the calls and the ends are ours.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from .. import mesos
from ..core.messages import AgentsHidden, Disconnected, Event, Subscribed
from ..errors import IPyMesosError, MasterUnreachable, MesosError
from ..masters import MESOS_PORT, Address, ZooKeeper, address, parse
from .calls import Caller, Session
from .detector import Detector
from .patience import Patience
from .quiet import MesosSchedulerDriver
from .refusals import Redirected, judge, refusal
from .stream import EventStream, Head, Interrupted, StreamError, TooLate, Unresolvable, Waker, request

log = logging.getLogger(__name__)

ANSWER = 10.0  # seconds for a connection, and for the answer to SUBSCRIBE
HEARTBEAT, SLOWEST_HEARTBEAT = 15.0, 3600.0  # seconds; the first is Mesos' default, SUBSCRIBED says the real one
MISSED = 5  # heart-beats, after which the connection is taken for dead (scheduler-http-api.md)
REDIRECTS = 5  # followed at once; the next ones wait like any failure
PARTING = 2.0  # seconds that stop() may take


class Driver(MesosSchedulerDriver):
    """Keeps one framework subscribed.

    `master` is what masters.parse() takes (ConfigError if not). `post` gets every event and `fatal`, at most once,
    the MesosError for which the driver has given up; both are called from the driver's threads and must not block.
    Until the first registration it gives up after `connect_timeout` seconds, afterwards it tries for ever.
    Nothing but a Teardown call that it was given to send ends the framework. To be started once.
    """

    def __init__(
        self,
        framework: mesos.Framework,
        master: str,
        post: Callable[[Event], None],
        fatal: Callable[[Exception], None],
        connect_timeout: float = 30.0,
    ) -> None:
        self._where = parse(master)
        super().__init__(None, mesos.framework_info(framework), str(self._where), implicit_acknowledgements=False)
        self._roles, self._suppressed = framework.roles, False
        self._post_event, self._fatal = post, fatal
        self._patience = Patience(connect_timeout)
        if framework.principal and framework.secret:
            credentials = f"{framework.principal}:{framework.secret}".encode()
            self._basic_credential = "Basic " + base64.b64encode(credentials).decode("ascii")
        self._waker = Waker()
        self._caller = Caller(self._basic_credential or "", self._on_lost_calls, self._on_teardown)
        self._preferences = self._asked = mesos.Preferences()
        self._asked_in: Session | None = None  # during which the offers of `_asked` were asked for
        self._leader = self._where if isinstance(self._where, Address) else None  # told by the user, or by ZooKeeper
        self._followed: Address | None = None  # the leader that _targets begins with
        self._targets: tuple[Address, ...] = ()  # where to try, in turn: the leader, and where it has sent us
        self._redirects = 0  # in a row
        self._interval = HEARTBEAT
        self._why: StreamError | None = None  # the last attempt failed
        self._lost = ""  # why the calls' thread wants another subscription
        self._teardown_asked = self._tearing_down = False

    # --- what the application calls ---------------------------------------------------------------------------

    def start(self) -> None:
        self._started = True
        self._patience = Patience(self._patience.limit)
        if isinstance(self._where, ZooKeeper):
            hosts = ",".join(map(str, self._where.hosts))
            self.detector = Detector(hosts, self._where.path, self._on_leader, self._where.auth)
            self.detector.start()
        self._caller.start()
        self._io_thread = threading.Thread(target=self._run, name="mesos-events", daemon=True)
        self._io_thread.start()

    def send(self, calls: Iterable[dict[str, Any]]) -> None:
        """Queue calls; they are made in order. Those that can't be made are logged and forgotten."""
        for call in calls:
            self._teardown_asked |= call["type"] == "TEARDOWN"
            self._caller.call(call)

    def prefer(self, preferences: mesos.Preferences) -> None:
        """Which offers are worth making: said at each subscription and when it changes, as far as the master knows how.

        To be called from one thread only, that of send().
        """
        self._preferences = preferences
        session = self._caller.session
        if session is None or not session.updates or preferences.suppressed:
            return
        asked = self._asked if self._asked_in is session else preferences.wide
        if preferences != asked:
            self._caller.call(mesos.update_framework(self._framework, session.framework_id, preferences))
        self._asked, self._asked_in = preferences, session

    def list_agents(self) -> None:
        """Ask for all agents; an AgentsListed follows, or an AgentsHidden."""
        self._caller.get("/master/slaves", self._on_agents, lambda why: self._post(AgentsHidden(why)))

    def flush(self, timeout: float) -> bool:
        """Wait until all that was given to send() has been sent, or given up.

        False when not within `timeout` seconds, or when a TEARDOWN was among it and the master has not taken it.
        """
        return self._caller.flush(timeout) and (self._tearing_down or not self._teardown_asked)

    def stop(self, failover: bool = True) -> None:
        """End the connection and the threads, within two seconds. The framework and its tasks live on."""
        until = time.monotonic() + PARTING
        self._started = False
        self._notify()
        self._caller.stop()
        if self.detector is not None:
            self.detector.stop(PARTING / 2)
        if self._io_thread is not None and self._io_thread is not threading.current_thread():
            self._io_thread.join(max(0.0, until - time.monotonic()))
        self._caller.join(max(0.0, until - time.monotonic()))

    # --- what pymesos asks its subclasses for -----------------------------------------------------------------

    @property
    def framework(self) -> dict[str, Any]:
        """FrameworkInfo: ours as it is. (pymesos would add GPU_RESOURCES.)"""
        return dict(self._framework)

    def gen_request(self) -> bytes:
        """SUBSCRIBE, with what pymesos leaves out: whether any offers are wanted now."""
        preferences = self._preferences
        self._suppressed = preferences.suppressed
        return request(self._master, mesos.subscribe(self._framework, preferences), self._basic_credential or "")

    def change_master(self, new_master: str) -> None:
        self._on_leader(address(new_master, MESOS_PORT))

    def _notify(self) -> None:
        self._waker.wake()

    def _send(self, body: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        """What pymesos' own methods (killTask and so on) end in."""
        self._caller.call(body)
        return {}

    def _shutdown(self) -> None:
        """pymesos would tear the framework down here."""

    # --- the reading thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._started:
                self._waker.clear()
                try:
                    self._subscribe()
                except Interrupted:
                    continue
                except Redirected as redirected:
                    self._targets = (redirected.leader, *(t for t in self._targets if t != redirected.leader))[:3]
                    self._redirects += 1
                    self._failed(redirected, wait=self._redirects > REDIRECTS)
                except StreamError as error:
                    if self._tearing_down:
                        continue
                    self._targets = self._targets[1:] + self._targets[:1]
                    self._failed(error)
        except IPyMesosError as error:
            self._give_up(error)
        except Exception as error:
            log.exception("The driver broke")
            self._give_up(MesosError(f"The connection to Mesos broke by a fault of its own: {error!r}"))

    def _subscribe(self) -> None:
        """One subscription, from the connection to the end of the stream; always ends by an exception."""
        if not self._started:
            raise Interrupted
        if self._followed != self._leader:
            self._followed = self._leader
            self._targets = () if self._followed is None else (self._followed,)
            self._redirects = self._patience.failures = 0
        if self._tearing_down or not self._targets:  # nothing to do but to wait for what will wake us
            self._waker.wait(None, 0, self._patience.left)
            raise StreamError(self.detector.trouble if self.detector is not None else "no master is known")
        self._master = str(self._targets[0])
        stream, reason = EventStream(self._waker), "stopped"
        try:
            stream.connect(self._targets[0], self._patience.until(ANSWER))
            head = stream.open(self.gen_request(), self._patience.until(ANSWER))
            judge(head, self._master)
            for record in stream.records(lambda: self._patience.until(MISSED * self._interval)):
                self._on_record(record, head, stream.peer)
        except Unresolvable as error:
            if not self._patience.endless:
                raise MasterUnreachable(f"The Mesos master {self._where} can't be reached: {error}.") from error
            raise
        except (StreamError, IPyMesosError) as error:
            reason = str(error)
            raise
        except Interrupted:
            if self._lost:
                reason = self._lost
                raise StreamError(reason) from None
            if self._started:
                reason = "another master leads"
            raise
        finally:
            stream.close()
            self._disconnected(reason)

    def _on_record(self, record: bytes, head: Head, peer: Address) -> None:
        try:
            message = json.loads(record)
            kind = message["type"]
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            log.warning("The master sent what is no event (%r): %.200r", error, record)
            return
        if kind == "HEARTBEAT":
            return
        if kind == "ERROR":
            raise refusal(message, self._master)
        event = mesos.event(message)
        if kind == "SUBSCRIBED":
            if not isinstance(event, Subscribed):
                raise StreamError("its SUBSCRIBED can't be understood")
            interval = message["subscribed"].get("heartbeat_interval_seconds")
            usable = isinstance(interval, (int, float)) and 0 < interval <= SLOWEST_HEARTBEAT
            self._interval = float(interval) if usable else HEARTBEAT
            self.framework_id = event.framework_id
            self.stream_id = head.headers["mesos-stream-id"]
            self._patience.success()
            self._redirects = 0
            updates = mesos.takes_updates(message["subscribed"])
            self._caller.session = Session(peer, self.stream_id, event.framework_id, updates)
            log.info("Subscribed at %s as framework %s", self._master, event.framework_id)
            event = replace(event, master=self._master, suppressed=self._suppressed)
        if event is not None:
            self._post(event)

    def _disconnected(self, reason: str) -> None:
        self.stream_id, self._lost = None, ""
        if self._caller.session is not None:
            self._caller.session = None
            self._patience.over()
            self._post(Disconnected(reason))

    def _failed(self, error: StreamError, wait: bool = True) -> None:
        """Wait before the next attempt, longer each time; give up at the end of the patience."""
        seconds = self._patience.failure() if wait else 0.0
        level = logging.WARNING if self._patience.failures in (1, 4) or seconds > 5 else logging.DEBUG
        log.log(level, "Master %s: %s; the next attempt follows in %.2f s", self._master, error, seconds)
        self._waker.clear()  # it may have been the failure itself that woke us
        if not self._started or self._followed != self._leader:
            return
        try:
            self._waker.wait(None, 0, seconds)
        except Interrupted:
            return  # there is news that is worth an attempt, or the end
        left = self._patience.left
        if left is not None and left <= 0:
            if isinstance(error, TooLate) and self._why is not None:  # cut short: what was said before tells more
                error = self._why
            at = "" if self._master in (None, str(self._where)) else f" at {self._master}"
            why = f"(tried for {self._patience.limit:g} s){at}: {error}"
            raise MasterUnreachable(f"The Mesos master {self._where} can't be reached {why}.") from error
        self._why = error

    # --- what other threads tell the reading thread -----------------------------------------------------------

    def _on_leader(self, leader: Address | None) -> None:
        """ZooKeeper's word. Without a leader the connection is kept: a master that lost its office hangs up itself."""
        self._leader = leader
        if leader is not None and (self._caller.session is None or str(leader) != self._master):
            self._notify()

    def _on_lost_calls(self, session: Session, why: str) -> None:
        if self._caller.session is session:
            self._lost = why
            self._notify()

    def _on_teardown(self, begun: bool) -> None:
        """The master ends the stream when a framework ends, and that is no reason to subscribe once more."""
        self._tearing_down = begun
        if not begun:
            self._notify()

    def _on_agents(self, listing: Any) -> None:
        event = mesos.agents(listing, self._roles)
        if event is not None:
            self._post(event)

    def _post(self, event: Event) -> None:
        try:
            self._post_event(event)
        except Exception:  # the application's own fault; the connection goes on for what can still be told
            log.exception("An event could not be handed over: %r", type(event))

    def _give_up(self, error: IPyMesosError) -> None:
        if not self._started:
            return
        self._started = False
        try:
            self._fatal(error)
        except Exception:
            log.exception("The end could not be reported: %s", error)
