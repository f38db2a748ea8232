"""pymesos' executor driver, with its faults repaired (Mesos: docs/executor-http-api.md).

What Mesos' own executor library does and pymesos does not: subscribe at the path of our own agent, keep every
status update until it is acknowledged, send them again when the agent comes back, wait while the agent boots, end
with the agent unless the framework checkpoints. What pymesos does besides, and this driver does not: die of a
repeated launch, interrupt the main thread, kill its own process group, log what the tasks were given.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import select
import signal
import threading
import time
import uuid
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any

_interrupt = signal.getsignal(signal.SIGINT)
from pymesos import Executor, MesosExecutorDriver  # noqa: E402
from pymesos.process import Connection  # noqa: E402
from pymesos.utils import parse_duration  # noqa: E402

signal.signal(signal.SIGINT, _interrupt)  # importing pymesos puts its own in place
logging.getLogger("pymesos").handlers.clear()  # its messages may quote a whole event, keys included
logging.getLogger("pymesos").propagate = False

log = logging.getLogger(__name__)

RETRY = 0.05  # seconds between attempts to reach an agent that boots; it may wait a second only for its executors
RETRY_SLOW = 0.5  # ... that has been away longer than PATIENCE, and does not answer at all
PATIENCE = 10.0
RECOVERY = "15mins"  # how long to wait for an agent that restarts; the agent's own default
HTTP_TIMEOUT = 10.0  # seconds for the agent to answer a call
ASK = 60.0  # seconds of silence after which the agent is asked whether it knows us still
GIVEN_UP = b" cannot be found"  # after "Framework" or "Executor", with HTTP 400
BOOTING = (404, 503)  # the agent's HTTP server is up before its routes are


class Refused(Exception):
    """The agent answered with an error that does not pass."""


class _Subscription(Connection):
    """One streaming connection. pymesos raises what an answer other than 200 means; we want to know the number."""

    booting = False  # the agent has answered that it is not ready

    def read(self) -> bool:
        try:
            more = bool(super().read())
        except (RuntimeError, TypeError):
            code = self._code()
            if code == 200:
                raise
            if code not in BOOTING:
                raise Refused(f"the agent answered the subscription with HTTP {code}") from None
            more = False
        self.booting = not more and self._code() in BOOTING
        return more

    def _code(self) -> int:
        return int(self._parser.get_status_code()) if self._parser.is_headers_complete() else 200


class Driver(MesosExecutorDriver):
    """Calls `executor` (pymesos' interface) from its own thread; `sendStatusUpdate` may be called from any.

    killTask is given the whole KILL event, kill_policy included. When there is nothing more to wait for, after
    the agent has gone or has refused us, executor.error is called, once.
    """

    def __init__(self, executor: Executor, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__(executor, http_timeout=HTTP_TIMEOUT)
        self.checkpoint = environ.get("MESOS_CHECKPOINT") == "1"
        agent = environ["MESOS_SLAVE_PID"].partition("@")[0]  # several agents may share one address
        self.path = f"/{agent}/api/v1/executor"
        self.recovery = parse_duration(environ.get("MESOS_RECOVERY_TIMEOUT", RECOVERY))
        self._change = threading.Condition()
        self._unsent: list[bytes] = []  # uuids, in order; self.updates holds everything unacknowledged
        self._messages: list[str] = []  # for the framework
        self._subscribed = False
        self._token = environ.get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "")
        self._last_problem = ""

    def start(self) -> None:
        super().start()
        threading.Thread(target=self._send_updates, name="status updates", daemon=True).start()

    def stop(self) -> None:
        super().stop()
        with self._change:
            self._change.notify_all()

    # --- the connection ------------------------------------------------------------------------------------

    def gen_request(self) -> bytes:
        """SUBSCRIBE with every task and update the agent may not know of; those need no call of their own then."""
        with self._change:
            self._unsent.clear()
            subscribe = {
                "unacknowledged_tasks": list(self.tasks.values()),
                "unacknowledged_updates": list(self.updates.values()),
            }
        body = self._call("SUBSCRIBE", subscribe=subscribe)
        headers = {"Host": self.master, "Connection": "close", "Content-Length": str(len(body)), **self._headers()}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{head}\r\n".encode() + body

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _call(self, kind: str, **content: Any) -> bytes:
        call = {"type": kind, "framework_id": self.framework_id, "executor_id": self.executor_id, **content}
        return json.dumps(call).encode()

    def _run(self) -> None:
        """The thread: subscribe, hear what the agent says, and again when the connection has ended."""
        self._master = self._new_master
        away_since = time.monotonic()
        try:
            while self._started:
                booting = self._converse()
                if not self._started:
                    return
                if self._subscribed:
                    self._set_subscribed(False)
                    away_since = time.monotonic()
                    self.executor.disconnected(self)
                    if not self.checkpoint:
                        self.executor.error(self, "the agent has gone, and the framework does not checkpoint")
                        return
                away = time.monotonic() - away_since
                if away > self.recovery:
                    self.executor.error(self, f"the agent did not come back within {self.recovery:g} s")
                    return
                pause = RETRY if booting or away < PATIENCE else RETRY_SLOW
                select.select([self._wakeup_fds[0]], [], [], pause)
        except Refused as error:
            self.executor.error(self, str(error))
        except Exception as error:  # a fault of ours: end loudly, but say so from the thread that owns the tasks
            log.exception("the connection to the agent has failed")
            self.executor.error(self, f"fault in the executor's driver: {error!r}")

    def _converse(self) -> bool:
        """One connection, from its begin to its end; whether it has met an agent that boots."""
        try:
            connection = _Subscription(self.master, self)
        except OSError as error:
            self._note(str(error))
            return False
        try:
            while self._started:
                want = [connection] if connection.want_write() else []
                readable, writable, _ = select.select([connection, self._wakeup_fds[0]], want, [])
                if self._wakeup_fds[0] in readable:
                    os.read(self._wakeup_fds[0], 4096)
                    continue
                if not connection.connected and (problem := connection.handle_connect_event()):
                    self._note(problem)
                    break
                if writable and not connection.write():
                    break
                if readable and not connection.read():
                    break
            return connection.booting
        finally:
            connection.close()
            self.stream_id = None

    def _note(self, problem: str) -> None:
        if problem != self._last_problem:
            log.warning("agent %s: %s", self.master, problem)
            self._last_problem = problem

    def on_close(self) -> None:
        """Called for every end of a connection, also of one that never was; _run decides what it means."""

    # --- what the agent says -------------------------------------------------------------------------------

    def on_subscribed(self, info: dict[str, Any]) -> None:
        self._last_problem = ""
        self._set_subscribed(True)
        super().on_subscribed(info)

    def on_launch(self, event: dict[str, Any]) -> None:
        task = event["task"]
        with self._change:
            self.tasks[task["task_id"]["value"]] = task
        self.executor.launchTask(self, task)

    def on_kill(self, event: dict[str, Any]) -> None:
        self.executor.killTask(self, event)

    def on_acknowledged(self, event: dict[str, Any]) -> None:
        with self._change:
            self.updates.pop(base64.b64decode(event["uuid"]), None)
            self.tasks.pop(event["task_id"]["value"], None)  # the agent has heard of it, so it knows it was launched
            self._change.notify_all()

    def on_shutdown(self) -> None:
        self.executor.shutdown(self)

    # --- what we say ---------------------------------------------------------------------------------------

    def sendStatusUpdate(self, status: dict[str, Any]) -> None:
        """Queue it; it is kept until the agent acknowledges it."""
        name = uuid.uuid4().bytes
        filled = {
            "timestamp": time.time(),
            "source": "SOURCE_EXECUTOR",
            "executor_id": self.executor_id,
            "uuid": base64.b64encode(name).decode(),
            **status,
        }
        with self._change:
            self.updates[name] = {"status": filled}
            self._unsent.append(name)
            self._change.notify_all()

    def sendFrameworkMessage(self, data: str) -> None:
        """Queue it; it may be lost, as Mesos itself may lose it."""
        with self._change:
            self._messages.append(data)
            self._change.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until everything is acknowledged; `timeout` in seconds. False if it is not by then."""
        with self._change:
            return self._change.wait_for(lambda: not self.updates, timeout)

    def _set_subscribed(self, subscribed: bool) -> None:
        with self._change:
            self._subscribed = subscribed
            self._change.notify_all()

    def _send_updates(self) -> None:
        """The other thread."""
        try:
            self._send_in_order()
        except Refused as error:
            self.executor.error(self, str(error))
        except Exception as error:  # a fault of ours, as in _run
            log.exception("status updates can't be sent")
            self.executor.error(self, f"fault in the executor's driver: {error!r}")

    def _send_in_order(self) -> None:
        connection: HTTPConnection | None = None
        pause = RETRY
        while self._started:
            with self._change:
                silent = not self._change.wait_for(self._has_work, ASK)
                if not self._started:
                    return
                if silent and not self._subscribed:
                    continue
                messages, self._messages = self._messages, []
                name = self._unsent[0] if self._unsent else b""
                update = self.updates.get(name)
            try:
                connection = connection or self._open()
                if update is not None:
                    self._post(connection, self._call("UPDATE", update=update))
                for data in messages:
                    self._post(connection, self._call("MESSAGE", message={"data": data}))
                if silent:
                    self._post(connection, self._call("UNKNOWN"), accepted=501)
            except (OSError, HTTPException) as error:
                log.warning("not told to the agent yet: %s", error)
                if connection is not None:
                    connection.close()
                connection = None
                with self._change:
                    self._change.wait(pause)
                pause = min(pause * 2, RETRY_SLOW)
                continue
            pause = RETRY
            with self._change:
                if self._unsent and self._unsent[0] == name:  # a new subscription may have taken all with it
                    self._unsent.pop(0)

    def _has_work(self) -> bool:
        return not self._started or (self._subscribed and bool(self._unsent or self._messages))

    def _open(self) -> HTTPConnection:
        host, _, port = self.master.rpartition(":")
        return HTTPConnection(host.strip("[]"), int(port), timeout=HTTP_TIMEOUT)

    def _post(self, connection: HTTPConnection, body: bytes, accepted: int = 202) -> None:
        """Mesos' agent gives up an executor whose launch it could not watch to its end, as when Docker's engine dies
        meanwhile, and does not tell it. It answers such a one, and none else, with this error; it looks for the
        executor before the type of the call, except for HEARTBEAT, so UNKNOWN is the call that does nothing else.
        """
        headers = self._headers()
        if self.stream_id:
            headers["Mesos-Stream-Id"] = self.stream_id
        connection.request("POST", self.path, body=body, headers=headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != accepted:
            problem = f"HTTP {answer.status}: {text.decode(errors='replace')[:200]}"
            raise Refused(f"the agent gave us up: {problem}") if GIVEN_UP in text else HTTPException(problem)
