"""Engines of one container: what they share, how they end one by one, and what the container is given."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import psutil
import pytest

from tests.e2e.kit import Home, Running, docker, program
from tests.helpers import eventually

pytestmark = pytest.mark.mesos

MB = 1 << 20
ONE_AGENT = {"rack": "r0"}
MEMMAP = "import numpy; a = numpy.memmap('/dev/shm/shared', 'u1', 'r+'); total = int(a.sum(dtype='u8'))"
ALLOCATE = "held = bytearray(%d << 20); held[::4096] = b'x' * len(held[::4096])"
WAIT = "import signal; print('waiting', flush=True); signal.pause()"


def run(view: ipp.DirectView, code: str, name: str) -> list[Any]:
    """Run code on engines and give back one of its variables."""
    view.execute(code, block=True)
    return list(view.pull(name, block=True))


def kill(cluster: Running, container: str, pid: int) -> None:
    """SIGKILL a process, by the pid it has in its container, if it is in one."""
    for one in cluster.containers():
        if f"MESOS_EXECUTOR_ID={container}" in one["Config"]["Env"]:
            docker("exec", one["Id"], "python3", "-c", f"import os; os.kill({pid}, 9)")
            return
    os.kill(pid, signal.SIGKILL)


def failures(cluster: Running) -> list[dict[str, Any]]:
    return [end for end in cluster.status()["exits"] if not end["asked"]]


def members(cluster: Running, group: str) -> list[psutil.Process]:
    """The processes of all executors of a group, on this host, whatever container they are in."""
    framework, found = cluster.status()["framework_id"], []
    for process in psutil.process_iter(["environ"]):
        environment = process.info["environ"] or {}
        executor = environment.get("MESOS_EXECUTOR_ID", "")
        if environment.get("MESOS_FRAMEWORK_ID") == framework and executor.startswith(group):
            found.append(process)
    assert found
    return found


def listening(processes: list[psutil.Process]) -> set[int]:
    found = set()
    for process in processes:
        found |= {c.laddr.port for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.docker
def test_engines_share_memory(home: Home) -> None:
    """One array of 64 MB in /dev/shm, seen and written by all engines of a pack, is there once."""
    size = 64 * MB
    with home.running("docker", 3) as cluster:
        view = cluster.client[:]
        assert len(set(view.apply_sync(os.getenv, "MESOS_EXECUTOR_ID"))) == 1
        make = f"import numpy; numpy.memmap('/dev/shm/shared', 'u1', 'w+', shape={size})[:] = 7"
        cluster.client[0].execute(make, block=True)
        assert run(view, MEMMAP, "total") == [7 * size] * 3
        cluster.client[1].execute("a[:] = 9", block=True)
        assert run(view, "total = int(a.sum(dtype='u8'))", "total") == [9 * size] * 3
        for smaps in run(view, "smaps = open('/proc/self/smaps').read()", "smaps"):
            pss, private = usage(smaps, "/dev/shm/shared")
            assert private == 0 and pss == pytest.approx(size / 3, rel=0.02)
        assert not Path("/dev/shm/shared").exists()  # it is the container's, and goes with it


def usage(smaps: str, path: str) -> tuple[int, int]:
    """Bytes of Pss and Private_Dirty of the mapping of this file (proc(5), smaps)."""
    _, _, mapping = smaps.partition(f"{path}\n")
    details = dict(line.split(":", 1) for line in mapping.split("VmFlags")[0].splitlines())
    return tuple(int(details[name].split()[0]) << 10 for name in ("Pss", "Private_Dirty"))  # type: ignore[return-value]


@pytest.mark.docker
def test_a_pack_grows_with_its_memory(home: Home) -> None:
    """Docker bounds memory once, for the first engine; six of them need more, and get it."""
    with home.running("docker", 1, memory="150 MB", attributes=ONE_AGENT) as cluster:
        cluster.scale(6)
        view = cluster.client[:]
        view.execute(ALLOCATE % 110, block=True)
        assert run(view, "size = len(held)", "size") == [110 * MB] * 6
        assert failures(cluster) == []
        (pack,) = (one for one in cluster.containers() if "engines" in one["Args"])
        assert pack["HostConfig"]["MemorySwap"] == -1
        cluster.scale(2)
        assert len(cluster.client[:].apply_sync(os.getpid)) == 2 and failures(cluster) == []


@pytest.mark.docker
def test_out_of_memory(home: Home) -> None:
    """The engine that takes more than its pack has is the one that goes; it is said why, and it is replaced."""
    with home.running("docker", 3, memory="150 MB") as cluster:
        rest = cluster.client[1:3]
        rest["kept"] = "still here"
        greedy = cluster.client[0].execute(ALLOCATE % 3000)
        with pytest.raises(ipp.error.RemoteError, match="EngineError"):
            greedy.get(timeout=60)
        (end,) = eventually(lambda: failures(cluster))
        assert end["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
        assert end["message"].startswith("OOM: the container's memory limit of 514 MB was reached"), end
        assert sorted(cluster.engines()) == [1, 2, 3]
        assert rest["kept"] == ["still here"] * 2
        shown = program("ipymesos", "status", "--profile=mesos", f"--cluster-id={cluster.cluster.cluster_id}")
        assert "OOM" in shown.stdout and "3 of 3 running" in shown.stdout, shown


def test_a_killed_engine_is_replaced(home: Home, kind: str) -> None:
    with home.running(kind, 2, attributes=ONE_AGENT) as cluster:
        cluster.client[1]["kept"] = "still here"
        pid, zygote = cluster.client[0].apply_sync(os.getpid), cluster.client[1].apply_sync(os.getppid)
        before = cluster.engines()[0]
        work = cluster.client[0].execute(WAIT)
        eventually(lambda: "waiting" in work.stdout)
        kill(cluster, before["container"], pid)
        with pytest.raises(ipp.error.RemoteError, match="EngineError"):
            work.get(timeout=10)  # the hub has been told at once; alone it takes 30 s to notice
        (end,) = eventually(lambda: failures(cluster))
        assert (end["task"], end["state"]) == (before["task"], "TASK_FAILED"), end
        assert end["message"] == "killed by SIGKILL"
        eventually(lambda: sorted(cluster.client.ids) == [1, 2])
        assert {task["container"] for task in cluster.engines().values()} == {before["container"]}
        assert cluster.client[2].apply_sync(os.getppid) == zygote and cluster.client[1]["kept"] == "still here"


def test_signals_and_the_end_of_one(home: Home, kind: str) -> None:
    """Interrupts through the hub and through the scheduler; an engine is ended by its client, the other goes on."""
    with home.running(kind, 2) as cluster:
        client, view = cluster.client, cluster.client[:]
        view["kept"] = "still here"
        for interrupt in (
            lambda: client.send_signal(signal.SIGINT, targets="all", block=True),
            lambda: cluster.cluster.signal_engines_sync(signal.SIGINT),
        ):
            work = view.execute(WAIT, silent=False)
            eventually(lambda work=work: all("waiting" in out for out in work.stdout))
            interrupt()
            with pytest.raises(ipp.error.RemoteError, match="KeyboardInterrupt"):
                work.get(timeout=20)
        assert view["kept"] == ["still here"] * 2 and failures(cluster) == []
        ended = cluster.engines()[0]["task"]
        client.shutdown(targets=[0], block=True)
        eventually(lambda: 0 not in client.ids)
        (end,) = eventually(lambda: cluster.status()["exits"])
        assert (end["task"], end["state"]) == (ended, "TASK_FINISHED") and "through the hub" in end["message"], end
        # Who was asked to leave is wanted no more.
        assert cluster.status()["engines"][cluster.set]["wanted"] == 1
        assert client[1]["kept"] == "still here"


def test_ports(home: Home, kind: str) -> None:
    """The controller listens on the 18 ports of its task, which are the ones it was offered; engines on none."""
    with home.running(kind, 2) as cluster:
        status = cluster.status()
        ports = status["controller"]["ports"]
        assert len(ports) == 18 and listening(members(cluster, "controller")) == set(ports)
        engines = members(cluster, "pack")
        assert len(engines) >= 4 and listening(engines) == set()
        (agent,) = (a for a in home.mesos.agents if a["used_resources"].get("ports"))
        assert agent["used_resources"]["ports"] == f"[{ports[0]}-{ports[-1]}]"


@pytest.mark.docker
def test_what_a_container_is_given(home: Home, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "data").write_text("of the host")
    with home.running("docker", 1, volumes=[f"{shared}:/data:ro", f"{tmp_path}:/writable"],
                      environment={"OMP_NUM_THREADS": "1", "GREETING": "hello world"}, shm_size="77 MB",
                      docker_parameters=["cap-add=SYS_PTRACE", "label=owner=tests"]) as cluster:  # fmt: skip
        (pack,) = (one for one in cluster.containers() if "engines" in one["Args"])
        host = pack["HostConfig"]
        assert f"{shared}:/data:ro" in host["Binds"] and f"{tmp_path}:/writable:rw" in host["Binds"]
        assert (host["ShmSize"], host["NetworkMode"]) == (77 * MB, "host")
        assert [name.removeprefix("CAP_") for name in host["CapAdd"]] == ["SYS_PTRACE"]
        assert pack["Config"]["Labels"]["owner"] == "tests"
        engine = cluster.client[0]
        assert engine.apply_sync(os.getenv, "GREETING") == "hello world"
        engine.execute("import shutil; data = open('/data/data').read()", block=True)
        engine.execute("size = shutil.disk_usage('/dev/shm').total", block=True)
        assert (engine["data"], engine["size"]) == ("of the host", 77 * MB)
        with pytest.raises(ipp.error.RemoteError, match="Read-only file system"):
            engine.execute("open('/data/more', 'w')", block=True)
        engine.execute("open('/writable/back', 'w').write('from the engine')", block=True)
        assert (tmp_path / "back").read_text() == "from the engine"
