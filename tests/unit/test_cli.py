"""The command line: what it takes, what it refuses and how it says so. Nothing here starts a daemon."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ipymesos import __version__
from ipymesos.cli import main as cli
from ipymesos.cli.options import add_options, chosen_options, locate_profile, profile_config
from ipymesos.cli.start import connecting, watching
from ipymesos.config import MesosOptions
from ipymesos.daemonfile import DaemonFile, began
from ipymesos.errors import ConfigError
from ipymesos.paths import Paths


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """`start` sets up the logging of a whole process, which the tests share."""
    logger = logging.getLogger("ipymesos")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = cli.main(argv)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, expected in ((["--version"], f"ipymesos {__version__}\n"), (["--help"], "COMMAND")):
        with pytest.raises(SystemExit) as ended:
            cli.main(argv)
        assert ended.value.code == 0 and expected in capsys.readouterr().out


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_a_help_page(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and said.startswith(f"usage: python -m ipymesos {command}")
    assert "traitlets" not in said


def test_start_has_every_option_with_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["start", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for name in MesosOptions.option_names():
        assert (f"--{name.replace('_', '-')} VALUE" in said) == (name not in ("start_timeout", "orphan_timeout"))
    assert "Memory of one engine (MB, GB). (default: 1 GB)" in said
    assert "secret VALUE" not in said  # by file or environment only


@pytest.mark.parametrize(
    "argv, said",
    [
        ([], "the following arguments are required: COMMAND"),
        (["strat"], "invalid choice: 'strat'"),
        (["start", "-n", "0"], "'0' engines can't be started; a whole number from 1 to 10000 is allowed"),
        (["start", "-n", "-3"], "'-3' engines can't be started"),
        (["start", "-n", "many"], "'many' engines can't be started"),
        (["start", "-n", "1.5"], "'1.5' engines can't be started"),
        (["start", "-n", "10001"], "'10001' engines can't be started"),
        (["start", "--memory", "2"], "memory: '2' has no unit"),
        (["start", "--cpus", "few"], "cpus: 'few'"),
        (["start", "--curve", "perhaps"], "curve"),
        (["start", "--master", "nowhere"], "master: 'nowhere' is no address of a master"),
        (["start", "--port", "65536"], "port: 65536 is out of range"),
        (["start", "--container", "docker"], "image: '' is no image"),
        (["start", "--secret-file", "/nonexistent", "--principal", "me"], "secret_file: '/nonexistent' can't be read"),
        (["start", "--memroy", "2 GB"], "--memroy"),
        (["start", "--profile", "a"], "--profile and --profile-dir: give one of them"),
        (["start", "--cluster-id", "a/b"], "cluster id 'a/b'"),
        (["start", "--cluster-id", "a-state"], "it can't end in 'state'"),
        (["start", "--ip", "", "--container", "process"], "port: the REST API can't listen on"),
        (["start", "--ip", "0.0.0.0", "--container", "process"], "ip: '0.0.0.0' can be reached from other machines"),
        (["start", "--certfile", "/nonexistent", "--container", "process"], "certfile: /nonexistent can't be read"),
        (["start", "--keyfile", "key.pem", "--container", "process"], "keyfile: 'key.pem' goes with no certificate"),
        (["start", "--master", "zk://me:sesame@zk1/mesos"], "--master: everybody on this machine can read"),
        (["scale", "0"], "N: 0; 1 engine is the least"),
        (["scale", "-2"], "-2"),
        (["scale", "few"], "invalid int value: 'few'"),
        (["stop", "--timeout", "soon"], "'soon' is no number of seconds"),
        (["demo", "-n", "0"], "'0' engines can't be started"),
        (["status", "--output", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_what_makes_no_sense_ends_with_a_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str], said: str
) -> None:
    if argv and argv[0] in ("start", "scale", "stop", "status"):
        argv = [*argv, "--profile-dir", str(tmp_path)]
    code, out, err = run(capsys, *argv)
    assert code == 2 and out == ""
    assert err.startswith("ipymesos: error: ") and len(err.splitlines()) == 1 and said in err
    assert "sesame" not in err


@pytest.mark.parametrize("command", [["stop"], ["status"], ["explain"], ["scale", "2"]])
def test_there_is_nothing_to_talk_to(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str]) -> None:
    code, _, err = run(capsys, *command, "--profile-dir", str(tmp_path))
    assert code == 11 and "no cluster of ipymesos runs in the profile" in err
    code, _, err = run(capsys, *command, "--profile-dir", str(tmp_path / "none"))
    assert code == 11 and "there is no profile" in err
    assert list(tmp_path.iterdir()) == []


def test_the_error_of_a_dead_daemon_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = Paths(tmp_path, "x").daemon_file
    DaemonFile(2**22 + 1, 1.0, error="the image 'y' is unknown", exit_code=9).write(file)
    code, _, err = run(capsys, "status", "--profile-dir", str(tmp_path), "--cluster-id", "x")
    assert code == 11 and "cluster 'x'" in err and "the image 'y' is unknown" in err
    code, _, err = run(capsys, "status", "--profile-dir", str(tmp_path))
    assert code == 11 and "the cluster ids there are 'x'" in err


def test_a_live_daemon_is_not_disturbed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    parent = psutil.Process().parent()
    assert parent is not None
    file = Paths(tmp_path).daemon_file
    DaemonFile(parent.pid, began(parent.pid), "http://127.0.0.1:1", "token", True).write(file)
    before = file.read_bytes()
    code, _, err = run(capsys, "start", "--profile-dir", str(tmp_path), "--container", "process")
    assert code == 10 and f"already running, pid {parent.pid}" in err
    assert file.read_bytes() == before
    code, _, err = run(capsys, "status", "--profile-dir", str(tmp_path))
    assert code == 11 and "doesn't answer" in err and "token" not in err


# --- where options come from ---------------------------------------------------------------------------------


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(argv)


PROFILE = """
c = get_config()
c.MesosLauncher.memory = "3 GB"
c.MesosLauncher.cpus = 2
c.MesosLauncher.master = "launcher:5050"
c.MesosOptions.cpus = 3
c.MesosLauncher.poll_seconds = 5
c.Cluster.n = 8
"""


def test_command_line_then_profile_then_environment_then_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYMESOS_MASTER", "environment:5050")
    options = chosen_options(parse(), tmp_path)
    assert (options.master, options.memory, options.cpus) == ("environment:5050", "1 GB", 1.0)
    (tmp_path / "ipcluster_config.py").write_text(PROFILE)
    options = chosen_options(parse(), tmp_path)
    assert (options.master, options.memory, options.cpus) == ("launcher:5050", "3 GB", 3.0)
    options = chosen_options(parse("--memory", "2 GB", "--master", "local"), tmp_path)
    assert (options.master, options.memory, options.cpus) == ("local", "2 GB", 3.0)


def test_lists_and_dictionaries_on_the_command_line(tmp_path: Path) -> None:
    options = chosen_options(
        parse(
            "--preload",
            "numpy,json",
            "--attributes",
            "rack=a,disk=ssd",
            "--environment",
            '{"A": "1"}',
            "--curve",
            "false",
        ),
        tmp_path,
    )
    assert options.preload == ["numpy", "json"] and options.attributes == {"rack": "a", "disk": "ssd"}
    assert options.environment == {"A": "1"} and options.curve is False


def test_a_profile_that_is_no_python(tmp_path: Path) -> None:
    (tmp_path / "ipcluster_config.py").write_text("c.MesosLauncher.memory = ")
    with pytest.raises(ConfigError, match="ipcluster_config.py: SyntaxError"):
        profile_config(tmp_path)


def test_a_bad_value_in_the_profile(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "ipcluster_config.py").write_text("c.MesosLauncher.memory = '2'")
    code, _, err = run(capsys, "start", "--profile-dir", str(tmp_path))
    assert code == 2 and "memory: '2' has no unit" in err


def test_profiles_are_made_when_they_are_started_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    assert locate_profile("mesos", "") is None
    assert locate_profile("", str(tmp_path / "other")) is None
    made = locate_profile("mesos", "", create=True)
    assert made == tmp_path / "profile_mesos" and os.path.isdir(made / "security")
    assert locate_profile("mesos", "") == made


def test_how_to_connect_and_to_watch() -> None:
    def lines(**where: str) -> list[str]:
        arguments = argparse.Namespace(**{"profile": "", "profile_dir": "", "cluster_id": "", **where})
        return [connecting(arguments).rpartition("= ")[2], watching(arguments).rpartition("ipymesos ")[2]]

    assert lines() == ["ipymesos.Client()", "dashboard"]
    assert lines(profile="mesos", cluster_id="x") == [
        "ipymesos.Client(profile='mesos', cluster_id='x')",
        "dashboard --profile=mesos --cluster-id=x",
    ]
    assert lines(profile_dir="/a b") == ["ipymesos.Client(profile_dir='/a b')", "dashboard --profile-dir='/a b'"]


def test_bash_completes_commands_options_and_their_values(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, script, _ = run(capsys, "completion", "bash")
    assert code == 0
    (tmp_path / "completion").write_text(script)

    def completed(*words: str) -> list[str]:
        line = " ".join(shlex.quote(word) for word in words)
        ask = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _shtab_ipymesos; echo ${{COMPREPLY[@]}}"
        shell = ["bash", "--norc", "-c", f"source {tmp_path}/completion; {ask}"]
        return subprocess.run(shell, capture_output=True, text=True, check=True).stdout.split()

    assert completed("ipymesos", "sta") == ["start", "status"]
    assert completed("ipymesos", "start", "--mem") == ["--memory"]
    assert completed("ipymesos", "explain", "--output", "") == ["text", "json"]
