"""The tasks of this executor, between the agent (through the driver) and the zygote. Runs in the loop's thread."""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Protocol

from . import orders, ports, processes
from .lines import is_news
from .loop import Loop
from .tasks import BadTask, Task, Verdict, by_controller, grace_period, read

log = logging.getLogger(__name__)

IDLE = 60.0  # seconds without any task after which the container is given back
STARTING_AFTER = 2.0  # seconds after its fork for a task to be said to start; most of them run by then
LAST_GRACE = 1.0  # seconds from SIGTERM to SIGKILL when the whole executor ends
PORTS_POLL = 0.02  # seconds between two looks at who listens
PORTS_THOROUGH = 25  # one look in so many goes through all processes, which takes long, though ports are still missing
PORTS_TIMEOUT = 30.0  # seconds for ipcontroller to listen on all its ports
ACKNOWLEDGE = 0.5  # seconds for the agent to take the last status updates; it does not if the framework has ended
HUB_TIMEOUT = 5.0  # seconds
LOOPBACK = "127.0.0.1"
TOO_LONG = "it was to retire, and its work went on longer than it was given"


class Updates(Protocol):
    """What a pack needs of the driver."""

    def sendStatusUpdate(self, status: dict[str, Any]) -> None: ...

    def sendFrameworkMessage(self, data: str) -> None: ...

    def flush(self, timeout: float) -> bool: ...


