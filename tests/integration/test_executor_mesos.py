"""The executor on a real Mesos: statuses, kills, deaths, messages, and the agent's own failures."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import psutil
import pytest
from ipymesos_executor import processes

from ipymesos.local import LocalMesos
from tests.helpers import eventually

from .executor_kit import payloads, work
from .executor_mesos import Playground

pytestmark = pytest.mark.mesos


@pytest.fixture(scope="module")
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos() as local:
        yield local


@pytest.fixture
def play(mesos: LocalMesos, tmp_path: Path) -> Iterator[Playground]:
    with playing(mesos, tmp_path) as playground:
        yield playground


def playing(mesos: LocalMesos, tmp_path: Path, checkpoint: bool = False) -> Playground:
    """What is killed leaves its temporary folder behind: let it be in the test's own."""
    playground = Playground(mesos.master, checkpoint)
    playground.environment = {"TMPDIR": str(tmp_path)}
    return playground


def executors(mesos: LocalMesos, name: str = "") -> list[psutil.Process]:
    """The processes of executors of this Mesos, zygotes included, whatever framework they are of."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            where = process.cwd()
        except psutil.Error:
            continue
        ours = "ipymesos_executor" in " ".join(process.info["cmdline"] or ())
        if ours and str(mesos.work_dir) in where and f"/executors/{name}" in where:
            found.append(process)
    return found


def executor(mesos: LocalMesos, name: str) -> psutil.Process:
    """The executor itself: the one of these that no other has started."""
    those = executors(mesos, name)
    pids = {process.pid for process in those}
    return next(process for process in those if process.ppid() not in pids)


def start(play: Playground, n: int = 4) -> tuple[dict[str, Any], dict[str, Any], ipp.Client]:
    controller, engine = payloads()
    play.launch("c", "controller", {"ctl": controller})
    play.launch("p", "engines", {f"e{i}": engine for i in range(n)}, "--preload", "numpy")
    play.expect("ctl", "TASK_RUNNING")
    for i in range(n):
        play.expect(f"e{i}", "TASK_RUNNING")
    client = ipp.Client(controller["client_info"])
    eventually(lambda: len(client) == n)
    return controller, engine, client


def test_how_the_agent_answers_an_executor_that_it_knows_and_others(mesos: LocalMesos, play: Playground) -> None:
    controller, _ = payloads()
    play.launch("c", "controller", {"ctl": controller})
    play.expect("ctl", "TASK_RUNNING")
    (agent,) = {process.environ()["MESOS_SLAVE_PID"] for process in executors(mesos, "c")}
    name, _, address = agent.partition("@")

    def ask(executor: str, framework: str) -> tuple[int, str]:
        call = {"type": "UNKNOWN", "executor_id": {"value": executor}, "framework_id": {"value": framework}}
        host, _, port = address.rpartition(":")
        connection = HTTPConnection(host, int(port), timeout=10)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"/{name}/api/v1/executor", json.dumps(call), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    assert ask("c", play.driver.framework_id)[0] == 501
    assert ask("d", play.driver.framework_id) == (400, "Executor cannot be found")
    assert ask("c", "another") == (400, "Framework cannot be found")


def test_a_pack_from_begin_to_end(mesos: LocalMesos, play: Playground) -> None:
    controller, engine, client = start(play)
    with client:
        assert play.states("ctl") == ["TASK_RUNNING"]
        told = {f"e{i}": play.expect(f"e{i}", "TASK_RUNNING")["data"] for i in range(4)}
        assert sorted(say["engine_id"] for say in told.values()) == [0, 1, 2, 3]
        pids = client[:].apply_sync(os.getpid)
        assert sorted(say["pid"] for say in told.values()) == sorted(pids)

        # what a crash leaves in the sandbox must not hold keys
        limits = client[:].apply_sync(ipp.interactive(lambda: __import__("resource").getrlimit(4)[0]))
        assert limits == [0] * 4

        # a kill
        play.driver.killTask({"value": "e0"})
        play.expect("e0", "TASK_KILLED")
        assert play.states("e0") == ["TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]
        eventually(lambda: told["e0"]["engine_id"] not in client.ids)

        # a death
        os.kill(told["e1"]["pid"], signal.SIGSEGV)
        assert play.expect("e1", "TASK_FAILED")["message"] == "killed by SIGSEGV"
        eventually(lambda: told["e1"]["engine_id"] not in client.ids)

        # the hub's shutdown of one engine
        client.shutdown(targets=told["e2"]["engine_id"], block=True)
        assert play.expect("e2", "TASK_FINISHED")["message"] == "shut down through the hub"

        # a further engine on the same executor
        play.launch("p", "engines", {"e4": engine}, "--preload", "numpy")
        assert play.expect("e4", "TASK_RUNNING")["data"]["engine_id"] == 4

        # a signal by message: to one, then to all
        result = client[told["e3"]["engine_id"]].execute("import time; time.sleep(60)")
        eventually(lambda: client.queue_status(told["e3"]["engine_id"])["queue"] == 1)
        eventually(lambda: "execute_request" in log_of(mesos, "engine-e3").rstrip().split("\n")[-1])
        signal_engines(play, signal.SIGINT, ["e3"])
        with pytest.raises(ipp.error.RemoteError, match="KeyboardInterrupt"):
            result.get(20)
        signal_engines(play, signal.SIGKILL, None)
        for task in ("e3", "e4"):
            assert play.expect(task, "TASK_FAILED")["message"] == "killed by SIGKILL"
        eventually(lambda: client.ids == [])
    play.driver.killTask({"value": "ctl"})
    play.expect("ctl", "TASK_KILLED")
    assert controller["ports"]


def signal_engines(play: Playground, signum: int, tasks: list[str] | None) -> None:
    play.order("p", signal=int(signum), tasks=tasks)


def log_of(mesos: LocalMesos, name: str) -> str:
    """The newest log of this name in any sandbox."""
    paths = Path(str(mesos.work_dir)).glob(f"**/executors/*/runs/*/{name}.log")
    return max(paths, key=lambda path: path.stat().st_mtime).read_text()


def test_a_busy_engine_is_killed_after_its_grace(play: Playground) -> None:
    _, _, client = start(play, 1)
    with client:
        client[0].execute("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
        eventually(lambda: client.queue_status(0)["queue"] == 1)
        play.driver.killTask({"value": "e0"})
        play.expect("e0", "TASK_KILLED", timeout=6)


def test_an_engine_retires_after_its_work(play: Playground) -> None:
    """A KILL with a grace period; meanwhile the executor knows who works, and for how long."""
    _, _, client = start(play, 2)
    with client:
        told = play.expect("e0", "TASK_RUNNING")["data"]
        result = client.load_balanced_view(targets=[told["engine_id"]]).apply(work, 5)

        def load() -> dict[str, float]:
            play.order("p", load=True)
            return dict(eventually(lambda: play.messages)[-1]["load"])

        eventually(lambda: load()["e0"] > 0.5)
        assert load()["e1"] <= 0
        play.kill("e0", 60)
        assert result.get(30)[0] == told["pid"]
        play.expect("e0", "TASK_KILLED")
        eventually(lambda: told["engine_id"] not in client.ids)


def test_teardown_leaves_nothing(mesos: LocalMesos, tmp_path: Path) -> None:
    with playing(mesos, tmp_path) as play:
        _, _, client = start(play, 2)
        client.close()
        assert len(executors(mesos)) >= 4
    eventually(lambda: not executors(mesos))
    assert list(tmp_path.iterdir()) == []


def test_killed_executor_takes_everything_with_it(mesos: LocalMesos, play: Playground) -> None:
    _, _, client = start(play, 2)
    with client:
        pids = [play.expect(f"e{i}", "TASK_RUNNING")["data"]["pid"] for i in range(2)]
        executor(mesos, "p").kill()
        for i in range(2):
            play.expect(f"e{i}", "TASK_FAILED")
        eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    eventually(lambda: not executors(mesos, "p"))


def test_the_hub_hears_of_engines_that_nobody_speaks_for(mesos: LocalMesos, play: Playground) -> None:
    """Executor, zygote and engines are killed at once, as with their container; the controller's executor is told."""
    _, _, client = start(play, 2)
    with client:
        result = client.load_balanced_view().apply(work, 60)
        news: list[dict[str, Any]] = []
        client._registration_callbacks.append(news.append)
        everybody = executors(mesos, "p")
        processes.send([process.pid for process in everybody], signal.SIGSTOP)
        processes.send([process.pid for process in everybody], signal.SIGKILL)
        play.expect("e0", "TASK_FAILED")
        play.order("c", gone={"0": "its container was killed", "1": "its container was killed"}, controller="ctl")
        with pytest.raises(ipp.error.RemoteError, match="its container was killed"):
            result.get(20)
        eventually(lambda: client.ids == [])
    gone = {event["id"]: event["reason"] for event in news if event["event"] == "unregister"}
    assert gone == {0: "its container was killed", 1: "its container was killed"}


