"""What can't work ends soon, says why in words for people, and leaves nothing running.

By both ways to start a cluster from Python or a shell of one's own: `ipp.Cluster` and `python -m ipymesos start`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipymesos.daemonfile import DaemonFile
from ipymesos.local import LocalMesos
from tests import images
from tests.e2e.kit import MEM, PROFILE, Home, nothing_left, program

pytestmark = pytest.mark.mesos

Way = Callable[..., tuple[int | None, str]]  # (home, kind, n, **options) -> exit code, message


SCRIPT = """
import json, sys
import ipyparallel as ipp
from traitlets.config import Config
options, n = json.loads(sys.argv[1]), int(sys.argv[2])
config = Config({"MesosLauncher": options})
try:
    with ipp.Cluster(controller="mesos", engines="mesos", n=n, profile="mesos", config=config, log_level=50) as client:
        client.wait_for_engines(n, timeout=60)
except Exception as error:
    print("it says:", error)
"""


def by_python(home: Home, kind: str, n: int, **options: Any) -> tuple[None, str]:
    """What `with ipp.Cluster(...)` raises, in a program that ends then."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(home.options(kind, options)), str(n)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
    assert "it says:" in done.stdout, done
    return None, done.stdout.partition("it says: ")[2]


def by_shell(home: Home, kind: str, n: int, **options: Any) -> tuple[int, str]:
    """How `python -m ipymesos start` ends."""
    words = [
        f"--{name.replace('_', '-')}={value}" for name, value in home.options(kind, options).items() if value != ""
    ]
    done = program("ipymesos", "start", f"--profile={PROFILE}", f"-n={n}", *words)
    assert "Traceback" not in done.stderr
    error = [line for line in done.stderr.splitlines() if line.startswith("ipymesos: error: ")]
    assert len(error) == 1, done.stderr
    return done.returncode, error[0]


@pytest.fixture(params=[by_python, by_shell])
def start(request: pytest.FixtureRequest, home: Home) -> Iterator[Way]:
    yield request.param
    nothing_left(home, failed=True)


