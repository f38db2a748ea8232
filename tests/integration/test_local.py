"""A real Mesos on this machine: what `LocalMesos` and `python -m ipymesos.local` promise."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

from ipymesos.local import LocalMesos, LocalMesosError, archive, library
from tests.helpers import eventually
from tests.integration.plain_framework import Framework

pytestmark = pytest.mark.mesos
EXECUTOR = Path(__file__).with_name("plain_framework.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test leaves a process that was started by it or works under its folder, nor a private work dir."""
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setenv("TMPDIR", str(private))
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    before = {child.pid for child in psutil.Process().children(recursive=True)}  # of fixtures that live longer
    yield
    for command in list(Command.running):  # those of a test that failed half-way
        command.end(signal.SIGTERM)
    eventually(lambda: {child.pid for child in psutil.Process().children(recursive=True)} <= before, 20)
    eventually(lambda: executors(tmp_path) == [], 20)
    assert list(private.iterdir()) == []


def processes() -> list[psutil.Process]:
    found = psutil.process_iter(["pid", "environ", "cmdline", "status"])
    return [p for p in found if p.info["environ"] and p.info["status"] != psutil.STATUS_ZOMBIE]


def executors(work_dir: Path | str) -> list[int]:
    """The processes whose sandbox is under the work dir."""
    prefix = f"{work_dir}/"
    return [p.pid for p in processes() if p.info["environ"].get("MESOS_DIRECTORY", "").startswith(prefix)]


def mesos_of(command: Command) -> psutil.Process:
    below = psutil.Process(command.process.pid).children(recursive=True)
    return next(process for process in below if any("boot.py" in part for part in process.cmdline()))


def get(master: str, path: str) -> Any:
    connection = http.client.HTTPConnection(master, timeout=10)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def ports_of(mesos: LocalMesos) -> list[tuple[int, int]]:
    texts = [agent["resources"]["ports"].strip("[]") for agent in mesos.agents]
    return [(int(low), int(high)) for low, high in (text.split("-") for text in texts)]


class Command:
    """`python -m ipymesos.local`, as a person runs it; the first line that it prints is `line`."""

    running: ClassVar[list[Command]] = []

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ipymesos.local", *arguments],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(self)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self, number: int | None = None) -> tuple[int, str]:
        """Exit code and what it complained about, after a signal if one is given."""
        self.running.remove(self)
        if number is not None:
            self.process.send_signal(number)
        complaint = self.process.communicate(timeout=60)[1]
        return self.process.returncode, complaint


def test_agents_differ_in_what_they_were_told_to_and_share_no_port() -> None:
    racks = ["rack:r0;zone:a", "rack:r1;zone:a", "rack:r2;zone:b"]
    resources = ["cpus:1;mem:1000", "cpus:2;mem:2000;ports(ipy):[31000-31009]", "cpus:3;mem:3000"]
    with LocalMesos(agents=3, attributes=racks, resources=resources) as mesos:
        agents = {agent["attributes"]["rack"]: agent for agent in mesos.agents}
        assert {rack: agent["attributes"]["zone"] for rack, agent in agents.items()} == {
            "r0": "a",
            "r1": "a",
            "r2": "b",
        }
        amounts = {rack: (a["resources"]["cpus"], a["resources"]["mem"]) for rack, a in agents.items()}
        assert amounts == {"r0": (1, 1000), "r1": (2, 2000), "r2": (3, 3000)}
        assert agents["r1"]["reserved_resources"]["ipy"]["ports"] == "[31000-31009]"
        mine = (agents[rack]["resources"]["ports"].strip("[]").split("-") for rack in ("r0", "r2"))
        one, other = sorted((int(low), int(high)) for low, high in mine)
        assert one[1] < other[0]
        assert other[1] < 32768, "below the ports of outgoing connections"
        assert get(mesos.master, "/version")["version"] == "1.11.0"
        listening = {c.laddr.ip for c in psutil.net_connections("tcp") if c.pid == mesos.pid and c.status == "LISTEN"}
        assert listening == {"127.0.0.1"}
    with pytest.raises(LocalMesosError, match="is not running"):
        assert mesos.agents