def test_killed_zygote_fails_its_tasks(mesos: LocalMesos, play: Playground) -> None:
    _, _, client = start(play, 2)
    with client:
        main = executor(mesos, "p")
        next(process for process in main.children() if process in executors(mesos, "p")).kill()
        for i in range(2):
            assert "has ended: killed by SIGKILL" in play.expect(f"e{i}", "TASK_FAILED")["message"]
        eventually(lambda: client.ids == [], 10)  # told by the executor; heartbeats alone would take 30 s
        eventually(lambda: not main.is_running())
        eventually(lambda: ("p", 1) in [(name, status >> 8 or status) for name, status in play.lost])


def test_sigterm_ends_the_executor_in_order(mesos: LocalMesos, play: Playground) -> None:
    _, _, client = start(play, 2)
    with client:
        executor(mesos, "p").terminate()
        for i in range(2):
            assert play.expect(f"e{i}", "TASK_FAILED")["message"] == "the executor got SIGTERM"
        eventually(lambda: ("p", 0) in play.lost)
    eventually(lambda: not executors(mesos, "p"))


def test_busy_ports_are_named(play: Playground) -> None:
    controller, _ = payloads()
    with socket.socket() as one, socket.socket() as other:
        for thief, index in ((one, 3), (other, 16)):
            thief.bind(("127.0.0.1", controller["ports"][index]))
            thief.listen()
        play.launch("c", "controller", {"ctl": controller})
        status = play.expect("ctl", "TASK_FAILED")
    taken = [controller["ports"][3], controller["ports"][16]]
    assert status["data"] == {"busy_ports": taken}
    assert status["message"] == f"ports in use by somebody else: {taken[0]}, {taken[1]}"


