"""`ipcluster` with real Docker containers, and what it says when there is no container to be had."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipymesos.local import LocalMesos
from tests import images
from tests.helpers import eventually

from .launcher_kit import MESOS, Account, account

pytestmark = [pytest.mark.mesos, pytest.mark.docker]


@pytest.fixture(scope="module")
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos(agents=2, containerizers="docker,mesos", resources="cpus:4;mem:3000;disk:1000") as mesos:
        yield mesos


@pytest.fixture
def user(tmp_path: Path, mesos: LocalMesos) -> Iterator[Account]:
    with account(tmp_path, IPYMESOS_MASTER=mesos.master) as user:
        yield user


def containers(image: str) -> set[str]:
    """The running containers of exactly this image; Docker's own filter takes those of derived images too."""
    done = subprocess.run(
        ["docker", "ps", "--format", "{{.ID}} {{.Image}}"], capture_output=True, text=True, check=True
    )
    return {line.split()[0] for line in done.stdout.splitlines() if line.split()[1] == image}


def test_start_compute_and_stop(user: Account) -> None:
    engine, controller = images.image("engine"), images.image("controller")
    (user.profile).mkdir()
    (user.profile / "ipcluster_config.py").write_text(
        f"c.MesosLauncher.image = {engine!r}\n"
        f"c.MesosLauncher.controller_image = {controller!r}\n"
        "c.MesosLauncher.memory = '128 MB'\n"
        "c.MesosLauncher.cpus = 0.5\n"
        "c.MesosLauncher.engines_per_container = 2\n"
        "c.MesosLauncher.shm_size = '96 MB'\n"
    )
    before = containers(engine), containers(controller)
    done = user.run("ipcluster", "start", *MESOS, "-n", "4", "--daemonize")
    assert done.returncode == 0, done.stdout
    with user.client(4) as client:
        assert len(client[:].apply_sync(os.getpid)) == 4
        size = client[:].apply_sync(os.statvfs, "/dev/shm")[0]
        assert size.f_blocks * size.f_frsize == 96 * 2**20
    mine = containers(engine) - before[0], containers(controller) - before[1]
    assert (len(mine[0]), len(mine[1])) == (2, 1)
    stopped = user.run("ipcluster", "stop")
    assert stopped.returncode == 0, stopped.stdout
    eventually(lambda: not (mine[0] & containers(engine) or mine[1] & containers(controller)))
    user.nothing_left()


@pytest.mark.parametrize(
    ("image", "message"),
    [("ipymesos.invalid/no-such-image:1", "no-such-image"), ("no executor", "in image")],
)
def test_an_image_that_does_not_serve_is_named(user: Account, image: str, message: str) -> None:
    if image == "no executor":
        image = images.base()  # has Python and nothing else
    done = user.run(
        "ipcluster",
        "start",
        *MESOS,
        "-n",
        "1",
        f"--MesosLauncher.image={image}",
        f"--MesosLauncher.controller_image={images.image('controller')}",
        "--MesosLauncher.memory=128 MB",
        "--MesosLauncher.start_timeout=40",
        timeout=120,
    )
    assert message in done.stdout, done.stdout
    assert done.returncode == 9, done.stdout
    assert "Traceback" not in done.stdout
    user.nothing_left()
