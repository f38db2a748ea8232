"""The options: what is taken, what is refused and in which words, and what becomes of them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

from ipymesos.config import MesosOptions, parse_duration, parse_memory
from ipymesos.core.resources import Resources
from ipymesos.core.specs import Container, ControllerSpec, EngineSpec


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IPYMESOS_MASTER", raising=False)
    monkeypatch.delenv("IPYMESOS_SECRET", raising=False)


@pytest.mark.parametrize(
    ("text", "megabytes"),
    [
        ("512 MB", 512),
        ("512MB", 512),
        ("512 MiB", 512),
        (" 2 gb ", 2048),
        ("1.5 GB", 1536),
        (".5 GB", 512),
        ("1 TB", 1024 * 1024),
        ("0 MB", 0),
        ("0.1 MB", 1),
    ],
)
def test_memory_is_read_in_powers_of_two_and_rounded_up(text: str, megabytes: int) -> None:
    assert parse_memory(text) == megabytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90 s", 90),
        ("1.5 min", 90),
        ("2 hours", 7200),
        ("1 day", 86400),
        ("1 week", 604800),
        ("5ms", 0.005),
    ],
)
def test_durations_are_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


REFUSED = [
    ("memory", "512", "memory: '512' has no unit; write '512 MB', '2 GB' or '1 TB'"),
    ("memory", 512, "memory: 512 has no unit; write '512 MB', '2 GB' or '1 TB', in quotes"),
    ("memory", "512 KB", "memory: '512 KB' has the unknown unit 'KB'; write MB, GB or TB, as in '512 MB'"),
    ("memory", "much", "memory: 'much' is not an amount of memory; write '512 MB', '2 GB' or '1 TB'"),
    ("memory", "-1 GB", "memory: '-1 GB' is not an amount of memory; write '512 MB', '2 GB' or '1 TB'"),
    ("memory", "0 MB", "memory: '0 MB' is too little; 1 MB is the least"),
    ("pack_memory", "16 MB", "pack_memory: '16 MB' is too little; 32 MB is the least"),
    ("disk", None, "disk: None has no unit; write 'None MB', '2 GB' or '1 TB', in quotes"),
    ("start_timeout", "3 parsec", "start_timeout: '3 parsec' has the unknown unit 'parsec'; write ms, s, min, hours"),
    ("start_timeout", 0, "start_timeout: 0 is too short; 0.1 s is the least"),
    ("start_timeout", float("nan"), "start_timeout: nan is not a time; write seconds, or '90 s', '5 min'"),
    ("start_timeout", True, "start_timeout: True is not a time"),
    ("failover_timeout", "-1", "failover_timeout: '-1' is not a time"),
    ("cpus", 0, "cpus: 0 is too little; 0.001 of a core is the least"),
    ("cpus", -1.0, "cpus: -1.0 is too little; 0.001 of a core is the least"),
    ("cpus", "two", "cpus: 'two' is not a number of cores; write a number from 0.001 on, 0.5 or 2"),
    ("cpus", float("inf"), "cpus: inf is not a number of cores"),
    ("pack_cpus", 0.001, "pack_cpus: 0.001 is too little; 0.01 of a core is the least"),
    ("gpus", -1, "gpus: -1 is out of range; allowed is 0 or more"),
    ("gpus", 0.5, "gpus: 0.5 is not a whole number; allowed is 0 or more"),
    ("port", 70000, "port: 70000 is out of range; allowed is from 0 to 65535"),
    ("local_agents", 0, "local_agents: 0 is out of range; allowed is 1 or more"),
    ("broadcast_scheduler_depth", 9, "broadcast_scheduler_depth: 9 is out of range; allowed is from 0 to 5"),
    ("container", "podman", "container: 'podman' is unknown; allowed are 'docker', 'mesos', 'process', '' (auto)"),
    ("role", "one two", "role: 'one two' is not a role; write '*', 'name', or several different ones: 'one,two'"),
    ("role", "", "role: '' is not a role"),
    ("role", "-a", "role: '-a' is not a role"),
    ("role", "a,a", "role: 'a,a' is not a role"),
    (
        "master",
        "",
        "master: '' is no address of a master ('' is no host:port); write 'local', 'host:5050', 'http://host:5050'",
    ),
    ("master", "mesos.example.org", "master: 'mesos.example.org' is no address of a master"),
    ("master", "host:port", "master: 'host:port' is no address of a master"),
    ("master", "https://host:5050", "master: 'https://host:5050' is no address of a master"),
    (
        "master",
        "zk://host:2181",
        "master: 'zk://host:2181' is no address of a master (the path under which the masters stand is missing)",
    ),
    ("attributes", {"rack": ["a"]}, "attributes: {'rack': ['a']} must have texts or numbers only, as in {'rack': 'a'}"),
    ("attributes", "rack", "attributes: 'rack' is no dictionary; write {'rack': 'a'}"),
    ("environment", {"A": 1}, "environment: 'A' and its value must be texts, as in {'OMP_NUM_THREADS': '1'}"),
    ("environment", {"A=B": "1"}, "environment: 'A=B' and its value must be texts"),
    ("volumes", ["/data"], "volumes: '/data' is no volume; write '/host/path:/container/path', and ':ro' or ':rw'"),
    ("volumes", ["data:/data"], "volumes: 'data:/data' is no volume"),
    ("volumes", ["/a:/b:rx"], "volumes: '/a:/b:rx' is no volume"),
    ("docker_parameters", ["privileged"], "docker_parameters: 'privileged' is no option; write 'key=value' without"),
    ("docker_parameters", ["--ipc=host"], "docker_parameters: '--ipc=host' is no option"),
    ("docker_parameters", ["memory-swap=1g"], "docker_parameters: 'memory-swap=1g' must not set memory-swap: it is"),
    ("docker_parameters", ["shm-size=1g"], "docker_parameters: 'shm-size=1g' must not set shm-size: use shm_size"),
    ("preload", ["os; import x"], "preload: 'os; import x' is not the name of a module; write 'numpy' or"),
]


@pytest.mark.parametrize(("option", "value", "message"), REFUSED, ids=[f"{o}-{v}" for o, v, _ in REFUSED])
def test_what_makes_no_sense_is_refused_with_option_value_and_what_is_allowed(
    option: str, value: Any, message: str
) -> None:
    with pytest.raises(TraitError) as caught:
        MesosOptions(**{option: value})
    assert str(caught.value).startswith(message)


def test_an_address_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(TraitError, match="master: an address must not contain a user or password") as caught:
        MesosOptions(master="zk://me:hunter2@host:2181/mesos")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "master",
    [
        "local",
        "host:5050",
        "10.0.0.1:5050",
        "[::1]:5050",
        "http://host:5050",
        "http://host:5050/",
        "zk://a,b:2181/mesos/x",
    ],
)
def test_masters_are_taken(master: str) -> None:
    assert MesosOptions(master=f" {master} ").master == master


def test_the_master_comes_from_the_environment_else_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MesosOptions().master == "local"
    monkeypatch.setenv("IPYMESOS_MASTER", "host:5050")
    assert MesosOptions().master == "host:5050"
    assert MesosOptions(master="other:5050").master == "other:5050"
    monkeypatch.setenv("IPYMESOS_MASTER", "nonsense")
    with pytest.raises(TraitError, match="master: 'nonsense' is no address of a master"):
        _ = MesosOptions().master


def test_durations_become_seconds_whatever_they_were_given_as() -> None:
    options = MesosOptions(start_timeout="5 min", connect_timeout=10)
    assert (options.start_timeout, options.connect_timeout, options.failover_timeout) == (300.0, 10.0, 86400.0)


def test_an_engine_spec_has_thousandths_and_megabytes() -> None:
    options = MesosOptions(
        cpus=0.25,
        memory="1.5 GB",
        disk="10 MB",
        gpus=1,
        pack_cpus=0.1,
        pack_memory="64 MB",
        attributes={"rack": "a", "disk": 2},
        engines_per_container=3,
        preload=["numpy", "scipy.linalg"],
        environment={"B": "2", "A": "1"},
    )
    assert options.engine_spec(["--log-level=20"]) == EngineSpec(
        resources=Resources(cpus=250, mem=1536, disk=10, gpus=1),
        pack=Resources(cpus=100, mem=64),
        container=Container("process", python=sys.executable, environment=(("A", "1"), ("B", "2"))),
        constraints=(("disk", "2"), ("rack", "a")),
        per_container=3,
        args=("--log-level=20",),
        preload=("numpy", "scipy.linalg"),
        grace=10.0,
    )


def test_a_controller_spec_has_its_own_image_and_attributes() -> None:
    options = MesosOptions(
        master="host:5050",
        image="engine",
        controller_image="controller",
        controller_cpus=0.5,
        controller_memory="512 MB",
        controller_attributes={"public": "yes"},
        attributes={"rack": "a"},
        broadcast_scheduler_depth=0,
        shm_size="96 MB",
        volumes=["/data:/data:ro", "/scratch:/tmp/scratch"],
        docker_parameters=["cap-add=SYS_PTRACE", "env=A=1"],
        force_pull=True,
    )
    container = Container(
        "docker",
        image="controller",
        force_pull=True,
        python="python3",
        volumes=(("/data", "/data", "RO"), ("/scratch", "/tmp/scratch", "RW")),
        parameters=(("cap-add", "SYS_PTRACE"), ("env", "A=1")),
        shm_size=96,
    )
    assert options.controller_spec(["--nodb"]) == ControllerSpec(
        resources=Resources(cpus=500, mem=512),
        container=container,
        constraints=(("public", "yes"),),
        depth=0,
        args=("--nodb",),
    )
    assert options.engine_spec().container.image == "engine"


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, "process"),
        ({"image": "engine"}, "docker"),
        ({"master": "host:5050"}, "docker"),
        ({"master": "host:5050", "container": "process"}, "process"),
        ({"container": "Docker"}, "docker"),
    ],
)
def test_the_container_is_chosen(given: dict[str, str], kind: str) -> None:
    assert MesosOptions(**given).container_kind == kind


@pytest.mark.parametrize("kind", ["docker", "mesos"])
def test_a_containerizer_without_an_image_is_refused(kind: str) -> None:
    with pytest.raises(TraitError, match=f"image: '' is no image; container '{kind}' needs one with"):
        MesosOptions(master="host:5050", container=kind).engine_spec()


def test_the_mesos_containerizer_takes_what_docker_does_but_no_options_of_docker() -> None:
    same = {"image": "engine", "volumes": ["/data:/data:ro"], "shm_size": "96 MB", "environment": {"A": "1"}}
    container = MesosOptions(container="mesos", **same).engine_spec().container
    assert container == replace(MesosOptions(container="docker", **same).engine_spec().container, kind="mesos")
    with pytest.raises(TraitError, match="docker_parameters: .* are for container 'docker'; 'mesos' runs no Docker"):
        MesosOptions(container="mesos", image="engine", docker_parameters=["ipc=host"]).engine_spec()


@pytest.mark.parametrize(("option", "value"), [("volumes", ["/a:/b"]), ("docker_parameters", ["ipc=host"])])
def test_what_needs_a_container_is_refused_without_one(option: str, value: list[str]) -> None:
    with pytest.raises(TraitError, match=f"{option}: .* needs containers; with container 'process' there are none"):
        MesosOptions(**{option: value}).engine_spec()


def test_secrets_never_get_into_a_containers_environment() -> None:
    options = MesosOptions(environment={"OMP_NUM_THREADS": "1"})
    # As ipyparallel does it, past every check.
    for name in ("IPP_CONNECTION_INFO", "IPP_SESSION_KEY", "IPP_CURVE_SECRETKEY", "IPYMESOS_SECRET"):
        options.environment[name] = "hunter2"
    assert options.engine_spec().container.environment == (("OMP_NUM_THREADS", "1"),)
    assert options.controller_spec().container.environment == (("OMP_NUM_THREADS", "1"),)
    assert "hunter2" not in json.dumps(options.to_options())


def test_options_survive_json() -> None:
    options = MesosOptions(
        master="zk://a,b/mesos",
        role="one,two",
        image="engine",
        memory="2 GB",
        start_timeout="5 min",
        attributes={"rack": "a"},
        volumes=["/a:/b:ro"],
        preload=[],
    )
    data = json.loads(json.dumps(options.to_options()))
    assert MesosOptions.from_options(data).to_options() == data
    assert MesosOptions.from_options(data).engine_spec() == options.engine_spec()


def test_options_may_be_texts_as_on_a_command_line() -> None:
    texts = {
        "cpus": "0.5",
        "gpus": "1",
        "curve": "false",
        "preload": "numpy, scipy",
        "attributes": "rack=a,zone=b",
        "environment": '{"A": "b,c"}',
        "volumes": '["/a:/b"]',
        "start_timeout": "2 min",
    }
    options = MesosOptions.from_options(texts)
    assert {name: getattr(options, name) for name in texts} == {
        "cpus": 0.5,
        "gpus": 1,
        "curve": False,
        "preload": ["numpy", "scipy"],
        "attributes": {"rack": "a", "zone": "b"},
        "environment": {"A": "b,c"},
        "volumes": ["/a:/b"],
        "start_timeout": 120.0,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memori": "1 GB"}, "memori: there is no such option; did you mean memory?"),
        ({"xyzzy": 1}, "xyzzy: there is no such option"),
        ({"log": "x"}, "log: there is no such option"),
        ({"gpus": "x"}, "gpus: 'x' is not a whole number"),
        ({"cpus": "x"}, "cpus: 'x' is not a number of cores"),
    ],
)
def test_options_that_do_not_exist_or_can_not_be_read_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TraitError) as caught:
        MesosOptions.from_options(options)
    assert str(caught.value).startswith(message)


def test_every_option_has_a_help_and_a_value_that_serves() -> None:
    options = MesosOptions()
    assert all(options.traits()[name].help for name in MesosOptions.option_names())
    assert options.engine_spec().resources == Resources(cpus=1000, mem=1024)
    assert options.controller_spec().resources == Resources(cpus=500, mem=512)


def test_configuration_files_reach_the_options() -> None:
    config = Config()
    config.MesosOptions.memory = "3 GB"
    assert MesosOptions(config=config).memory == "3 GB"


# -- the secret


def secret_file(directory: Path, content: str, mode: int) -> Path:
    file = directory / "secret"
    file.write_text(content)
    file.chmod(mode)
    return file


def test_the_secret_comes_from_its_file_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MesosOptions().read_secret() == ""
    monkeypatch.setenv("IPYMESOS_SECRET", "from-environment")
    assert MesosOptions(principal="me").read_secret() == "from-environment"
    file = secret_file(tmp_path, "from-file\n", 0o600)
    assert MesosOptions(principal="me", secret_file=str(file)).read_secret() == "from-file"


def test_a_secret_without_a_principal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYMESOS_SECRET", "hunter2")
    with pytest.raises(TraitError, match="principal: '' goes with no secret") as caught:
        MesosOptions().read_secret()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o601])
def test_a_secret_file_open_to_others_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    file = secret_file(tmp_path, "hunter2", mode)
    with pytest.raises(TraitError, match=f"secret_file: '{file}' is not private: .*: chmod 600 {file}") as caught:
        MesosOptions(principal="me", secret_file=str(file)).read_secret()
    assert "hunter2" not in str(caught.value)
    file.chmod(0o400)
    assert MesosOptions(principal="me", secret_file=str(file)).read_secret() == "hunter2"


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing", "can't be read: No such file or directory"), ("directory", "can't be read: Is a directory")],
)
def test_an_unreadable_secret_file_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(TraitError, match=f"secret_file: '{tmp_path / name}' {message}"):
        MesosOptions(principal="me", secret_file=str(tmp_path / name)).read_secret()


def test_an_empty_secret_file_is_refused(tmp_path: Path) -> None:
    file = secret_file(tmp_path, "\n", 0o600)
    with pytest.raises(TraitError, match="is empty; it must contain the principal's secret"):
        MesosOptions(principal="me", secret_file=str(file)).read_secret()


def test_the_options_as_data_name_the_secrets_file_not_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_file(tmp_path, "hunter2", 0o600)
    monkeypatch.chdir(tmp_path)
    data = MesosOptions(principal="me", secret_file="secret").to_options()
    assert data["secret_file"] == str(tmp_path / "secret")
    assert "hunter2" not in json.dumps(data)


def test_the_framework_carries_the_secret_and_hides_it(tmp_path: Path) -> None:
    file = secret_file(tmp_path, "hunter2", 0o600)
    options = MesosOptions(
        principal="me", secret_file=str(file), role="one,two", user="alice", gpus=1, failover_timeout="1 hour"
    )
    framework = options.framework(webui_url="http://127.0.0.1:1")
    assert (framework.user, framework.roles, framework.principal) == ("alice", ("one", "two"), "me")
    assert (framework.gpus, framework.failover_timeout, framework.checkpoint) == (True, 3600.0, True)
    assert framework.webui_url == "http://127.0.0.1:1"
    assert framework.secret == "hunter2"
    assert "hunter2" not in repr(framework)
