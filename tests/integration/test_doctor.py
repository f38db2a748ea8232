"""`python -m ipymesos doctor` as a user runs it: on a Mesos where all is well, and on others; nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipymesos.local import LocalMesos
from tests.helpers import eventually
from tests.integration.programs import executors, frameworks

pytestmark = pytest.mark.mesos

CREDENTIALS = {"me": "sesame"}


@pytest.fixture(scope="module")
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos(agents=2, credentials=CREDENTIALS, roles=("*", "mine")) as running:
        yield running


def doctor(
    profile: Path, *arguments: str, secret: str = "", path: Path | None = None
) -> tuple[int, dict[str, dict[str, Any]], str]:
    """The exit code, the findings by their check, and what was said to the terminal besides."""
    environment = {**os.environ, "IPYMESOS_SECRET": secret} if secret else dict(os.environ)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, "-m", "ipymesos", "doctor", "--profile-dir", str(profile), "-o", "json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode in (0, 2, 3, 5, 6, 7, 9), done
    told = json.loads(done.stdout)
    assert told["exit_code"] == done.returncode and not done.stderr, done
    assert not secret or secret not in done.stdout
    return done.returncode, {found["check"]: found for found in told["findings"]}, done.stdout


def nothing_left(mesos: LocalMesos, profile: Path) -> None:
    assert frameworks(mesos.master) == []
    assert eventually(lambda: not executors(str(mesos.work_dir)), 20)
    assert not profile.exists()


def test_all_is_well_on_two_agents(mesos: LocalMesos, tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    code, found, _ = doctor(
        profile,
        "--master",
        mesos.master,
        "--principal",
        "me",
        "--role",
        "mine",
        "--container",
        "process",
        secret="sesame",
    )
    assert (code, {f["verdict"] for f in found.values()}) == (0, {"OK"}), found
    assert "takes us as me with the role mine" in found["registration"]["said"]
    assert found["version"]["said"] == f"Mesos {mesos.version}"
    assert found["offers"]["said"].startswith("2 agents offered")
    assert " and 127.0.0.1 (S" in found["agents"]["said"], found["agents"]
    nothing_left(mesos, profile)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_it_is_interrupted(mesos: LocalMesos, tmp_path: Path, number: signal.Signals) -> None:
    profile = tmp_path / "profile"
    command = [sys.executable, "-m", "ipymesos", "doctor", "--profile-dir", str(profile), "--master", mesos.master]
    environment = {**os.environ, "IPYMESOS_SECRET": "sesame"}
    process = subprocess.Popen(
        [*command, "--principal", "me", "--container", "process"], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        eventually(lambda: any(framework["tasks"] for framework in frameworks(mesos.master)), 60)
        process.send_signal(number)
        assert process.wait(60) == (130 if number == signal.SIGINT else -number)
    finally:
        process.kill()
        process.wait()
    eventually(lambda: frameworks(mesos.master) == [], 30)
    nothing_left(mesos, profile)


def test_who_is_not_let_in(mesos: LocalMesos, tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    where = ("--master", mesos.master, "--container", "process")
    code, found, _ = doctor(profile, *where, "--principal", "me", secret="guess")
    assert (
        code == 6
        and found["authentication"]["verdict"] == "FAIL"
        and "secret_file" in found["authentication"]["advice"]
    )
    code, found, _ = doctor(profile, *where, "--principal", "me", "--role", "theirs", secret="sesame")
    assert code == 7 and found["role"]["verdict"] == "FAIL" and "theirs" in found["role"]["said"]
    nothing_left(mesos, profile)


def test_what_never_fits_and_what_never_runs(mesos: LocalMesos, tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    where = ("--master", mesos.master, "--principal", "me", "--container", "process")
    code, found, _ = doctor(profile, *where, "--memory", "900 TB", "--python", "/no/such/python", secret="sesame")
    assert code == 9
    assert found["engine"]["verdict"] == "FAIL" and "ask for less: memory" in found["engine"]["advice"]
    assert found["controller"]["verdict"] == "OK"
    assert found["task"]["verdict"] == "FAIL" and "set python to the right path" in found["task"]["advice"], found[
        "task"
    ]
    assert found["cleaning up"]["verdict"] == "OK"
    nothing_left(mesos, profile)


def test_nothing_listens_there(tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    code, found, _ = doctor(profile, "--master", "127.0.0.1:1", "--container", "process")
    assert code == 5 and found["address"]["said"] == "the master can't be reached (127.0.0.1:1: Connection refused)"
    zookeeper = "zk://127.0.0.1:1,127.0.0.1:2/mesos"
    code, found, _ = doctor(profile, "--master", zookeeper, "--container", "process")
    assert code == 5 and found["address"]["said"].startswith("ZooKeeper can't be reached (127.0.0.1:1: ")
    assert not profile.exists()


def test_options_and_profiles_that_cannot_be(tmp_path: Path) -> None:
    code, found, _ = doctor(tmp_path, "--cpus", "many")
    assert code == 2 and found["options"]["verdict"] == "FAIL" and "cpus" in found["options"]["said"]
    code, found, _ = doctor(tmp_path, "--master", "h:1", "--container", "docker")
    assert code == 2 and "image" in found["options"]["said"]
    (tmp_path / "security").mkdir(mode=0o777)
    os.chmod(tmp_path / "security", 0o777)
    code, found, _ = doctor(tmp_path, "--master", "127.0.0.1:1", "--container", "process")
    assert code == 3 and f"chmod 700 {tmp_path / 'security'}" in found["profile"]["said"]


@pytest.mark.docker
def test_an_image_that_does_not_exist(tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    with LocalMesos(agents=1, containerizers="docker,mesos") as mesos:
        image = "localhost:1/no-such-image:9"
        code, found, _ = doctor(profile, "--master", mesos.master, "--image", image)
        assert code == 9 and found["task"]["verdict"] == "FAIL"
        assert f"`docker pull {image}` there tells" in found["task"]["advice"], found["task"]
        nothing_left(mesos, profile)


@pytest.mark.docker
def test_agents_without_docker(mesos: LocalMesos, tmp_path: Path) -> None:
    where = ("--master", mesos.master, "--principal", "me", "--image", "any")
    code, found, _ = doctor(tmp_path / "profile", *where, secret="sesame")
    assert code == 9 and "--containerizers=docker,mesos" in found["task"]["advice"], found["task"]
