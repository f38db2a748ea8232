"""Docker images under the Mesos containerizer of a real Mesos: no Docker runs them, and a restart ends nothing."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ipymesos.local import FlagError, LocalFleet, LocalMesos, LocalMesosError, leftovers
from tests import images
from tests.helpers import eventually
from tests.integration.plain_framework import Framework
from tests.integration.test_local import EXECUTOR, Command, executors, get, mesos_of

pytestmark = [
    pytest.mark.mesos,
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0, reason="the Mesos containerizer runs images for root only"),
]
PYTHON = {"shell": False, "value": "python3", "arguments": ["python3", "/executor.py"]}


@pytest.fixture(scope="module")
def image() -> str:
    return images.image("engine")


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path) -> Iterator[None]:
    """No mount, control group or folder of links is left by any test."""
    before = traces()
    yield
    for command in list(Command.running):
        command.end(signal.SIGTERM)
    eventually(lambda: not traces() - before)
    assert executors(tmp_path) == []


def traces() -> set[str]:
    """What clusters of this test leave outside their work dirs, and mount in them; and control groups of the dead."""
    groups = Path("/sys/fs/cgroup").glob("*/ipymesos-*")
    empty = {str(top) for top in groups if not any(path.read_text() for path in top.rglob("cgroup.procs"))}
    temporary = Path(tempfile.gettempdir())
    mounted = {path for _, path, _ in leftovers.mounts() if path.startswith(f"{temporary}/")}
    links = {str(path.parent) for path in temporary.glob("??????/0") if path.is_symlink()}
    return empty | mounted | links


def container(image: str, **more: Any) -> dict[str, Any]:
    volume = {"container_path": "/executor.py", "host_path": str(EXECUTOR), "mode": "RO"}
    told = {"type": "DOCKER", "docker": {"name": image}, "cached": True}
    return {"type": "MESOS", "mesos": {"image": told}, "volumes": [volume], **more}


def run(mesos: LocalMesos, framework: Framework, task: str, image: str, **more: Any) -> psutil.Process:
    """The executor of a task that runs in this image."""
    before = set(executors(str(mesos.work_dir)))
    framework.launch(task, command=PYTHON | more.pop("command", {}), container=container(image, **more))
    framework.wait("UPDATE", task=task, state="TASK_RUNNING", timeout=60)
    found = set(executors(str(mesos.work_dir))) - before
    return next(p for p in map(psutil.Process, sorted(found)) if "/executor.py" in p.cmdline())


def alive(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def sandbox(process: psutil.Process) -> Path:
    return Path(process.environ()["MESOS_DIRECTORY"])


def test_an_image_and_a_plain_process_run_beside_each_other(image: str) -> None:
    with LocalMesos(images=[image], containerizers="docker,mesos") as mesos:
        with Framework(mesos.master) as framework:
            inside = run(mesos, framework, "image", image, linux_info={"ipc_mode": "PRIVATE", "shm_size": 77})
            root = Path(f"/proc/{inside.pid}/root")
            assert (root / "opt/ipymesos/bin/python3").exists() and not (root / "root/.cache").exists()
            assert inside.exe().startswith("/usr/bin/python") or "python" in inside.exe()
            assert inside.environ()["PATH"].startswith("/opt/ipymesos/bin"), "what the image asks for is set"
            assert (root / "executor.py").read_bytes() == EXECUTOR.read_bytes()
            assert (root / "etc/resolv.conf").read_bytes() == Path("/etc/resolv.conf").read_bytes()
            shm = os.statvfs(root / "dev/shm")
            assert shm.f_blocks * shm.f_frsize == 77 << 20
            assert {"stdout", "stderr"} <= {path.name for path in sandbox(inside).iterdir()}
            assert (root / "mnt/mesos/sandbox/stderr").stat().st_ino == (sandbox(inside) / "stderr").stat().st_ino
        with Framework(mesos.master) as framework:
            framework.launch("plain")
            framework.wait("UPDATE", task="plain", state="TASK_RUNNING")
            (outside,) = (p for p in executors(str(mesos.work_dir)) if str(EXECUTOR) in psutil.Process(p).cmdline())
            assert os.stat(f"/proc/{outside}/root/") == os.stat("/")
        with Framework(mesos.master) as framework:
            docker = container(image, type="DOCKER", docker={"image": image, "network": "HOST"})
            framework.launch("docker", command=PYTHON | {"arguments": ["/executor.py"]}, container=docker)
            framework.wait("UPDATE", task="docker", state="TASK_RUNNING", timeout=60)


def test_an_executor_has_the_account_it_shall_have(image: str) -> None:
    with LocalMesos(images=[image]) as mesos, Framework(mesos.master) as framework:
        inside = run(mesos, framework, "task", image, command={"user": "nobody"})
        assert inside.username() == "nobody"
        assert (sandbox(inside) / "stdout").owner() == "nobody"


def test_images_and_plain_processes_outlive_a_crash_of_mesos(image: str) -> None:
    with LocalMesos(images=[image]) as mesos:
        with Framework(mesos.master) as framework:
            inside = run(mesos, framework, "image", image)
        with Framework(mesos.master, framework_id=framework.id) as framework:
            framework.launch("spawn-plain")
            framework.wait("UPDATE", task="spawn-plain", state="TASK_RUNNING")
        running = executors(str(mesos.work_dir))
        (agent,) = (agent["id"] for agent in mesos.agents)
        mesos.kill()
        mesos.restart()
        assert [found["id"] for found in mesos.agents] == [agent]
        assert executors(str(mesos.work_dir)) == running and inside.is_running()
        with Framework(mesos.master, framework_id=framework.id) as framework:
            for task in ("image", "spawn-plain"):
                framework.call("RECONCILE", reconcile={"tasks": [{"task_id": {"value": task}}]})
                framework.wait("UPDATE", task=task, state="TASK_RUNNING")
            framework.call("KILL", kill={"task_id": {"value": "image"}})
            framework.wait("UPDATE", task="image", state="TASK_KILLED")
        with Framework(mesos.master, framework_id=framework.id) as framework:
            assert run(mesos, framework, "later", image).is_running()


def test_what_an_image_lacks_is_said_in_the_sandbox(image: str) -> None:
    with LocalMesos(images=[image]) as mesos, Framework(mesos.master) as framework:
        framework.launch("task", command={"shell": False, "value": "no-such", "arguments": ["x"]},
                         container=container(image))  # fmt: skip
        framework.wait("UPDATE", task="task", state="TASK_FAILED", timeout=60)
        runs = mesos.work_dir.glob("agents/*/work/slaves/*/frameworks/*/executors/*/runs/*/stderr")  # type: ignore[union-attr]
        (said,) = {path.read_text() for path in runs}
        assert "mesos-containerizer: the command cannot be run: [Errno 2] no such program, looked for in /opt/" in said


def test_everything_that_was_killed_leaves_nothing_after_stop(image: str) -> None:
    with LocalMesos(images=[image]) as mesos, Framework(mesos.master) as framework:
        inside = run(mesos, framework, "spawn-task", image)
        hidden = inside.children()
        psutil.Process(mesos.pid).parent().kill()  # type: ignore[union-attr]
        assert mesos.wait(20)
        work_dir = mesos.work_dir
        assert inside.is_running() and hidden and traces()
    assert [process for process in (inside, *hidden) if alive(process)] == []
    assert work_dir is not None and not work_dir.exists()


def test_the_end_of_one_is_not_that_of_another(image: str) -> None:
    with LocalMesos(images=[image]) as one, Framework(one.master) as framework:
        inside = run(one, framework, "task", image)
        for _ in range(2):  # a new one looks for containers to recover
            with LocalMesos(images=[image]) as two, Framework(two.master) as other:
                run(two, other, "task", image)
        assert inside.is_running()
        framework.call("KILL", kill={"task_id": {"value": "task"}})
        framework.wait("UPDATE", task="task", state="TASK_KILLED")


def test_the_command_killed_with_9_leaves_nothing(image: str) -> None:
    command = Command("--port", "0", "--image", image)
    master = command.line().partition("IPYMESOS_MASTER=")[2].partition(";")[0]
    with Framework(master) as framework:
        framework.launch("task", command=PYTHON, container=container(image))
        framework.wait("UPDATE", task="task", state="TASK_RUNNING", timeout=60)
    everything = psutil.Process(command.process.pid).children(recursive=True)
    command.end(signal.SIGKILL)
    eventually(lambda: not [process for process in everything if alive(process)])


def test_the_command_killed_with_9_goes_on_in_the_same_work_dir(image: str, tmp_path: Path) -> None:
    work_dir = tmp_path / "w"
    with LocalMesos() as free:
        port = free.master.rpartition(":")[2]
    options = ("--port", port, "--work-dir", str(work_dir))
    command = Command(*options, "--image", image)
    assert "1 agent registered" in command.line()
    with Framework(f"127.0.0.1:{port}") as framework:
        framework.launch("task", command=PYTHON, container=container(image))
        framework.wait("UPDATE", task="task", state="TASK_RUNNING", timeout=60)
    mesos, running = mesos_of(command), executors(work_dir)
    command.end(signal.SIGKILL)
    eventually(lambda: not alive(mesos))
    assert executors(work_dir) == running

    command = Command(*options)  # it remembers that there are images
    assert "1 agent registered" in command.line()
    with Framework(f"127.0.0.1:{port}", framework_id=framework.id) as framework:
        framework.call("RECONCILE", reconcile={"tasks": []})
        framework.wait("UPDATE", task="task", state="TASK_RUNNING")
    assert executors(work_dir) == running
    assert command.end(signal.SIGTERM) == (0, "")
    assert executors(work_dir) == [] and (work_dir / "images").is_dir()


def test_an_agent_of_its_own_crashes_alone(image: str) -> None:
    with LocalFleet(agents=2, images=[image], resources=["cpus:1;mem:500", "cpus:2;mem:500"]) as fleet:
        with Framework(fleet.master) as framework:
            framework.launch("task", command=PYTHON, container=container(image))
            framework.wait("UPDATE", task="task", state="TASK_RUNNING", timeout=60)
            (agent,) = (agent for agent in fleet.agents if executors(str(agent.work_dir)))
            running = executors(str(agent.work_dir))
            agent.kill()
            agent.restart()
            framework.call("RECONCILE", reconcile={"tasks": [{"task_id": {"value": "task"}}]})
            framework.wait("UPDATE", task="task", state="TASK_RUNNING")
            assert executors(str(agent.work_dir)) == running
            framework.call("KILL", kill={"task_id": {"value": "task"}})
            framework.wait("UPDATE", task="task", state="TASK_KILLED")


def test_an_image_may_come_later_and_unknown_ones_are_refused(image: str) -> None:
    with LocalMesos(images=[]) as mesos, Framework(mesos.master) as framework:
        with pytest.raises(
            FlagError, match="--image: Docker does not give ipymesos-none:1 .* allowed: an image that the"
        ):
            mesos.add_image("ipymesos-none:1")
        mesos.add_image(image)
        run(mesos, framework, "task", image)
    with pytest.raises(LocalMesosError, match="is not running"):
        mesos.add_image(image)
    with LocalMesos() as mesos, pytest.raises(LocalMesosError, match="was started without images"):
        mesos.add_image(image)
    code, complaint = Command("--port", "0", "--image", "ipymesos-none:1").end()
    assert code == 2 and complaint.startswith("ipymesos local: --image: Docker does not give ipymesos-none:1")


def test_a_folder_as_newer_dockers_save_it(image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The OCI layout, with layers compressed; the name has a registry and blanks are in the path."""
    folder = tmp_path / "saved here"
    name = "registry.example.org/team/engine:3.1"
    (folder / name).parent.mkdir(parents=True)
    old = tmp_path / "old.tar"
    subprocess.run(["docker", "save", "--output", old, image], check=True)
    with tarfile.open(old) as source, tarfile.open(folder / f"{name}.tar", "w") as target:

        def put(inside: str, content: bytes) -> str:
            member = tarfile.TarInfo(inside)
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
            return inside

        (entry,) = json.load(source.extractfile("manifest.json"))  # type: ignore[arg-type]
        entry["Layers"] = [
            put(f"blobs/sha256/{number}", gzip.compress(source.extractfile(layer).read(), 1))  # type: ignore[union-attr]
            for number, layer in enumerate(entry["Layers"])
        ]
        entry["Config"] = put("blobs/sha256/config", source.extractfile(entry["Config"]).read())  # type: ignore[union-attr]
        put("manifest.json", json.dumps([entry]).encode())
    old.unlink()
    cache = tmp_path / "cache"
    (cache / "ipymesos").mkdir(parents=True)
    for known in Path.home().joinpath(".cache/ipymesos").glob("*.so"):  # the library is not what this is about
        (cache / "ipymesos" / known.name).symlink_to(known)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    with LocalMesos(images=[str(folder)]) as mesos, Framework(mesos.master) as framework:
        inside = run(mesos, framework, "task", name)
        assert Path(f"/proc/{inside.pid}/root/opt/ipymesos/bin/python3").exists()


def test_the_oldest_mesos_that_needs_no_other_library_runs_images(image: str) -> None:
    with LocalMesos(version="1.8.0", images=[image]) as mesos, Framework(mesos.master) as framework:
        assert get(mesos.master, "/version")["version"] == "1.8.0"
        assert run(mesos, framework, "task", image).is_running()


def test_two_agents_of_one_process_are_refused(image: str) -> None:
    code, complaint = Command("--port", "0", "--agents", "2", "--image", image).end()
    assert code == 2 and "--image: 2 agents of one process cannot run images; allowed: 1" in complaint
