"""The programs around Mesos, run as programs: the containerizer's helper and the keeper."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ipymesos.local import keeper, workdir
from tests.helpers import eventually


@pytest.fixture
def helper(tmp_path: Path) -> Path:
    return workdir.install_launcher(tmp_path) / "mesos-containerizer"


def launch(helper: Path, folder: Path, go: bool = True, **info: Any) -> subprocess.Popen[bytes]:
    """Start the helper as the agent does: flags in the environment, a pipe for the word to go."""
    reader, writer = os.pipe()
    environment = {
        "MESOS_CONTAINERIZER_LAUNCH_INFO": json.dumps(info),
        "MESOS_CONTAINERIZER_RUNTIME_DIRECTORY": str(folder),
        "MESOS_CONTAINERIZER_PIPE_READ": str(reader),
        "MESOS_CONTAINERIZER_PIPE_WRITE": str(writer),
    }
    process = subprocess.Popen(
        [helper, "launch"], env=environment, pass_fds=(reader, writer), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    os.close(reader)
    if go:
        os.write(writer, b"x")
    os.close(writer)
    return process


def shell(script: str, **more: Any) -> dict[str, Any]:
    return {"command": {"shell": True, "value": script}, **more}


def status(folder: Path) -> int:
    return int((folder / "status").read_text())


def test_the_exit_status_goes_to_the_agent_s_file(helper: Path, tmp_path: Path) -> None:
    process = launch(helper, tmp_path, **shell("exit 7"))
    assert process.wait(30) == 0
    assert os.waitstatus_to_exitcode(status(tmp_path)) == 7


def test_a_signal_that_ends_the_executor_is_told(helper: Path, tmp_path: Path) -> None:
    process = launch(helper, tmp_path, **shell("kill -SEGV $$"))
    assert process.wait(30) == 0
    assert os.WTERMSIG(status(tmp_path)) == signal.SIGSEGV


def test_environment_folder_and_limits_are_those_of_the_launch_info(helper: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "for it"
    process = launch(
        helper,
        tmp_path,
        **shell("echo $NAME; pwd; ulimit -n; env | sort"),
        working_directory=str(folder),
        environment={"variables": [{"name": "NAME", "value": "v 1"}]},
        rlimits={"rlimits": [{"type": "RLMT_NOFILE", "soft": 77, "hard": 99}]},
    )
    output = process.communicate(timeout=30)[0].decode().splitlines()
    assert output[:3] == ["v 1", str(folder), "77"]
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in output
    assert not [line for line in output if line.startswith("MESOS_")], "the helper's own flags stay with it"


def test_a_command_with_arguments_has_its_name_among_them(helper: Path, tmp_path: Path) -> None:
    process = launch(helper, tmp_path, command={"shell": False, "value": "echo", "arguments": ["echo", "a b"]})
    assert process.communicate(timeout=30)[0] == b"a b\n"


def test_what_prepares_the_container_runs_first_and_may_fail(helper: Path, tmp_path: Path) -> None:
    commands = [{"shell": True, "value": f"echo before > {tmp_path}/file"}]
    process = launch(helper, tmp_path, **shell(f"cat {tmp_path}/file"), pre_exec_commands=commands)
    assert process.communicate(timeout=30)[0] == b"before\n"
    process = launch(helper, tmp_path, **shell("echo no"), pre_exec_commands=[{"shell": True, "value": "exit 3"}])
    output, complaint = process.communicate(timeout=30)
    assert (output, process.returncode) == (b"", 1)
    assert b"the command 'exit 3' failed" in complaint


def test_an_agent_that_goes_away_starts_nothing(helper: Path, tmp_path: Path) -> None:
    process = launch(helper, tmp_path, go=False, **shell("echo started"))
    output, complaint = process.communicate(timeout=30)
    assert (output, process.returncode) == (b"", 1)
    assert b"the agent went away" in complaint
    assert os.waitstatus_to_exitcode(status(tmp_path)) == 1


@pytest.mark.parametrize("name", ["tty_slave_path", "effective_capabilities", "seccomp_profile"])
def test_what_it_cannot_do_is_refused(helper: Path, tmp_path: Path, name: str) -> None:
    process = launch(helper, tmp_path, **shell("echo started"), **{name: ["x"]})
    output, complaint = process.communicate(timeout=30)
    assert (output, process.returncode) == (b"", 1)
    assert f"not supported: {name}".encode() in complaint


@pytest.mark.parametrize(
    ("info", "why"),
    [
        ({"clone_namespaces": [0x20000000]}, b"not supported: namespace 0x20000000"),
        ({"mounts": [{"target": "/no/such"}]}, b"mounts are not supported without a mount namespace"),
        (
            {"clone_namespaces": [0x20000], "mounts": [{"target": "/x", "flags": 1 << 20}]},
            b"mounts that the host shares",
        ),
        ({"rootfs": "/proc/self"}, b"the root file system '/proc/self' is not a real path"),
        ({"file_operations": [{"operation": "COPY"}]}, b"the file operation 'COPY' is not supported"),
    ],
)
def test_a_container_that_would_not_be_as_told_is_refused(
    helper: Path, tmp_path: Path, info: dict[str, Any], why: bytes
) -> None:
    process = launch(helper, tmp_path, **shell("echo started"), **info)
    output, complaint = process.communicate(timeout=30)
    assert (output, process.returncode) == (b"", 1) and why in complaint


def test_files_are_made_before_the_executor_starts(helper: Path, tmp_path: Path) -> None:
    link, folder, moved = tmp_path / "link", tmp_path / "deep/er", tmp_path / "moved"
    operations = [
        {"operation": "MKDIR", "mkdir": {"target": str(folder), "recursive": True}},
        {"operation": "SYMLINK", "symlink": {"source": str(folder), "target": str(link)}},
        {"operation": "RENAME", "rename": {"source": str(link), "target": str(moved)}},
    ]
    process = launch(helper, tmp_path, **shell(f"ls -d {moved}/."), file_operations=operations)
    assert process.communicate(timeout=30)[0] == f"{moved}/.\n".encode()


def test_output_goes_into_the_sandbox(helper: Path, tmp_path: Path) -> None:
    """What the helper complains about, too: there it is looked for."""
    sandbox = tmp_path / "sandbox"
    sandbox.mkdir()
    environment = {"variables": [{"name": "MESOS_DIRECTORY", "value": str(sandbox)}]}
    process = launch(helper, tmp_path, **shell("echo out; echo err >&2"), environment=environment)
    assert process.communicate(timeout=30) == (b"", b"")
    assert [(sandbox / name).read_text() for name in ("stdout", "stderr")] == ["out\n", "err\n"]
    launch(helper, tmp_path, **shell("x"), environment=environment, tty_slave_path="/x").communicate(timeout=30)
    assert (sandbox / "stderr").read_text().endswith("mesos-containerizer: Refused: not supported: tty_slave_path\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["attach"], b"Refused: 'attach' is not supported"),
        (["mount", "--operation=make-rshared", "--path=/"], b"is not supported"),
        (["network-cni-setup", "--pid=1", "--hostname=a"], b"networks other than the host's are not supported"),
        (["network-cni-setup", "--pid=1", "--etc_hosts_path=/no/such"], b"/no/such is missing"),
    ],
)
def test_other_commands_are_refused(helper: Path, arguments: list[str], why: bytes) -> None:
    done = subprocess.run([helper, *arguments], capture_output=True, timeout=30)
    assert done.returncode == 1 and why in done.stderr


def test_a_program_that_does_not_exist_is_told(helper: Path, tmp_path: Path) -> None:
    process = launch(helper, tmp_path, command={"shell": False, "value": "/no/such", "arguments": ["such"]})
    assert b"the command cannot be run: [Errno 2]" in process.communicate(timeout=30)[1]
    assert os.waitstatus_to_exitcode(status(tmp_path)) == 1


def test_signals_are_passed_on(helper: Path, tmp_path: Path) -> None:
    process = launch(helper, tmp_path, **shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"))
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.terminate()
    assert process.wait(30) == 0
    assert os.waitstatus_to_exitcode(status(tmp_path)) == 5


def test_nothing_outlives_the_executor(helper: Path, tmp_path: Path) -> None:
    """Not even a process in a session of its own, without any variable that would tell where it is from."""
    process = launch(helper, tmp_path, **shell("env -i setsid sleep 1000 & echo $!"))
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert not psutil.pid_exists(int(output))


def test_the_executor_dies_with_its_helper(helper: Path, tmp_path: Path) -> None:
    process = launch(helper, tmp_path, **shell("echo $$; exec sleep 1000"))
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate()
    eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_python_in_a_folder_with_a_blank_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "with 'blank" / "python"
    python.parent.mkdir()
    python.symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setattr(sys, "executable", str(python))
    process = launch(workdir.install_launcher(tmp_path) / "mesos-containerizer", tmp_path, **shell("exit 4"))
    assert process.wait(30) == 0
    assert os.waitstatus_to_exitcode(status(tmp_path)) == 4


class Kept:
    """A keeper, talked to as `LocalMesos` does, with another program in the place of Mesos."""

    def __init__(self, work_dir: Path, private: bool, script: str) -> None:
        path = Path(keeper.__file__)
        self.process = subprocess.Popen(
            [sys.executable, "-IB", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        orders = keeper.Orders(
            command=["/bin/sh", "-c", script, "sh"],
            environment={"PATH": os.environ["PATH"], keeper.MARK: str(work_dir)},
            work_dir=str(work_dir),
            log=str(work_dir / "log"),
            private=private,
            docker=False,
            hold=[],
        )
        self.say(json.dumps(vars(orders)))

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def hang_up(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[psutil.Process]:
    """A process as the agents start them, with a child that hides, and will not be asked politely."""
    work_dir = tmp_path / "work"
    (work_dir / "agents").mkdir(parents=True)
    script = "trap '' TERM; env -i sleep 1000 & echo $!; wait; wait"
    process = subprocess.Popen(
        ["/bin/sh", "-c", script],
        env={"PATH": os.environ["PATH"], "MESOS_DIRECTORY": f"{work_dir}/agents/0"},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    yield child
    process.kill()
    process.wait()
    if child.is_running():
        child.kill()


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_the_end_of_mesos_is_told_and_it_can_be_started_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path, False, "exit 3")
    for _ in range(2):
        kept.say("start")
        assert kept.hear()["started"] > 0
        assert kept.hear() == {"ended": 3}
    kept.say("stop")
    assert kept.hear() == {"stopped": ""}
    assert kept.process.wait(30) == 0
    assert tmp_path.exists()


def test_stop_ends_mesos_and_its_executors_and_removes_a_private_folder(
    tmp_path: Path, executor: psutil.Process
) -> None:
    kept = Kept(tmp_path / "work", True, "exec sleep 1000")
    kept.say("start")
    mesos = psutil.Process(kept.hear()["started"])
    kept.say("stop")
    assert kept.hear() == {"stopped": ""}
    assert kept.process.wait(30) == 0
    assert gone(mesos) and gone(executor)
    assert not (tmp_path / "work").exists()


def test_leave_keeps_the_executors(tmp_path: Path, executor: psutil.Process) -> None:
    kept = Kept(tmp_path / "work", False, "exec sleep 1000")
    kept.say("start")
    mesos = psutil.Process(kept.hear()["started"])
    kept.say("leave")
    assert kept.process.wait(30) == 0
    assert gone(mesos) and not gone(executor)


@pytest.mark.parametrize("private", [True, False])
def test_the_death_of_the_owner_ends_a_private_mesos_wholly(
    tmp_path: Path, executor: psutil.Process, private: bool
) -> None:
    kept = Kept(tmp_path / "work", private, "exec sleep 1000")
    kept.say("start")
    mesos = psutil.Process(kept.hear()["started"])
    kept.hang_up()
    assert kept.process.wait(30) == 0
    assert gone(mesos)
    assert gone(executor) == private
    assert (tmp_path / "work").exists() != private


def test_a_signal_means_stop(tmp_path: Path, executor: psutil.Process) -> None:
    kept = Kept(tmp_path / "work", False, "exec sleep 1000")
    kept.say("start")
    kept.hear()
    kept.process.terminate()
    assert kept.process.wait(30) == 0
    assert gone(executor)


def test_processes_of_others_are_not_found(tmp_path: Path, executor: psutil.Process) -> None:
    """Neither of a work dir whose name goes on where ours ends, nor those that only sit in it, nor ourselves."""
    work = str(tmp_path / "work")
    (tmp_path / "work2").mkdir()
    others = [
        subprocess.Popen(["sleep", "1000"], env={"MESOS_DIRECTORY": f"{work}2/agents/0"}),
        subprocess.Popen(["sleep", "1000"], env={"MESOS_WORK_DIR": work}),
        subprocess.Popen(["sleep", "1000"], cwd=work),
    ]
    try:
        found = keeper.find_processes(work)
        assert executor.pid in found
        assert not found & {os.getpid(), os.getppid(), *(process.pid for process in others)}
    finally:
        for process in others:
            process.kill()
            process.wait()