def test_two_at_once_have_ports_folders_and_agents_of_their_own() -> None:
    with LocalMesos(agents=2) as one, LocalMesos(agents=2) as two:
        assert one.master != two.master and one.work_dir != two.work_dir
        blocks = sorted(ports_of(one) + ports_of(two))
        assert len(blocks) == 4
        assert all(first[1] < second[0] for first, second in zip(blocks, blocks[1:], strict=False))
        two.stop()
        assert len(one.agents) == 2


def test_many_agents() -> None:
    with LocalMesos(agents=100) as mesos:
        blocks = sorted(ports_of(mesos))
        assert len(blocks) == 100
        assert all(first[1] < second[0] for first, second in zip(blocks, blocks[1:], strict=False))
        with open(f"/proc/{mesos.pid}/limits") as stream:
            limit = next(line.split() for line in stream if line.startswith("Max open files"))
        assert int(limit[3]) == min(int(limit[4]), 65536), "the soft limit is raised"


def test_an_executor_and_all_that_it_started_end_with_mesos() -> None:
    with LocalMesos() as mesos, Framework(mesos.master) as framework:
        framework.launch("spawn-1")
        framework.wait("UPDATE", task="spawn-1", state="TASK_RUNNING")
        running = executors(str(mesos.work_dir))
        hidden = [p.pid for pid in running for p in psutil.Process(pid).children() if p.name() == "sleep"]
        assert len(running) == 1 and len(hidden) == 1
        work_dir = mesos.work_dir
    assert not [pid for pid in running + hidden if psutil.pid_exists(pid)]
    assert work_dir is not None and not work_dir.exists()


def test_killed_and_started_again_it_has_its_agents_and_executors_back() -> None:
    with LocalMesos(agents=2) as mesos:
        with Framework(mesos.master) as framework:
            framework.launch("task-1")
            framework.wait("UPDATE", task="task-1", state="TASK_RUNNING")
        agents = {agent["id"]: agent["resources"]["ports"] for agent in mesos.agents}
        before, master, pid = executors(str(mesos.work_dir)), mesos.master, mesos.pid
        mesos.kill()
        assert mesos.pid is None and mesos.wait(0)
        assert executors(str(mesos.work_dir)) == before
        mesos.restart()
        assert mesos.master == master and mesos.pid not in (None, pid)
        assert {agent["id"]: agent["resources"]["ports"] for agent in mesos.agents} == agents
        assert executors(str(mesos.work_dir)) == before
        with Framework(mesos.master, framework_id=framework.id) as framework:
            framework.call("RECONCILE", reconcile={"tasks": []})
            framework.wait("UPDATE", task="task-1", state="TASK_RUNNING")
            framework.call("KILL", kill={"task_id": {"value": "task-1"}})
            framework.wait("UPDATE", task="task-1", state="TASK_KILLED")


def test_credentials_and_roles_are_asked_for() -> None:
    with LocalMesos(credentials={"me": "hush"}, roles=["mine"]) as mesos:
        with pytest.raises(ConnectionRefusedError, match="401"):
            Framework(mesos.master)
        with pytest.raises(ConnectionRefusedError, match="401"):
            Framework(mesos.master, credentials="me:wrong")
        with Framework(mesos.master, credentials="me:hush", roles=["mine"]) as framework:
            assert framework.id
        path = Path(str(mesos.work_dir), "credentials.json")
        assert path.stat().st_mode & 0o077 == 0
        keeper = psutil.Process(mesos.pid).parent()
        assert keeper is not None
        for process in (keeper, *keeper.children(recursive=True)):
            assert "hush" not in " ".join([*process.cmdline(), *process.environ().values()])
        assert "hush" not in mesos.log.read_text()


