"""What the doctor makes of what it sees."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from ipymesos.core.resources import Offer, Piece, Resources
from ipymesos.core.session import Agent
from ipymesos.core.specs import Container, ControllerSpec, EngineSpec
from ipymesos.doctor import findings, judge, judge_task, look
from ipymesos.doctor.findings import FAIL, OK, SKIP, WARN, Finding, fail, ok, skip, warn
from ipymesos.doctor.judge import Profile
from ipymesos.doctor.judge_task import Here
from ipymesos.errors import MasterUnreachable, MesosError, NotAuthorized, SubscriptionRefused
from ipymesos.masters import Address
from ipymesos.paths import Paths

ENGINE = EngineSpec(Resources(1000, 1000), Resources(100, 100))
CONTROLLER = ControllerSpec(Resources(500, 500))
HERE = Here("3.11.7", "9.2.0", "0.1.0")
FOUND = {"python": "3.11.2", "ipyparallel": "9.2.0", "pyzmq": "27.0", "executor": "0.1.0", "curve": True}
IMAGE = Container("docker", image="team/engine:3")


def offer(cpus: int, mem: int, ports: int, agent: str = "S0") -> Offer:
    pieces = (Piece("cpus", cpus), Piece("mem", mem), Piece("ports", ranges=((31000, 31000 + ports - 1),)))
    return Offer(f"o-{agent}", agent, f"host-{agent}", "10.0.0.1", pieces if ports else pieces[:2])


def agent(cpus: int, mem: int, ports: int = 100) -> Agent:
    return Agent("S0", "host-S0", Resources(cpus, mem, 1000), ports)


def test_lines_and_exit_codes() -> None:
    found = [ok("a", "fine"), skip("b", "left out"), warn("c", "so so", "look"), fail("d", "bad\nindeed", "do it", 9)]
    assert [findings.line(one) for one in found] == [
        "OK    a              fine",
        "SKIP  b              left out",
        f"WARN  c              so so\n{'':21}-> look",
        f"FAIL  d              bad indeed\n{'':21}-> do it",
    ]
    assert findings.exit_code(found) == 9 and findings.exit_code([*found[:3]]) == 0
    assert findings.exit_code([fail("x", "", "", 5), *found]) == 5
    assert findings.summary(found) == "1 of 4 checks failed: `start` would not work"
    assert findings.summary(found[:3]) == "all is well: 1 checks passed, 1 with a warning"
    assert found[3].as_dict() == {
        "check": "d", "verdict": "FAIL", "said": "bad\nindeed", "advice": "do it", "exit_code": 9,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text, verdict", [("1.11.0", OK), ("1.9.0-rc1", OK), ("1.4.2", WARN), ("1.3.0", FAIL), ("", WARN), ("x", WARN)]
)
def test_versions_of_mesos(text: str, verdict: str) -> None:
    assert judge.mesos_version(text).verdict == verdict


def test_profiles() -> None:
    good = Profile("/p", True, True, free=5000)
    assert judge.profile(good) == [ok("profile", "/p"), ok("disk", "5000 MB free here")]

    def verdicts(**more: object) -> list[str]:
        return [found.verdict for found in judge.profile(Profile(**{**vars(good), **more}))]

    assert verdicts(exists=False) == [OK, OK]
    assert verdicts(running=7) == verdicts(state=True) == [WARN, OK]
    assert verdicts(free=100) == [OK, WARN] and verdicts(free=1) == [OK, FAIL]
    assert verdicts(writable=False) == verdicts(security="chmod 700 /p/security") == [FAIL]


def test_addresses() -> None:
    assert judge.addresses("the master", {"a:1": ""}) == ok("address", "the master answers at a:1")
    some = judge.addresses("ZooKeeper", {"a:1": "", "b:2": "refused"})
    assert some.verdict == WARN and "b:2: refused" in some.said and "a:1" not in some.said
    none = judge.addresses("ZooKeeper", {"a:1": "refused"})
    assert (none.verdict, none.exit_code) == (FAIL, 5)


@pytest.mark.parametrize(
    "error, check, word",
    [
        (MasterUnreachable("m"), "registration", "firewall"),
        (NotAuthorized("m"), "authentication", "secret_file"),
        (SubscriptionRefused("m"), "role", "--roles"),
        (MesosError("m"), "registration", "operators"),
    ],
)
def test_registration(error: MesosError, check: str, word: str) -> None:
    found = judge.registration(error)
    assert (found.check, found.verdict, found.said, found.exit_code) == (check, FAIL, "m", error.exit_code)
    assert word in found.advice


def test_offers() -> None:
    made = [offer(2000, 4000, 10), offer(1500, 1000, 5, "S1")]
    assert judge.offers(made, None, 9) == ok(
        "offers", "2 agents offered 3.5 cpus, 5000 MB of memory, 15 ports"
    )  # fmt: skip
    assert "has no agents" in judge.offers([], [], 9).said
    assert "there are 1 agents" in judge.offers([], [agent(1, 1)], 9).said
    assert judge.offers([], None, 9).verdict == FAIL


def test_fit() -> None:
    roomy, poor = offer(4000, 8000, 20), offer(500, 8000, 20, "S1")
    assert judge.fit("engine", ENGINE, [roomy, poor], None) == ok(
        "engine", "needs 1.1 cpus, 1100 MB of memory: fits on 1 of 2 agents"
    )
    assert judge.fit("engine", ENGINE, [], None) == skip(
        "engine", "needs 1.1 cpus, 1100 MB of memory; nothing is offered"
    )  # fmt: skip
    assert judge.fit("engine", ENGINE, [poor], None) == fail(
        "engine",
        "needs 1.1 cpus, 1100 MB of memory: the best offer, from host-S1, has 0.5 cpus of 1.1 cpus",
        "ask for less: cpus, pack_cpus, controller_cpus",
        9,
    )
    busy = judge.fit("engine", ENGINE, [poor], [agent(8000, 8000)])
    assert (busy.verdict, busy.advice) == (WARN, "it fits when others have ended; wait, or ask for less")
    ports = judge.fit("controller", CONTROLLER, [offer(4000, 8000, 5)], [agent(8000, 8000, 5)])
    assert ports.verdict == FAIL and "has 5 ports of 18 ports" in ports.said and "--resources" in ports.advice


@pytest.mark.parametrize(
    "said, container, word",
    [
        ("no such kind of task: 'check'", IMAGE, "another version"),
        ("the scheduler speaks protocol 1, the executor here 2", IMAGE, "another version"),
        ("/usr/bin/python3: No module named ipymesos_executor", IMAGE, "install ipymesos-executor in the image"),
        ("No module named 'ipymesos_executor'", Container(), "install ipymesos-executor in the agents' Python"),
        ("Failed to run 'docker pull x': exited with status 1", IMAGE, "`docker pull team/engine:3` there tells"),
        ("manifest unknown", IMAGE, "docker pull"),
        ("Abnormal executor termination: unknown container", IMAGE, "--containerizers=docker,mesos"),
        ("sh: 1: exec: /no/python: not found", Container(python="/no/python"), "is '/no/python' there"),
        ("Failed to chown: no such user 'bob'", Container(), "set user"),
        ("zmq can't be imported here", IMAGE, "install what is missing"),
        ("preload: numpy can't be imported: No module named 'numpy'; ipymesos_executor says", IMAGE, "install what"),
        ("it was killed", Container(), "stdout and stderr"),
    ],
)
def test_launches_that_fail(said: str, container: Container, word: str) -> None:
    found = judge_task.launch_failed("h", container, said)
    assert (found.check, found.verdict, found.said, found.exit_code) == ("task", FAIL, f"on h: {said}", 9)
    assert word in found.advice, found.advice


def test_a_launch_that_takes_long() -> None:
    assert "may still be on its way" in judge_task.launch_late("h", IMAGE, 60).said
    assert "its executor" in judge_task.launch_late("h", Container(), 60).said


def test_versions() -> None:
    def verdicts(curve: bool = True, check_python: bool = True, **more: object) -> list[str]:
        return [one.verdict for one in judge_task.versions({**FOUND, **more}, HERE, curve, check_python)]

    assert judge_task.versions(FOUND, HERE, True, True) == [
        ok("python", "3.11.2 there, 3.11.7 here"),
        ok("ipyparallel", "ipyparallel 9.2.0 there, 9.2.0 here"),
        ok("executor", "ipymesos-executor 0.1.0, pyzmq 27.0"),
    ]
    assert verdicts(python="3.12.1") == [FAIL, OK, OK]
    assert verdicts(python="3.12.1", check_python=False) == [WARN, OK, OK]
    assert verdicts(ipyparallel="9.1.0") == [OK, WARN, OK] and verdicts(ipyparallel="8.6") == [OK, FAIL, OK]
    assert verdicts(executor="0.2") == [OK, OK, WARN]
    assert verdicts(curve=False) == [OK, OK, OK]
    found = judge_task.versions({**FOUND, "curve": False}, HERE, True, True)[2]
    assert found.verdict == FAIL and "libsodium" in found.advice
    assert [one.verdict for one in judge_task.versions({}, HERE, True, True)] == [FAIL, FAIL, FAIL]


def test_network_clocks_and_logs() -> None:
    assert judge_task.from_here("h:1", "").verdict == OK
    assert "controller_ip" in judge_task.from_here("h:1", "refused").advice
    assert judge_task.between({}).verdict == judge_task.clocks({}).verdict == SKIP
    assert judge_task.between({"a": {"x 1": ""}, "b": {"x 1": "", "y 2": ""}}).verdict == OK
    bad = judge_task.between({"a": {"x 1": ""}, "b": {"x 1": "refused"}})
    assert bad.verdict == FAIL and "b to x 1: refused" in bad.said
    assert judge_task.clocks({"a": 0.4, "b": -9.0}).verdict == OK
    assert judge_task.clocks({"a": 0.4, "b": -90.0}).said == "differ from here: b by -90 s"
    assert judge_task.listening("h:1", "") is None
    for problem, word in (("Cannot assign requested address", "--ip"), ("Address already in use", "somebody else")):
        found = judge_task.listening("h:1", problem)
        assert isinstance(found, Finding) and word in found.advice
    assert judge_task.logs("").verdict == OK and judge_task.logs("HTTP 403").verdict == WARN
    assert judge.left(True).verdict == OK and judge.left(False).verdict == FAIL


def test_looking_changes_nothing(tmp_path: Path) -> None:
    seen = look.profile(Paths(tmp_path / "not" / "there"))
    assert (seen.exists, seen.writable, seen.security, seen.running, seen.state) == (False, True, "", 0, False)
    assert seen.free > 0 and list(tmp_path.iterdir()) == []
    assert look.master("127.0.0.1:1") == ("", None)


def test_reaching(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet() -> None:
            for _ in range(3):
                with server.accept()[0] as connection:
                    connection.sendall(b"word")

        thread = threading.Thread(target=greet)
        thread.start()
        assert look.reach("127.0.0.1", port, "word") == ""
        assert look.reach("127.0.0.1", port, "other") == "somebody else listens there"
        assert look.connect([Address("127.0.0.1", port)]) == {f"127.0.0.1:{port}": ""}
        thread.join()
    assert look.connect([Address("127.0.0.1", port)]) == {f"127.0.0.1:{port}": "Connection refused"}