class Pack:
    """`command` sends a dict to the zygote; `sandbox` is where the tasks' logs go."""

    def __init__(
        self, loop: Loop, updates: Updates, command: Callable[[dict[str, Any]], None], sandbox: str, idle: float = IDLE
    ) -> None:
        self.loop = loop
        self.updates = updates
        self.command = command
        self.sandbox = sandbox
        self.idle = idle
        self.tasks: dict[str, Task] = {}
        self.seen: set[str] = set()
        self.ready = False  # the zygote has imported everything
        self.broken = ""  # why nothing can be forked
        self.killing_state = False  # the framework knows TASK_KILLING
        self.ending: int | None = None  # the executor's exit code, once its end is decided
        self.turn = 0  # counts launches, so that an old idle timer knows it is outdated
        self.loop.later(idle, self.end_if_idle, 0)

    # --- from the agent ------------------------------------------------------------------------------------

    def registered(self, framework: dict[str, Any]) -> None:
        types = {capability.get("type") for capability in framework.get("capabilities", [])}
        self.killing_state = "TASK_KILLING_STATE" in types

    def launch(self, info: dict[str, Any]) -> None:
        name = info["task_id"]["value"]
        if name in self.seen:  # the agent may repeat itself; the task must not
            log.warning("task %s was launched twice; the second time is ignored", name)
            return
        self.seen.add(name)
        self.turn += 1
        try:
            task = read(info)
        except BadTask as error:
            self.say(name, Verdict("TASK_FAILED", str(error), data={"final": True}))
            self.rest()
            return
        task.log = os.path.join(self.sandbox, f"{task.kind}-{name.replace('/', '_')}.log")
        self.tasks[name] = task
        if self.broken:
            self.finish(task, Verdict("TASK_FAILED", self.broken, data={"final": True}))
        elif self.ending is not None:
            self.finish(task, Verdict("TASK_KILLED", "the executor is ending"))
        elif self.ready:
            self.start(task)

    def kill(self, event: dict[str, Any]) -> None:
        task = self.tasks.get(event["task_id"]["value"])
        if task is None:
            return  # it has ended, and the update saying so is on its way
        grace = grace_period(event.get("kill_policy"), task.grace)
        if not task.asked and self.killing_state:
            self.say(task.id, Verdict("TASK_KILLING"))
        task.asked = True
        self.end_task(task, grace)

    def message(self, data: str) -> None:
        """An order of the scheduler's (orders.py)."""
        try:
            name, arguments = orders.read(data)
        except orders.BadOrder as error:
            log.warning("a message from the scheduler is not understood: %s", error)
            return
        getattr(self, name)(*arguments)

    def signal(self, signum: int, wanted: list[str] | None) -> None:
        for task in list(self.tasks.values()):
            if task.pid is not None and (wanted is None or task.id in wanted):
                self.send_signal(task, signum)

    def move(self, controller: str, address: dict[str, Any], wanted: list[str] | None) -> None:
        """Let engines join this controller."""
        for task in list(self.tasks.values()):
            if task.kind != "engine" or (wanted is not None and task.id not in wanted):
                continue
            if task.running and task.payload["controller"] == controller and task.told in ("", controller):
                self.say_running(task)
            elif self.ready:
                task.told = controller
                self.command({"do": "move", "task": task.id, "controller": controller, "engine_info": address})
            else:
                task.join(controller, address)

    def gone(self, controller: str | None, reasons: dict[str, str]) -> None:
        self.command({"do": "gone", "task": controller, "reasons": reasons})

    def ask_load(self) -> None:
        if self.ready:
            self.command({"do": "load"})
        else:
            self.tell_load({})

    def tell_load(self, seconds: dict[str, float]) -> None:
        """Of all engines; one that has not been forked yet is idle."""
        told = {task.id: seconds.get(task.id, 0) for task in self.tasks.values() if task.kind == "engine"}
        pids = {task.pid: task.id for task in self.tasks.values() if task.pid is not None}  # each leads its session
        self.tell({"load": told, "used": {pids[pid]: used for pid, used in processes.usage(pids).items()}})

    def tell(self, content: dict[str, Any]) -> None:
        self.updates.sendFrameworkMessage(base64.b64encode(json.dumps(content).encode()).decode())

    def shutdown(self, state: str, message: str, code: int = 0) -> None:
        """End every task with this state, and then the executor with this exit code."""
        if self.ending is not None:
            return
        self.ending = code
        for task in list(self.tasks.values()):
            task.verdict = task.verdict or Verdict(state, message)
            self.end_task(task, LAST_GRACE)
        self.rest()

    # --- from the zygote -----------------------------------------------------------------------------------

    def heard(self, message: dict[str, Any]) -> None:
        event = message.get("event")
        if not is_news(message):
            log.warning("%r is no news that the zygote may have", event)
        elif event == "ready":
            self.ready = True
            for task in list(self.tasks.values()):
                self.start(task)
        elif event == "failed":
            self.broken = message["message"]
            for task in list(self.tasks.values()):
                self.finish(task, Verdict("TASK_FAILED", self.broken, data={"final": True}))
        elif event == "load":
            self.tell_load(message["load"])
        else:
            task = self.tasks.get(message["task"])
            if task is not None:
                getattr(self, f"_{event}")(task, message)

    def _started(self, task: Task, message: dict[str, Any]) -> None:
        task.pid = message["pid"]
        self.loop.later(STARTING_AFTER, self.say_starting, task)
        if task.kind == "controller":
            self.look_at_ports(task, PORTS_TIMEOUT)

    def _registered(self, task: Task, message: dict[str, Any]) -> None:
        task.engine_id = message["engine_id"]
        task.running = True
        task.join(message["controller"], message["address"])
        self.say_running(task)

    def _checked(self, task: Task, message: dict[str, Any]) -> None:
        if task.kind == "check":
            task.running = True
            self.say(task.id, Verdict("TASK_RUNNING", json.dumps(message["found"])))

    def _queues(self, task: Task, message: dict[str, Any]) -> None:
        self.tell({"queues": message["queues"]})

    def _leaving(self, task: Task, message: dict[str, Any]) -> None:
        task.leaving = True

    def _broken(self, task: Task, message: dict[str, Any]) -> None:
        if not task.asked:
            task.verdict = task.verdict or Verdict("TASK_FAILED", message["message"])

    def _exited(self, task: Task, message: dict[str, Any]) -> None:
        if "error" in message:
            self.finish(task, Verdict("TASK_FAILED", message["error"]))
            return
        code = message["status"]
        verdict = task.ended(code, message["oom"])
        if task.kind == "controller" and not task.running and task.verdict is None and verdict.state == "TASK_FAILED":
            verdict = self.busy(task) or verdict  # somebody was faster, between our look and ipcontroller's bind
        self.finish(task, verdict)

    def zygote_lost(self, why: str) -> None:
        """Its children have died with it: the kernel sees to that."""
        if self.ending is not None and not self.tasks:
            return
        gone = list(self.tasks.values())
        self.ending = self.ending or 1
        for task in gone:
            self.finish(task, task.verdict or Verdict("TASK_FAILED", why))
        self.tell_hub(gone, why)
        self.rest()

    def tell_hub(self, gone: list[Task], why: str) -> None:
        """What the zygote does otherwise. In a process of its own: ZeroMQ is not loaded here."""
        for info, reasons in by_controller((task.payload, task.engine_id, why) for task in gone).items():
            order = json.dumps({"engine_info": json.loads(info), "reasons": reasons})
            try:
                subprocess.run(
                    [sys.executable, "-m", "ipymesos_executor.unregister"], input=order.encode(), timeout=HUB_TIMEOUT
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                log.warning("the hub was not told of dead engines: %s", error)

    # --- tasks ---------------------------------------------------------------------------------------------

    def start(self, task: Task) -> None:
        if task.kind == "controller" and (verdict := self.busy(task)):
            self.finish(task, verdict)
            return
        self.command({"do": "start", "task": task.id, "payload": task.payload, "log": task.log})

    def busy(self, task: Task) -> Verdict | None:
        """The verdict on a controller whose ports somebody else has."""
        ours = ports.listening(processes.session_members(task.pid)) if task.pid is not None else set()  # as it ends
        try:
            taken = [port for port in ports.busy(_addresses(task)) if port not in ours]
        except ports.NotOurAddress as error:
            return Verdict("TASK_FAILED", f"the controller can't listen: {error}", data={"final": True})
        if not taken:
            return None
        return Verdict("TASK_FAILED", f"ports in use by somebody else: {_listed(taken)}", data={"busy_ports": taken})

    def look_at_ports(self, task: Task, left: float) -> None:
        """RUNNING when the controller's processes listen on its ports and on nothing else."""
        if task.id not in self.tasks or task.pid is None or task.verdict is not None:
            return
        wanted = set(task.payload["ports"])
        looks = round(left / PORTS_POLL)
        if (looks + 1) % PORTS_THOROUGH and not _all_busy(task):
            self.loop.later(PORTS_POLL, self.look_at_ports, task, left - PORTS_POLL)
            return
        found = ports.listening(processes.session_members(task.pid))
        if found == wanted:
            task.running = True
            self.say(task.id, Verdict("TASK_RUNNING"))
        elif extra := found - wanted:
            self.fail(task, f"ipcontroller listens on ports it was not given: {_listed(extra)}")
        elif left <= 0:
            self.fail(task, f"ipcontroller does not listen on {_listed(wanted - found)} after {PORTS_TIMEOUT:g} s")
        else:
            self.loop.later(PORTS_POLL, self.look_at_ports, task, left - PORTS_POLL)

    def fail(self, task: Task, message: str) -> None:
        """The verdict is fixed now and told when the process has ended: what it holds is free then."""
        task.verdict = Verdict("TASK_FAILED", message)
        self.end_task(task, 0.0)

    def end_task(self, task: Task, grace: float) -> None:
        """SIGTERM, or SIGHUP for an engine that has no time to retire; and SIGKILL after `grace` seconds."""
        if task.pid is None and not self.ready:
            self.finish(task, task.verdict or Verdict("TASK_KILLED"))
            return
        if grace > 0:
            hasty = task.kind == "engine" and grace <= LAST_GRACE
            self.send_signal(task, signal.SIGHUP if hasty else signal.SIGTERM)
        self.loop.later(grace, self.force, task)

    def force(self, task: Task) -> None:
        if task.id in self.tasks:
            self.send_signal(task, signal.SIGKILL, task.verdict.message if task.verdict else TOO_LONG)

    def send_signal(self, task: Task, signum: int, reason: str = "") -> None:
        self.command({"do": "signal", "task": task.id, "signal": int(signum), "reason": reason})

    def finish(self, task: Task, verdict: Verdict) -> None:
        del self.tasks[task.id]
        self.say(task.id, verdict)
        self.rest()

    def say_starting(self, task: Task) -> None:
        """An update costs everybody up to the scheduler about what a fork costs: a short wait has none."""
        if task.id in self.tasks and not task.running and not task.asked and task.verdict is None:
            self.say(task.id, Verdict("TASK_STARTING"))

    def say_running(self, task: Task) -> None:
        data = {"engine_id": task.engine_id, "pid": task.pid, "controller": task.payload["controller"]}
        self.say(task.id, Verdict("TASK_RUNNING", data=data))

    def say(self, name: str, verdict: Verdict) -> None:
        status: dict[str, Any] = {"task_id": {"value": name}, "state": verdict.state}
        if verdict.message:
            status["message"] = verdict.message
        if verdict.reason:
            status["reason"] = verdict.reason
        if verdict.data is not None:
            status["data"] = base64.b64encode(json.dumps(verdict.data).encode()).decode()
        log.info("task %s: %s %s", name, verdict.state, verdict.message)
        self.updates.sendStatusUpdate(status)

    # --- the end -------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Called whenever there may be nothing left to do."""
        if self.tasks:
            return
        if self.ending is not None:
            if not self.updates.flush(ACKNOWLEDGE):
                log.warning("the agent has not acknowledged every status update")
            self.loop.stop(self.ending)
        else:
            self.loop.later(self.idle, self.end_if_idle, self.turn)

    def end_if_idle(self, turn: int) -> None:
        if not self.tasks and turn == self.turn and self.ending is None:
            log.info("no task for %g s: the executor ends", self.idle)
            self.shutdown("TASK_KILLED", "")


def _all_busy(task: Task) -> bool:
    """Whether it is worth while to see who listens; also when that address has gone meanwhile."""
    addresses = _addresses(task)
    try:
        return len(ports.busy(addresses)) == len(addresses)
    except ports.NotOurAddress:
        return True


def _addresses(task: Task) -> list[tuple[str, int]]:
    """Where a controller listens: (ip, port)."""
    internal = set(task.payload["internal_ports"])
    return [(LOOPBACK if port in internal else task.payload["ip"], port) for port in task.payload["ports"]]


def _listed(numbers: set[int] | list[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