def test_what_agents_checkpoint_is_for_nobody_else(tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    work_dir.mkdir(mode=0o755)
    with LocalMesos(work_dir=work_dir):
        assert (work_dir / "agents").stat().st_mode & 0o777 == 0o700
        assert (work_dir / "mesos.log").stat().st_mode & 0o777 == 0o600
    assert (work_dir / "local.json").exists(), "a folder with a name is kept"


def test_a_flag_that_mesos_refuses_is_told_and_nothing_stays() -> None:
    mesos = LocalMesos(environment={"MESOS_ISOLATION": "no/such"})
    with pytest.raises(LocalMesosError, match="(?s)Mesos ended with status .*no/such"):
        mesos.start()
    assert mesos.work_dir is None and mesos.pid is None
    mesos.stop()


def test_it_starts_in_a_thread_that_ends_and_with_signals_blocked() -> None:
    """As in a daemon: Mesos outlives the thread that asked for it, and hears signals."""
    started: list[LocalMesos] = []

    def start() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        started.append(LocalMesos().start())

    thread = threading.Thread(target=start)
    thread.start()
    thread.join(60)
    mesos = started[0]
    try:
        assert len(mesos.agents) == 1
        process = psutil.Process(mesos.pid)
        blocked = next(x for x in Path(f"/proc/{mesos.pid}/status").read_text().splitlines() if x.startswith("SigBlk"))
        assert int(blocked.split()[1], 16) & (1 << signal.SIGTERM - 1) == 0
        process.terminate()
        assert mesos.wait(20)
    finally:
        mesos.stop()


def test_a_keeper_that_is_killed_takes_mesos_along_and_stop_does_its_work() -> None:
    with LocalMesos() as mesos, Framework(mesos.master) as framework:
        framework.launch("spawn-1")
        framework.wait("UPDATE", task="spawn-1", state="TASK_RUNNING")
        work_dir = mesos.work_dir
        psutil.Process(mesos.pid).parent().kill()  # type: ignore[union-attr]
        assert mesos.wait(20)
        assert executors(str(work_dir))
    assert not executors(str(work_dir))
    assert work_dir is not None and not work_dir.exists()


def test_a_fork_of_the_owner_does_not_keep_mesos_alive() -> None:
    """The fork has the owner's end of the pipe, too, by which the keeper knows that the owner lives."""
    script = (
        "import os, signal; from ipymesos.local import LocalMesos; mesos = LocalMesos().start()\n"
        "child = os.fork()\n"
        "if child: print(mesos.pid, child, mesos.work_dir, flush=True)\n"
        "signal.pause()\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    mesos, child, work_dir = owner.stdout.readline().split()
    processes = psutil.Process(int(mesos)), psutil.Process(int(child))
    try:
        owner.kill()
        owner.wait()
        eventually(lambda: not processes[0].is_running() and not Path(work_dir).exists())
        assert processes[1].is_running()
    finally:
        processes[1].kill()
        owner.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_one_line_and_ends_with_everything(number: int) -> None:
    command = Command("--agents", "2", "--port", "0")
    line = command.line()
    assert "2 agents registered after" in line and "IPYMESOS_MASTER=127.0.0.1:" in line
    master = line.partition("IPYMESOS_MASTER=")[2].partition(";")[0]
    assert len(get(master, "/master/slaves")["slaves"]) == 2
    with Framework(master) as framework:
        framework.launch("spawn-1")
        framework.wait("UPDATE", task="spawn-1", state="TASK_RUNNING")
        everything = psutil.Process(command.process.pid).children(recursive=True)
        assert len(everything) >= 4
        assert command.end(number) == (0, "")
    assert not [process for process in everything if process.is_running()]


def test_the_command_killed_with_9_leaves_nothing_of_a_private_mesos() -> None:
    command = Command("--port", "0")
    master = command.line().partition("IPYMESOS_MASTER=")[2].partition(";")[0]
    with Framework(master) as framework:
        framework.launch("spawn-1")
        framework.wait("UPDATE", task="spawn-1", state="TASK_RUNNING")
    everything = psutil.Process(command.process.pid).children(recursive=True)
    work_dir = Path(mesos_of(command).environ()["MESOS_WORK_DIR"])
    command.end(signal.SIGKILL)
    eventually(lambda: not [process for process in everything if process.is_running()])
    eventually(lambda: not work_dir.exists())


def test_the_command_killed_with_9_goes_on_in_the_same_work_dir(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    options = ("--agents", "2", "--port", port, "--work-dir", str(tmp_path / "w"), "--attributes", "rack:r1")
    command = Command(*options)
    assert "2 agents registered" in command.line()
    master = f"127.0.0.1:{port}"
    with Framework(master) as framework:
        framework.launch("task-1")
        framework.wait("UPDATE", task="task-1", state="TASK_RUNNING")
    agents = {agent["id"] for agent in get(master, "/master/slaves")["slaves"]}
    mesos = mesos_of(command)
    command.end(signal.SIGKILL)
    eventually(lambda: not mesos.is_running())
    assert len(executors(tmp_path / "w")) == 1, "executors of a named work dir live on"

    command = Command(*options)
    assert "2 agents registered" in command.line()
    assert {agent["id"] for agent in get(master, "/master/slaves")["slaves"]} == agents
    with Framework(master, framework_id=framework.id) as framework:
        framework.call("RECONCILE", reconcile={"tasks": []})
        framework.wait("UPDATE", task="task-1", state="TASK_RUNNING")
    assert command.end(signal.SIGTERM) == (0, "")
    assert executors(tmp_path / "w") == []


def test_a_crash_of_mesos_ends_the_command_with_a_reason(tmp_path: Path) -> None:
    command = Command("--port", "0", "--work-dir", str(tmp_path / "w"))
    assert "1 agent registered" in command.line()
    mesos_of(command).kill()
    code, complaint = command.end()
    assert code == 1
    assert "Mesos ended with status -9" in complaint


def test_a_work_dir_has_one_mesos_at_a_time(tmp_path: Path) -> None:
    with LocalMesos(work_dir=tmp_path / "w"):
        code, complaint = Command("--port", "0", "--work-dir", str(tmp_path / "w")).end()
    assert code == 2
    assert "--work-dir: another local Mesos runs in" in complaint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agents", "0"], "--agents: 0 is not allowed; allowed: 1 to 1000"),
        (["--agents", "two"], "--agents: 'two' is not a whole number; allowed: 1 or more"),
        (["--port", "70000"], "--port: 70000 is not allowed; allowed: 1 to 65535, or 0 for any free port"),
        (["--port", "http"], "--port: 'http' is not a whole number"),
        (["--ip", "localhost"], "--ip: 'localhost' is not an IPv4 address; allowed: an address of this machine"),
        (["--ip", "0.0.0.0"], "--ip: 0.0.0.0 cannot be told to executors"),
        (["--resources", "cpus:x"], "--resources: 'x' of cpus is not a number"),
        (
            ["--resources", "a:1", "--resources", "b:1"],
            "--resources: given 2 times for 1 agents; allowed: once for all",
        ),
        (
            ["--agents", "2", "--resources", "ports:[1-9]"],
            "--resources: port 1 is offered twice, by agent 0 and agent 1",
        ),
        (["--attributes", "rack"], "--attributes: 'rack' in 'rack' is not 'name:value'"),
        (
            ["--containerizers", "lxc"],
            "--containerizers: 'lxc' is not allowed; allowed: docker, mesos, or docker,mesos",
        ),
        (["--mesos-version", "2.0"], "--mesos-version: '2.0' is not a release of Mesos; allowed: 1.4.3,"),
        (["--archive", "/no/such"], "--archive: /no/such cannot be read"),
        (["--work-dir", "/dev/null"], "--work-dir: /dev/null cannot be used"),
    ],
)
def test_bad_options_are_refused_with_a_sentence(arguments: list[str], message: str) -> None:
    code, complaint = Command("--port", "0", *arguments).end()
    assert code == 2
    assert complaint.startswith(f"ipymesos local: {message}")
    assert "Traceback" not in complaint


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        code, complaint = Command("--port", str(port)).end()
    assert code == 2
    assert complaint == (
        f"ipymesos local: --port: {port} on 127.0.0.1 is in use; allowed: a port where nothing listens, "
        "or 0 for any free one\n"
    )


def test_once_it_is_cached_no_network_is_needed() -> None:
    library.prepare()
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    command = Command("--port", "0", **offline)
    assert "1 agent registered" in command.line()
    assert command.end(signal.SIGTERM) == (0, "")


def test_an_archive_that_is_named_serves_in_the_place_of_a_download(tmp_path: Path) -> None:
    library.prepare()
    mine = tmp_path / "mine.tar.gz"
    shutil.copyfile(archive.obtain(archive.DEFAULT_VERSION, archive.cache_folder()), mine)
    elsewhere = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}
    command = Command("--port", "0", "--archive", str(mine), **elsewhere)
    assert "1 agent registered" in command.line()
    assert command.end(signal.SIGTERM) == (0, "")

    with mine.open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"damage")
    code, complaint = Command("--port", "0", "--archive", str(mine), **elsewhere).end()
    assert code == 2
    assert "is damaged or not the official archive: its sha256 is" in complaint