OPTIONS = {
    "memory without a unit": ({"memory": "512"}, 2, r"memory: '512' has no unit; write '512 MB'"),
    "negative cpus": ({"cpus": -1}, 2, r"cpus: -1"),
    "no such secret file": (
        {"principal": "me", "secret_file": "/no/such"},
        2,
        r"secret_file: '/no/such' can't be read",
    ),
    "a directory": (
        {"principal": "me", "secret_file": "/tmp"},
        2,
        r"secret_file: '/tmp' can't be read: Is a directory",
    ),
    "nobody there": ({"master": "127.0.0.1:1", "connect_timeout": 1}, 5, r"127\.0\.0\.1:1 can't be reached"),
    "no such host": ({"master": "no.such.invalid:5050", "connect_timeout": 1}, 5, r"no\.such\.invalid.* resolved"),
    "no master at all": ({"master": "zk://"}, 2, r"master: 'zk://'"),
    "unknown container": (
        {"container": "jail"},
        2,
        r"container: 'jail' is unknown; allowed are 'docker', 'mesos', 'process'",
    ),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_an_option_that_makes_no_sense(start: Way, home: Home, case: str) -> None:
    options, code, message = OPTIONS[case]
    assert matches(start(home, "process", 1, **options), code, message)


@pytest.mark.parametrize("n", [0, -2])
def test_fewer_than_one_engine(start: Way, home: Home, n: int) -> None:
    assert matches(start(home, "process", n), 2, rf"{n}\W+engines can't be started")


def test_a_secret_that_everybody_can_read(start: Way, home: Home, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush")
    secret.chmod(0o644)
    code, message = start(home, "process", 1, principal="me", secret_file=str(secret))
    assert code in (None, 2) and "is not private" in message and f"chmod 600 {secret}" in message
    assert "hush" not in message


def test_bigger_than_any_agent(start: Way, home: Home) -> None:
    began = time.monotonic()
    found = start(home, "process", 2, memory="6 GB")
    assert matches(
        found, 9, rf"no agent of this Mesos could ever fit one engine.*{MEM} MB of memory in all, and \d+ MB"
    )
    assert time.monotonic() - began < 10


@pytest.mark.docker
def test_no_such_image(start: Way, home: Home) -> None:
    """Nobody listens at that registry's address, so that the answer is a quick one."""
    found = start(home, "docker", 1, image="127.0.0.1:1/no-such-image:none")
    assert matches(found, 9, r"in image '127\.0\.0\.1:1/no-such-image:none' failed:.*pull.*")


@pytest.mark.docker
def test_an_image_that_must_be_pulled_and_cannot(start: Way, home: Home) -> None:
    local = "127.0.0.1:1/ipymesos-engine:none"
    images.docker_tag(images.image("engine"), local)
    try:
        found = start(home, "docker", 1, image=local, force_pull=True)
        assert matches(found, 9, r"in image '127\.0\.0\.1:1/ipymesos-engine:none' failed:.*pull.*")
    finally:
        images.docker_untag(local)


@pytest.mark.docker
def test_an_image_without_the_executor(start: Way, home: Home) -> None:
    found = start(home, "docker", 1, image=images.base())
    assert matches(found, 9, r"in image '.*' failed:.*ipymesos.executor")


OTHER_PYTHON = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from ipymesos.config import MesosOptions
from ipymesos.daemon import app
from ipymesos.daemon.start import Start
from ipymesos.paths import Paths
app.sys = SimpleNamespace(version_info=(3, 9, 0))  # of a client that nobody can install here
app.App(Paths(Path(sys.argv[1])), Start(MesosOptions.from_options(json.loads(sys.argv[2])), n=1)).run()
"""


def test_another_python_in_the_containers(home: Home, kind: str) -> None:
    """Both versions are said, and the way out."""
    command = [sys.executable, "-c", OTHER_PYTHON, str(home.profile_dir), json.dumps(home.options(kind, {}))]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
    said = DaemonFile.read(home.paths().daemon_file)
    assert said is not None and said.exit_code == 9, done
    here = ".".join(map(str, sys.version_info[:2]))
    expected = rf"the image runs Python {here}\.\d+, the client 3\.9: .* an image with Python 3\.9 or .*check_python"
    assert re.search(expected, said.error), said
    nothing_left(home, failed=True)


@pytest.fixture
def few_ports(request: pytest.FixtureRequest, home: Home) -> Iterator[Home]:
    """The same user, on a Mesos with so many ports."""
    ports = f"ports:[32100-{32100 + request.param - 1}]"
    with LocalMesos(agents=1, resources=f"cpus:8;mem:6000;{ports}") as mesos:
        yield replace(home, mesos=mesos)


@pytest.mark.parametrize("few_ports", [10], indirect=True)
def test_an_agent_with_too_few_ports(few_ports: Home) -> None:
    for start in (by_python, by_shell):
        expected = r"no agent of this Mesos could ever fit the controller \(.* and 18 ports\).*has 10 ports in all"
        assert matches(start(few_ports, "process", 1), 9, expected)
        nothing_left(few_ports, failed=True)


@pytest.mark.parametrize("few_ports", [20], indirect=True)
def test_no_ports_left(few_ports: Home) -> None:
    with few_ports.running("process", 1, cluster_id="first") as first:
        _, message = by_python(few_ports, "process", 1, start_timeout=3)
        assert "did not run within 3 s" in message
        assert re.search(r"ports: the best offer.*has 2 ports, and 18 ports are needed", message), message
        assert first.client[:].apply_sync(int) == [0]
    nothing_left(few_ports, failed=True)


def matches(found: tuple[int | None, str], code: int, message: str) -> bool:
    assert found[0] in (None, code) and re.search(message, found[1], re.S), found
    return True