def test_an_address_that_is_not_ours(play: Playground) -> None:
    controller, _ = payloads(ip="192.0.2.1")
    play.launch("c", "controller", {"ctl": controller})
    status = play.expect("ctl", "TASK_FAILED")
    assert "192.0.2.1 is not an address of this machine" in status["message"]
    assert status["data"] == {"final": True}


def test_a_port_that_was_not_given(play: Playground) -> None:
    controller, _ = payloads()
    controller["ports"] = controller["ports"][:-1]
    play.launch("c", "controller", {"ctl": controller})
    assert "listens on ports it was not given" in play.expect("ctl", "TASK_FAILED")["message"]


def test_tasks_that_cannot_run(play: Playground) -> None:
    _, engine = payloads()
    bad = {
        "python": {**engine, "python": [3, 2, 1]},
        "protocol": {**engine, "protocol": 99},
        "arguments": {**engine, "args": ["--IPEngine.timeout=nonsense"]},
    }
    play.launch("p", "engines", bad)
    said = {name: play.expect(name, "TASK_FAILED") for name in bad}
    assert "the client 3.2.1" in said["python"]["message"] and "check_python = False" in said["python"]["message"]
    assert "protocol 99" in said["protocol"]["message"]
    assert said["arguments"]["message"].startswith("exit status 1: ")
    assert [said[name]["data"] for name in bad] == [{"final": True}, {"final": True}, {}]


def test_preload_that_cannot_be_forked_from(play: Playground, tmp_path: Path) -> None:
    (tmp_path / "threads.py").write_text(
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    _, engine = payloads()
    play.environment["PYTHONPATH"] = str(tmp_path)
    play.launch("p", "engines", {"e0": engine}, "--preload", "threads")
    status = play.expect("e0", "TASK_FAILED")
    assert "importing threads starts threads" in status["message"] and status["data"] == {"final": True}


def test_kill_before_the_engine_is_forked(play: Playground) -> None:
    _, engine = payloads()
    play.launch("p", "engines", {"e0": engine, "e1": engine})
    for task in ("e0", "e1"):
        play.driver.killTask({"value": task})
    for task in ("e0", "e1"):
        # The agent drops what it has not yet given to an executor that it has just ended for want of tasks.
        eventually(lambda task=task: {"TASK_KILLED", "TASK_DROPPED"} & set(play.states(task)), 30)


# --- the agent's own failures ----------------------------------------------------------------------------------


def lasting(tmp_path: Path) -> LocalMesos:
    """A Mesos that may be killed and started again."""
    return LocalMesos(work_dir=tmp_path / "mesos", environment={"MESOS_EXECUTOR_REREGISTRATION_TIMEOUT": "5secs"})


def test_engines_outlive_an_agent_that_restarts(tmp_path: Path) -> None:
    """What happens while the agent is away is told when it is back, and nothing is told twice as something new."""
    with lasting(tmp_path) as mesos, playing(mesos, tmp_path, checkpoint=True) as play:
        _, _, client = start(play, 2)
        with client:
            pids = {f"e{i}": play.expect(f"e{i}", "TASK_RUNNING")["data"]["pid"] for i in range(2)}
            mesos.kill()
            os.kill(pids["e0"], signal.SIGKILL)
            eventually(lambda: not psutil.pid_exists(pids["e0"]))
            mesos.restart()
            assert play.expect("e0", "TASK_FAILED", timeout=60)["message"] == "killed by SIGKILL"
            eventually(lambda: len(client) == 1)
            assert client[:].apply_sync(os.getpid) == [pids["e1"]]
            play.driver.killTask({"value": "e1"})
            play.expect("e1", "TASK_KILLED", timeout=30)
            assert play.states("e0") == ["TASK_RUNNING", "TASK_FAILED"]


def test_without_checkpoint_the_executor_ends_with_the_agent(tmp_path: Path) -> None:
    with lasting(tmp_path) as mesos, playing(mesos, tmp_path) as play:
        _, _, client = start(play, 1)
        client.close()
        assert executors(mesos)
        mesos.kill()
        eventually(lambda: not executors(mesos), 10)