def test_the_oldest_mesos_that_needs_no_other_library_serves() -> None:
    with LocalMesos(version="1.8.0", attributes="rack:r0") as mesos, Framework(mesos.master) as framework:
        assert get(mesos.master, "/version")["version"] == "1.8.0"
        framework.launch("task-1")
        framework.wait("UPDATE", task="task-1", state="TASK_RUNNING")


def test_another_address_is_used_for_everything() -> None:
    command = Command("--port", "0", "--ip", "127.0.0.2")
    assert "answers at 127.0.0.2:" in command.line()
    mesos = mesos_of(command)
    assert {c.laddr.ip for c in mesos.net_connections() if c.status == "LISTEN"} == {"127.0.0.2"}
    assert command.end(signal.SIGTERM) == (0, "")


@pytest.mark.docker
def test_containers_of_this_mesos_end_with_it_and_no_others() -> None:
    image = os.environ.get("IPYMESOS_TEST_IMAGE") or newest_image()
    name = f"mesos-not-ours-{os.getpid()}"
    subprocess.run(["docker", "run", "-d", "--name", name, image, "sleep", "1000"], check=True, capture_output=True)
    try:
        with LocalMesos(containerizers="docker,mesos") as mesos, Framework(mesos.master) as framework:
            framework.launch(
                "task-1",
                command={"shell": False, "value": "python3", "arguments": ["/executor.py"]},
                container={
                    "type": "DOCKER",
                    "docker": {"image": image, "network": "HOST"},
                    "volumes": [{"container_path": "/executor.py", "host_path": str(EXECUTOR), "mode": "RO"}],
                },
            )
            framework.wait("UPDATE", task="task-1", state="TASK_RUNNING", timeout=60)
            mine = [c for c in containers() if any(s.startswith(f"{mesos.work_dir}/") for s in c["sources"])]
            assert len(mine) == 1
        left = {c["name"]: c["running"] for c in containers()}
        assert mine[0]["name"] not in left
        assert left[f"/{name}"] is True
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)


def newest_image() -> str:
    """An image with a Python 3: the tests' own base."""
    form = "{{.Repository}}:{{.Tag}}"
    listed = subprocess.run(["docker", "images", "--format", form], check=True, capture_output=True, text=True).stdout
    return next(image for image in listed.split() if image.startswith("ipymesos-"))


def containers() -> list[dict[str, Any]]:
    names = subprocess.run(["docker", "ps", "-aq"], check=True, capture_output=True, text=True).stdout.split()
    done = subprocess.run(["docker", "inspect", *names], capture_output=True, text=True)
    return [
        {"name": c["Name"], "running": c["State"]["Running"], "sources": [m.get("Source", "") for m in c["Mounts"]]}
        for c in json.loads(done.stdout)
    ]
