"""What agents offer: texts of the user checked, completed, and kept apart; ports that no two agents share."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipymesos.local import agents, ports, settings, workdir
from ipymesos.local.errors import FlagError, LocalMesosError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cpus", "--resources: 'cpus' in 'cpus' is not 'name:value'; allowed: for example 'cpus:4;mem:8000"),
        ("cpus:four", "--resources: 'four' of cpus is not a number"),
        ("mem:1GB", "--resources: '1GB' of mem is not a number"),
        ("cpus:-1", "--resources: '-1' of cpus is not a number"),
        ("cpus:[1-2]", r"--resources: '\[1-2\]' of cpus is not a number"),
        ("ports:31000", "--resources: '31000' of ports is not allowed; allowed: ports:"),
        ("ports:[31000-70000]", "of ports is not allowed; allowed: ports:.* within 1 to 65535"),
        ("ports:[31010-31000]", "has a range that ends before it starts"),
        ("9cpus:1", "--resources: '9cpus:1'"),
    ],
)
def test_bad_resources_are_refused_with_a_sentence(text: str, message: str) -> None:
    with pytest.raises(FlagError, match=message):
        agents.parse_resources(text)


def test_reservations_and_sets_are_understood() -> None:
    parsed = agents.parse_resources("cpus(a/b):1.5; mem:100 ;ports(r):[1-2, 5-6];colours:{red,blue};")
    assert [str(resource) for resource in parsed] == [
        "cpus(a/b):1.5",
        "mem:100",
        "ports(r):[1-2, 5-6]",
        "colours:{red,blue}",
    ]
    assert parsed[2].ranges == ((1, 2), (5, 6))


def test_what_is_left_out_is_filled_in(tmp_path: Path) -> None:
    text = agents.complete(agents.parse_resources("mem:100"), 2, (20000, 20399), tmp_path)
    names = [part.partition(":")[0] for part in text.split(";")]
    assert names == ["mem", "cpus", "disk", "ports"]
    assert "mem:100;" in text
    assert text.endswith("ports:[20000-20399]")


def test_one_text_or_one_for_each() -> None:
    assert agents.one_each("--resources", None, 2) == ["", ""]
    assert agents.one_each("--resources", "cpus:1", 2) == ["cpus:1", "cpus:1"]
    assert agents.one_each("--resources", ["a", "b"], 2) == ["a", "b"]
    with pytest.raises(FlagError, match="--attributes: given 3 times for 2 agents; allowed: once for all, or once for"):
        agents.one_each("--attributes", ["a", "b", "c"], 2)


def test_agents_of_one_host_may_not_offer_the_same_port() -> None:
    one = agents.parse_resources("ports:[100-200]")
    other = agents.parse_resources("ports:[150-250]")
    with pytest.raises(FlagError, match="--resources: port 150 is offered twice, by agent 0 and agent 1"):
        agents.check_ports([one, other])
    agents.check_ports([one, agents.parse_resources("ports(r):[201-250]")])


@pytest.mark.parametrize("text", ["rack", "rack:", ":r1", "rack:r1;zone", "ra ck:1"])
def test_bad_attributes_are_refused(text: str) -> None:
    with pytest.raises(FlagError, match="--attributes: .* is not 'name:value'; allowed: such as 'rack:r1;zone:a'"):
        agents.check_attributes(text)


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_wrong_number_of_agents_is_refused(count: int) -> None:
    with pytest.raises(FlagError, match=f"--agents: {count} is not allowed; allowed: 1 to 1000"):
        agents.check_count(count)


@given(st.integers(1, 40), st.integers(1, 40))
def test_blocks_of_two_clusters_are_all_disjoint(first: int, second: int) -> None:
    with_locks = [ports.Locks(), ports.Locks()]
    try:
        blocks = [b for n, locks in zip((first, second), with_locks, strict=True) for b in ports.take_blocks(n, locks)]
    finally:
        for locks in with_locks:
            locks.close()
    seen = [port for low, high in blocks for port in range(low, high + 1)]
    assert len(blocks) == first + second
    assert len(set(seen)) == len(seen)
    assert min(seen) >= ports.FIRST and max(seen) <= ports.LAST
    assert all(high - low >= 19 for low, high in blocks)


def test_hundreds_of_agents_get_small_blocks() -> None:
    locks = ports.Locks()
    try:
        blocks = ports.take_blocks(400, locks)
    finally:
        locks.close()
    assert len({port for low, high in blocks for port in range(low, high + 1)}) == 400 * 20


def test_a_port_in_use_is_not_offered() -> None:
    locks = ports.Locks()
    with socket.socket() as listener:
        for port in range(ports.FIRST + 50, ports.LAST, ports.UNIT):
            try:
                listener.bind(("127.0.0.1", port))
                break
            except OSError:
                continue
        listener.listen()
        assert port in ports.listening()
        blocks = ports.take_blocks(40, locks)
        locks.close()
    assert not any(low <= port <= high for low, high in blocks)


def test_locks_hold_between_processes_and_end_with_them() -> None:
    code = (
        "import sys; from ipymesos.local import ports; locks = ports.Locks(); "
        "print(*ports.take_blocks(1, locks)[0], flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    block = tuple(map(int, child.stdout.readline().split()))
    locks = ports.Locks()
    try:
        with pytest.raises(LocalMesosError, match=f"ports {block[0]} to {block[0] + 99} belong to this work dir, but"):
            ports.retake_blocks([(block[0], block[1])], locks)
        child.kill()
        child.communicate()
        ports.retake_blocks([(block[0], block[1])], locks)
    finally:
        locks.close()


def test_a_port_of_the_master_that_is_in_use_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(
            FlagError, match=f"--port: {port} on 127.0.0.1 is in use; allowed: a port where nothing lis"
        ):
            ports.check_port("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(FlagError, match="--ip: '192.0.2.1' cannot be listened on .* allowed: an IPv4 address of this"):
        ports.check_port("192.0.2.1", 0)


def test_a_restart_offers_the_same_and_refuses_other_things(tmp_path: Path) -> None:
    locks = ports.Locks()
    first = workdir.settle_agents(tmp_path, 2, "cpus:3", ["rack:a", "rack:b"], locks)
    locks.close()
    again = workdir.settle_agents(tmp_path, 2, None, None, locks)
    locks.close()
    assert again == first
    assert workdir.settle_agents(tmp_path, 2, "cpus:3", ["rack:a", "rack:b"], locks) == first
    locks.close()
    more = workdir.settle_agents(tmp_path, 3, None, None, locks)
    locks.close()
    assert more[:2] == first and len({agent.block for agent in more}) == 3
    with pytest.raises(
        FlagError, match="--resources: 'cpus:4' is not what agent 0 offered before, 'cpus:3;.*'; allowed"
    ):
        workdir.settle_agents(tmp_path, 3, "cpus:4", None, locks)
    locks.close()
    with pytest.raises(FlagError, match="--attributes: 'rack:z' are not those that agent 0 had before, 'rack:a'"):
        workdir.settle_agents(tmp_path, 3, None, "rack:z", locks)
    locks.close()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "local.json").write_text('[{"resources": 1}]')
    with pytest.raises(LocalMesosError, match="local.json is damaged"):
        workdir.settle_agents(tmp_path, 1, None, None, ports.Locks())


def test_secrets_are_for_nobody_else(tmp_path: Path) -> None:
    path = workdir.write_credentials(tmp_path, {"me": "secret"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert '"principal": "me"' in path.read_text()


def test_flags_of_the_user_s_environment_do_not_get_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MESOS_WORK_DIR", "/elsewhere")
    monkeypatch.setenv("MESOS_HTTP_AUTHENTICATORS", "odd")
    monkeypatch.setenv("LIBPROCESS_SSL_ENABLED", "true")
    monkeypatch.setenv("IPYMESOS_SECRET", "hush")
    monkeypatch.setenv("DOCKER_HOST", "unix:///kept")
    found = settings.environment(
        ip="127.0.0.1", port=1, work_dir=tmp_path, launcher_dir=tmp_path, containerizers="mesos", images=False,
        agents=1, contends=True, credentials=None, roles=(), extra={"MESOS_EXTRA": "x"},
    )  # fmt: skip
    assert found["MESOS_WORK_DIR"] == str(tmp_path)
    assert found["DOCKER_HOST"] == "unix:///kept" and found["MESOS_DOCKER_SOCKET"] == "/kept"
    assert found["MESOS_EXTRA"] == "x"
    assert found["MESOS_DOCKER_KILL_ORPHANS"] == "false"
    assert not {"MESOS_HTTP_AUTHENTICATORS", "LIBPROCESS_SSL_ENABLED", "IPYMESOS_SECRET", "MESOS_ROLES"} & set(found)


@pytest.mark.parametrize("text", ["", "podman", "mesos;docker"])
def test_unknown_containerizers_are_refused(text: str) -> None:
    with pytest.raises(FlagError, match="--containerizers: .* is not allowed; allowed: docker, mesos, or docker,mesos"):
        settings.check_containerizers(text)


def test_docker_that_is_not_there_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        FlagError, match="docker is asked for, but there is no `docker` command; install and start Docker"
    ):
        settings.check_containerizers("docker,mesos")
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho Cannot connect to the daemon >&2\nexit 1\n")
    docker.chmod(0o755)
    with pytest.raises(FlagError, match=r"Docker does not answer \(Cannot connect to the daemon\)"):
        settings.check_containerizers("docker")
