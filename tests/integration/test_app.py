"""The daemon on a real Mesos: how it starts, serves, fails and ends, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import ipyparallel as ipp
import psutil
import pytest

from ipymesos.client import Daemon
from ipymesos.daemonfile import DaemonFile
from ipymesos.errors import IPyMesosError, NotRunning
from ipymesos.local import LocalMesos
from ipymesos.paths import Paths
from tests.helpers import eventually
from tests.integration.programs import SMALL, Start, executors, frameworks, ipymesos

pytestmark = pytest.mark.mesos


@pytest.fixture(scope="module")
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos(agents=2) as running:
        yield running


@pytest.fixture
def clean(mesos: LocalMesos) -> Iterator[LocalMesos]:
    """The same Mesos, and a look afterwards whether anything was left on it."""
    yield mesos
    assert frameworks(mesos.master) == []
    eventually(lambda: not executors(mesos.work_dir), 20)


def files(profile: Path) -> set[str]:
    return {path.name for path in (profile / "security").iterdir()}


def test_a_whole_life(clean: LocalMesos, tmp_path: Path) -> None:
    with Start(tmp_path, "--master", clean.master, "-n", "2", *SMALL) as start:
        status = start.running(2)
        daemon = start.daemon()
        assert status["state"] == "running" and status["connected"] and status["master"] == clean.master
        assert [f["id"] for f in frameworks(clean.master)] == [status["framework_id"]]
        assert frameworks(clean.master)[0]["webui_url"] == daemon.url

        # Every file is its owner's alone.
        everything = [p for p in (tmp_path / "security").iterdir()]
        assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in everything} == {
            name: 0o600
            for name in (
                "ipcontroller-client.json",
                "ipcontroller-engine.json",
                "ipymesos.json",
                "ipymesos-state.json",
                "ipymesos.lock",
            )
        }

        # A client finds the cluster and computes on it.
        with ipp.Client(profile_dir=str(tmp_path)) as client:
            client.wait_for_engines(2, timeout=30)
            pids = client[:].apply_sync(os.getpid)
            assert len(set(pids)) == 2
        ids = sorted(task["engine_id"] for task in status["engines"]["engines"]["tasks"])
        assert ids == [0, 1]

        # More, fewer, and another set, from the command line.
        where = ("--profile-dir", str(tmp_path))
        up = ipymesos("scale", "3", *where)
        assert up.returncode == 0 and up.stdout.splitlines()[-1] == "3/3 running", up
        down = ipymesos("scale", "1", *where)
        assert down.returncode == 0 and down.stdout.splitlines()[-1] == "1/1 running", down
        other = ipymesos("scale", "1", "--set", "other", *where)
        assert other.returncode == 0, other
        several = ipymesos("scale", "2", *where)
        assert several.returncode == 2 and "say which: engines, other" in several.stderr, several

        table = ipymesos("status", *where)
        assert table.returncode == 0
        assert "engine set engines: 1 of 1 running" in table.stdout and "everything that is wanted runs" in table.stdout
        as_json = json.loads(ipymesos("status", "-o", "json", *where).stdout)
        assert as_json["engines"]["other"]["running"] == 1
        assert ipymesos("explain", *where).stdout == "everything that is wanted runs\n"

        # Nobody else may be the daemon of this profile; another cluster id is another daemon.
        again = ipymesos("start", *where, "--master", clean.master, *SMALL)
        assert again.returncode == 10 and f"already running, pid {start.process.pid}" in again.stderr
        assert daemon.status()["state"] == "running"

        stopped = ipymesos("stop", *where)
        assert (stopped.returncode, stopped.stdout) == (0, "stopped\n"), stopped
        assert start.wait() == 0
    assert files(tmp_path) == set()
    said = "".join(start.out)
    assert f"registered with Mesos master {clean.master} as framework {status['framework_id']}" in said
    assert "controller launched on" in said and "2/2 engines running" in said and "connect with:" in said
    assert start.error == ""
    gone = ipymesos("status", *where)
    assert gone.returncode == 11 and "no cluster of ipymesos runs in the profile" in gone.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(clean: LocalMesos, tmp_path: Path, number: signal.Signals) -> None:
    with Start(tmp_path, "--master", clean.master, "-n", "1", *SMALL) as start:
        start.running(1)
        start.process.send_signal(number)
        start.process.send_signal(number)  # impatience changes nothing
        assert start.wait() == 0, start.error
    assert files(tmp_path) == set()


def test_open_requests_are_answered_at_the_end(clean: LocalMesos, tmp_path: Path) -> None:
    with Start(tmp_path, "--master", clean.master, "-n", "1", *SMALL) as start:
        start.running(1)
        daemon, heard = start.daemon(), []

        def follow() -> None:
            version = None
            try:
                while True:
                    heard.append(daemon.status(after=version, timeout=20))
                    version = heard[-1]["version"]
            except IPyMesosError as error:
                heard.append(error)

        followers = [threading.Thread(target=follow) for _ in range(5)]
        for follower in followers:
            follower.start()
        eventually(lambda: len(heard) >= len(followers))
        daemon.stop("enough")
        assert start.wait() == 0, start.error
        for follower in followers:
            follower.join(30)
        ends = [item for item in heard if isinstance(item, IPyMesosError)]
        assert {type(end) for end in ends} == {NotRunning} and len(ends) == len(followers), ends
        assert not start.error


def test_a_signal_before_anything_runs(clean: LocalMesos, tmp_path: Path) -> None:
    with Start(
        tmp_path, "--master", clean.master, "-n", "1", "--cpus", "100000", *SMALL[:6], "--container", "process"
    ) as start:
        eventually(lambda: DaemonFile.read(Paths(tmp_path).daemon_file), 30)
        start.process.send_signal(signal.SIGTERM)
        assert start.wait() in (0, 9), start.error
    assert "Traceback" not in start.error


def test_killed_and_started_again_it_takes_over(clean: LocalMesos, tmp_path: Path) -> None:
    with Start(tmp_path, "--master", clean.master, "-n", "2", *SMALL) as first:
        before = first.running(2)
        with ipp.Client(profile_dir=str(tmp_path)) as client:
            client.wait_for_engines(2, timeout=30)
            client[:].push({"kept": 42}, block=True)
            first.process.kill()
            first.wait()
            with pytest.raises(NotRunning, match="has ended .* start --resume` takes them over"):
                Daemon.find(tmp_path)
            assert client[:].pull("kept", block=True) == [42, 42]  # the engines don't need the daemon
            with Start(tmp_path, "--master", clean.master, "-n", "2", *SMALL) as second:
                after = second.running(2)
                for name in ("framework_id",):
                    assert after[name] == before[name]
                assert after["controller"]["task"] == before["controller"]["task"]
                assert [t["task"] for t in after["engines"]["engines"]["tasks"]] == [
                    t["task"] for t in before["engines"]["engines"]["tasks"]
                ]
                assert client[:].pull("kept", block=True) == [42, 42]
                assert "taking over 3 tasks" in "".join(second.out)
                assert ipymesos("stop", "--profile-dir", str(tmp_path)).returncode == 0
                assert second.wait() == 0
    assert files(tmp_path) == set()


def test_a_framework_that_was_removed_starts_afresh(clean: LocalMesos, tmp_path: Path) -> None:
    with Start(tmp_path, "--master", clean.master, "-n", "1", *SMALL) as first:
        before = first.running(1)
        first.process.kill()
        first.wait()
    body = urllib.parse.urlencode({"frameworkId": before["framework_id"]}).encode()
    urllib.request.urlopen(f"http://{clean.master}/master/teardown", body, timeout=10).close()
    with Start(tmp_path, "--master", clean.master, "-n", "1", *SMALL) as second:
        after = second.running(1)
        assert after["framework_id"] != before["framework_id"]
        assert "Starting afresh" in second.error
        second.daemon().stop("enough")
        assert second.wait() == 0
    assert files(tmp_path) == set()


def test_an_operator_tears_it_down(clean: LocalMesos, tmp_path: Path) -> None:
    with Start(tmp_path, "--master", clean.master, "-n", "1", *SMALL) as start:
        status = start.running(1)
        body = urllib.parse.urlencode({"frameworkId": status["framework_id"]}).encode()
        urllib.request.urlopen(f"http://{clean.master}/master/teardown", body, timeout=10).close()
        assert start.wait(60) == 8, start.error
    assert start.error.splitlines()[-1].startswith("ipymesos: error: ") and "has been removed" in start.error
    assert files(tmp_path) == {"ipymesos.json"}


def test_an_engine_that_fits_nowhere_ends_it_within_seconds(clean: LocalMesos, tmp_path: Path) -> None:
    with Start(tmp_path, "--master", clean.master, "-n", "2", "--container", "process", "--memory", "900 TB") as start:
        assert start.wait(30) == 9
    lines = start.error.splitlines()
    assert len(lines) == 1 and lines[0].startswith("ipymesos: error: no agent of this Mesos could ever fit one engine")
    assert files(tmp_path) == {"ipymesos.json"}
    file = DaemonFile.read(Paths(tmp_path).daemon_file)
    assert file is not None and not file.token and file.exit_code == 9 and lines[0].endswith(file.error)
    status = ipymesos("status", "--profile-dir", str(tmp_path))
    assert status.returncode == 11 and "could ever fit" in status.stderr


def test_an_engine_set_of_rest_that_fits_nowhere_only_fails_itself(clean: LocalMesos, tmp_path: Path) -> None:
    with Start(tmp_path, "--master", clean.master, *SMALL) as start:
        daemon = start.daemon()
        daemon.want_engines("big", 1, {"memory": "900 TB"})
        eventually(lambda: daemon.status()["engines"]["big"]["state"] == "failed", 30)
        status = daemon.status()
        assert "no agent of this Mesos could ever fit" in status["engines"]["big"]["message"]
        assert status["state"] in ("starting", "running") and not status["error"]
        daemon.want_engines("small", 1)
        start.running(1, "small")
        where = ("--profile-dir", str(tmp_path))
        up = ipymesos("scale", "2", "--set", "big", *where)
        assert up.returncode == 9 and "could ever fit" in up.stderr
        daemon.drop_engines("big")
        eventually(lambda: "big" not in daemon.status()["engines"], 10)


# --- masters that don't take us ------------------------------------------------------------------------------


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ended_badly(start: Start, code: int, said: str) -> None:
    assert start.wait(30) == code, start.error
    last = start.error.splitlines()[-1]
    assert last.startswith("ipymesos: error: ") and said in last, start.error
    assert "Traceback" not in start.error
    assert files(start.profile) == {"ipymesos.json"}
    file = DaemonFile.read(Paths(start.profile).daemon_file)
    assert file is not None and file.exit_code == code and said in file.error and not file.token


def test_nobody_answers(tmp_path: Path) -> None:
    where = f"127.0.0.1:{unused_port()}"
    with Start(tmp_path, "--master", where, "--connect-timeout", "1 s", "-n", "1", *SMALL) as start:
        ended_badly(start, 5, f"The Mesos master {where} can't be reached")


def test_a_name_that_cannot_be_resolved(tmp_path: Path) -> None:
    with Start(tmp_path, "--master", "no-such-host.invalid:5050", "--connect-timeout", "2 s", *SMALL) as start:
        ended_badly(start, 5, "no-such-host.invalid")


@pytest.fixture(scope="module")
def locked() -> Iterator[LocalMesos]:
    with LocalMesos(agents=1, credentials={"me": "sesame"}, roles=("*", "mine")) as running:
        yield running


def secret_file(directory: Path, secret: str) -> str:
    path = directory / "secret"
    path.touch(0o600)
    path.write_text(secret)
    return str(path)


def test_wrong_credentials(locked: LocalMesos, tmp_path: Path) -> None:
    options = ("--principal", "me", "--secret-file", secret_file(tmp_path, "guess"))
    with Start(tmp_path / "p", "--master", locked.master, *options, *SMALL) as start:
        ended_badly(start, 6, "doesn't accept our principal and secret")
    assert "guess" not in start.error


def test_no_credentials(locked: LocalMesos, tmp_path: Path) -> None:
    with Start(tmp_path, "--master", locked.master, *SMALL) as start:
        ended_badly(start, 6, "No principal was given")


def test_right_credentials(locked: LocalMesos, tmp_path: Path) -> None:
    options = ("--principal", "me", "--secret-file", secret_file(tmp_path, "sesame\n"))
    with Start(tmp_path / "p", "--master", locked.master, "-n", "1", *options, *SMALL) as start:
        start.running(1)
        daemon = start.daemon()
        assert "sesame" not in json.dumps(daemon.status())
        daemon.stop("enough")
        assert start.wait() == 0, start.error
    assert "sesame" not in "".join(start.out) + start.error


def test_a_role_that_is_not_allowed(locked: LocalMesos, tmp_path: Path) -> None:
    environment = {"IPYMESOS_SECRET": "sesame"}
    arguments = ("--master", locked.master, "--principal", "me", "--role", "theirs")
    with Start(tmp_path, *arguments, *SMALL, environment=environment) as start:
        ended_badly(start, 7, "theirs")


@pytest.mark.docker
def test_an_unknown_image(tmp_path: Path) -> None:
    image = "localhost:1/no-such-image:9"
    with Start(tmp_path, "--image", image, "-n", "2", environment={"IPYMESOS_MASTER": "local"}) as start:
        assert start.wait(60) == 9, start.error
    (line,) = start.error.splitlines()
    assert line.startswith("ipymesos: error: ") and f"in image '{image}' failed" in line
    assert files(tmp_path) == {"ipymesos.json"}


# --- options -------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Start(tmp_path, "--master", "127.0.0.1:1", "--port", str(port), *SMALL) as start:
            ended_badly(start, 2, f"port: the REST API can't listen on 127.0.0.1:{port}")


def test_a_state_that_others_may_read(tmp_path: Path) -> None:
    state = Paths(tmp_path).state_file
    state.parent.mkdir(parents=True)
    state.touch(0o644)
    os.chmod(state, 0o644)
    with Start(tmp_path, "--master", "127.0.0.1:1", *SMALL) as start:
        assert start.wait(30) == 3 and f"chmod 600 {state}" in start.error
    assert state.exists()


def test_the_private_mesos_ends_with_it(tmp_path: Path) -> None:
    with Start(tmp_path, "-n", "1", *SMALL, environment={"IPYMESOS_MASTER": ""}) as start:
        status = start.running(1)
        assert status["master"].startswith("127.0.0.1:")
        assert files(tmp_path) == {
            "ipymesos.json",
            "ipymesos.lock",
            "ipcontroller-client.json",
            "ipcontroller-engine.json",
        }
        start.daemon().stop("enough")
        assert start.wait() == 0, start.error
    assert files(tmp_path) == set()
    host, port = status["master"].split(":")
    with pytest.raises(OSError):
        socket.create_connection((host, int(port)), timeout=2)


def test_killed_it_leaves_no_private_mesos(tmp_path: Path) -> None:
    with Start(tmp_path, "-n", "1", *SMALL, environment={"IPYMESOS_MASTER": "", "TMPDIR": str(tmp_path)}) as start:
        start.running(1)
        assert executors(tmp_path)
        start.process.kill()
        start.wait()
        eventually(lambda: not executors(tmp_path), 30)
    with Start(tmp_path, "-n", "1", *SMALL, environment={"IPYMESOS_MASTER": ""}) as again:
        again.running(1)
        again.daemon().stop("enough")
        assert again.wait() == 0, again.error
    assert files(tmp_path) == set()


def test_the_master_goes_and_comes_back(tmp_path: Path) -> None:
    with LocalMesos(agents=1) as own:
        with Start(tmp_path, "--master", own.master, "-n", "1", *SMALL) as start:
            before = start.running(1)
            own.kill()
            eventually(lambda: not start.daemon().status()["connected"], 30)
            own.restart()
            eventually(lambda: start.daemon().status()["connected"], 60)
            after = start.running(1)
            assert after["framework_id"] == before["framework_id"]
            assert after["controller"]["task"] == before["controller"]["task"]
            with ipp.Client(profile_dir=str(tmp_path)) as client:
                client.wait_for_engines(1, timeout=30)
                assert client[:].apply_sync(os.getpid)
            assert "lost the Mesos master" in "".join(start.out) and "registered again" in "".join(start.out)
            start.daemon().stop("enough")
            assert start.wait() == 0, start.error
        eventually(lambda: not executors(own.work_dir), 20)
        assert frameworks(own.master) == []


def test_no_key_gets_out(mesos: LocalMesos, tmp_path: Path) -> None:
    """Not over REST, nor in what is printed, nor in anybody's arguments or environment, nor at the master."""
    with Start(tmp_path, "--master", mesos.master, "-n", "1", "--verbose", *SMALL) as start:
        start.running(1)
        daemon = start.daemon()
        state = json.loads(Paths(tmp_path).state_file.read_bytes())
        secrets = [value for name, value in state["connection"].items() if name != "cluster_id" and value]
        secrets.append(DaemonFile.read(Paths(tmp_path).daemon_file).token)  # type: ignore[union-attr]
        assert len(secrets) == 4 and all(len(secret) >= 40 for secret in secrets)
        texts = {"status": json.dumps(daemon.status()), "explain": json.dumps(daemon.explain())}
        texts["cluster"] = json.dumps(state["cluster"])
        for path in ("master/state", "master/frameworks", "master/tasks"):
            with urllib.request.urlopen(f"http://{mesos.master}/{path}", timeout=10) as answer:
                texts[path] = answer.read().decode()
        for process in [*executors(mesos.work_dir), psutil.Process(start.process.pid)]:
            texts[f"process {process.pid}"] = " ".join(process.cmdline()) + str(process.environ())
        for path in Path(mesos.work_dir).rglob("std*"):
            if path.is_file():
                texts[str(path)] = path.read_text(errors="replace")
        daemon.stop("enough")
        assert start.wait() == 0
        texts["output"] = "".join(start.out) + start.error
    assert len(texts) >= 11
    for place, text in texts.items():
        assert not [secret for secret in secrets if secret in text], place
